"""What can be made to go wrong, by call. A fault is one function in the table at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account
from bridge.sandbox.connections import Connections

MAX_SECONDS: Final = 3600.0


class UnknownFault(BridgeError):
    """There is no such fault."""

    code = "unknown_fault"
    status = 400


class BadFault(BridgeError):
    """The fault's values make no sense."""

    code = "bad_fault"
    status = 400


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: of one account's devices or of all, for how long."""

    kind: str
    account: Account | None = None
    seconds: float | None = None


class Faults:
    """The faults that are active. Times are Trio's."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._down_until = 0.0

    @property
    def down(self) -> bool:
        """Say whether the server is to look as if it were not there."""
        return trio.current_time() < self._down_until

    def apply(self, request: Request) -> int:
        """Make it happen; return how many connections it hit. Raises `UnknownFault` and `BadFault`."""
        fault = FAULTS.get(request.kind)
        if fault is None:
            raise UnknownFault(f"{request.kind!r}, there are: {', '.join(sorted(FAULTS))}")
        return fault(self, request)

    def cut(self, request: Request) -> int:
        """End connections without a word."""
        hit = 0
        for peer in self._connections.of(request.account):
            peer.cut()
            hit += 1
        return hit

    def server_down(self, request: Request) -> int:
        """End all connections and accept none for some seconds (0 ends an outage)."""
        seconds = request.seconds
        if request.account is not None:
            raise BadFault("server_down is for all phones")
        if seconds is None or not 0 <= seconds <= MAX_SECONDS:
            raise BadFault(f"server_down needs seconds between 0 and {MAX_SECONDS:.0f}")
        self._down_until = trio.current_time() + seconds
        return self.cut(request) if seconds else 0


FAULTS: Final[Mapping[str, Callable[[Faults, Request], int]]] = {
    "cut": Faults.cut,
    "server_down": Faults.server_down,
}
