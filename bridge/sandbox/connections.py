"""Which connections there are, and which of them is a device's: the one that logged in last."""

from collections.abc import Iterable
from typing import Protocol

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.nodes import Node


class Peer(Protocol):
    """A client's connection, as the rest of the sandbox sees it."""

    device: Device | None

    def send(self, node: Node) -> None:
        """Send a stanza."""

    def close_soon(self) -> None:
        """End the connection when the client has had the time to read what was sent last."""

    def cut(self) -> None:
        """End the connection without a word."""


class Connections:
    """All connections of the moment."""

    def __init__(self) -> None:
        self._all: set[Peer] = set()
        self._current: dict[Device, Peer] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, peer: Peer) -> None:
        self._all.add(peer)

    def remove(self, peer: Peer) -> None:
        self._all.discard(peer)
        if peer.device is not None and self._current.get(peer.device) is peer:
            del self._current[peer.device]

    def take_over(self, device: Device, peer: Peer) -> list[Peer]:
        """Make this the device's connection; return the one that was it, if any."""
        before = self._current.get(device)
        self._current[device] = peer
        return [before] if before is not None and before is not peer else []

    def current(self, device: Device) -> Peer | None:
        return self._current.get(device)

    def of(self, account: Account | None) -> Iterable[Peer]:
        """Return the connections of an account's devices, or all if none is named, those that pair included."""
        if account is None:
            return list(self._all)
        return [peer for device, peer in self._current.items() if device.account is account]

    def online(self) -> int:
        """Return how many devices are logged in."""
        return len(self._current)
