"""Lets the faults at the stanzas of one connection: what a client says, and what it is told.

Where no fault is active, which is nearly always, all of this is one look at an empty list.
"""

from collections.abc import Callable
from typing import Final

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.faults import Faults, Request
from bridge.sandbox.nodes import GROUP_SERVER, Node, decode, encode
from bridge.sandbox.oracle import Oracle

_SENDS: Final = frozenset({"duplicated", "reordered", "corrupted"})
_PROOF: Final = 8
"""Where a byte of the MAC or the signature stands, counted from a ciphertext's end, in all three forms of it."""
_TEMPORARY_BAN: Final = 402
_BAN_REASON: Final = "101"
"""What a ban says it is for: too many messages to people who do not know the sender."""


class Interference:
    """What faults do to one connection. `later(seconds, function)` calls the function when the time has passed."""

    def __init__(self, faults: Faults, oracle: Oracle, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._faults = faults
        self._oracle = oracle
        self._later = later
        self._held: list[bytes] = []
        """A message that lets the next one pass."""

    def refusal_of_login(self, account: Account | None) -> Node | None:
        """Return what a client is told in the place of a welcome, None where it is welcome."""
        fault = self._faults.strike("login_refused", account)
        if fault is None:
            return None
        ban = {"code": _BAN_REASON, "expire": str(fault.expires_s)} if fault.code == _TEMPORARY_BAN else {}
        return Node("failure", {"reason": str(fault.code), "location": "atn", **ban})

    def refusal_of_message(self, device: Device, node: Node) -> int | None:
        """Return the error with which a client's message is refused, None where it is taken."""
        if not self._faults.active:
            return None
        limited = self._faults.strike("rate_limited", device.account)
        if limited is not None:
            return limited.code
        locked = self._faults.strike("reachout_locked", device.account, lambda _: self._is_first(device, node))
        return locked.code if locked else None

    def _is_first(self, device: Device, node: Node) -> bool:
        """Say whether a message goes to somebody who has never written to this account."""
        to = node.jid("to")
        if to is None or to.server == GROUP_SERVER or node.text("category") == "peer":
            return False
        return not self._oracle.has_written(to, device.account)

    def refusal_of_query(self, device: Device, node: Node) -> int | None:
        """Return the error with which a query is refused, None where it is answered."""
        if node.text("xmlns") != "usync":
            return None
        limited = self._faults.strike("rate_limited", device.account)
        return limited.code if limited else None

    def swallows(self, device: Device, node: Node) -> bool:
        """Say whether a query stays without an answer."""
        return bool(self._faults.active) and self._faults.strikes_query(device.account, node)

    def delay_of_ack(self, device: Device) -> float | None:
        """Return in how many seconds a message is acknowledged, None for never."""
        if self._faults.strike("ack_missing", device.account):
            return None
        delayed = self._faults.strike("ack_delayed", device.account)
        return delayed.delay_s if delayed else 0.0

    def outgoing(self, device: Device | None, stanza: bytes, post: Callable[[bytes], None]) -> None:
        """Post a stanza: once and as it is, unless a fault is for messages and this is one."""
        if device is None or not (self._held or any(e.request.kind in _SENDS for e in self._faults.active)):
            post(stanza)
            return
        node = decode(stanza)
        if node.tag != "message":
            post(stanza)
            return
        if self._strikes("corrupted", device):
            stanza = encode(_corrupted(node))
        late = self._strikes("reordered", device)
        if late is not None and not self._held:
            self._held.append(stanza)
            self._later(late.delay_s or 0, lambda: self._release(post))
            return
        post(stanza)
        self._release(post)
        if self._strikes("duplicated", device):
            post(stanza)

    def _strikes(self, kind: str, device: Device) -> Request | None:
        return self._faults.strike(kind, device.account)

    def _release(self, post: Callable[[bytes], None]) -> None:
        held, self._held = self._held, []
        for stanza in held:
            post(stanza)


def _corrupted(node: Node) -> Node:
    """Return a message whose encrypted parts have one wrong bit each."""
    return Node(node.tag, node.attrs, [_flipped(child) if child.tag == "enc" else child for child in node.children()])


def _flipped(enc: Node) -> Node:
    """Return it with a wrong bit in what proves its origin: that stands in the last bytes, or right before them."""
    body = bytearray(enc.data())
    if len(body) > _PROOF:
        body[-_PROOF] ^= 1
    return Node(enc.tag, enc.attrs, bytes(body))
