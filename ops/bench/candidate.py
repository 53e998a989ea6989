"""What is measured: the product or bare neonize, seen in the same way by every measurement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.sandbox.client import SandboxClient
from ops.bench.machine import Meter


@dataclass(frozen=True, slots=True)
class Number:
    """A paired number: its phone, the JID of the linked device, and for the product the instance's key."""

    phone: str
    jid: str
    key: str = ""


class Candidate(Protocol):
    """A system with sessions that are online."""

    name: str
    meter: Meter
    sandbox: SandboxClient

    async def arrived(self) -> int:
        """Return how many texts have come in since its start; costs next to nothing."""

    async def arrivals(self, prefix: str) -> dict[int, float]:
        """Return when each text `<prefix> <n>` came in, by its number, in seconds since 1970."""

    async def send_in_turn(self, number: Number, to: str, count: int) -> list[float]:
        """Send texts, each after the answer to the one before; return the seconds each took."""

    async def send_at_once(self, pairs: Sequence[tuple[Number, str]], each: int) -> list[float]:
        """Send `each` texts for each pair, all pairs at the same time; return the seconds each took."""
