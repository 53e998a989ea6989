"""Receipts: who got, read or played a message. What simulated phones hear of theirs, and what they say of others'."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Device
from bridge.sandbox.nodes import GROUP_SERVER, Jid, Node
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.state import State

LIMIT: Final = 100_000
_TRIM_EVERY: Final = 1000

TYPES: Final[Mapping[str, str]] = {
    "": "delivered",
    "inactive": "inactive",
    "read": "read",
    "read-self": "read_self",
    "played": "played",
    "played-self": "played_self",
    "sender": "sender",
    "peer_msg": "peer",
    "hist_sync": "history",
    "server-error": "server_error",
}
"""A stanza's type and its word in the control API. `inactive`: delivered to a client that is not `available`; `sender`:
a message that another device of the account sent is with this one too; `peer` and `history`: so is what the account's
devices tell each other; `server_error`: its file is no longer on WhatsApp's servers."""
OWN: Final = frozenset({"read_self", "played_self", "peer", "history", "server_error"})
"""What a phone tells the other devices of its account; a `sender` receipt is for the device that sent the message."""
_WIRE: Final = {word: kind for kind, word in TYPES.items()}


class UnknownReceipt(BridgeError):
    """There is no such kind of receipt."""

    code = "unknown_receipt"
    status = 400


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt for a message. `sender` is the device that it came from; `cursor` its place among all."""

    cursor: int
    message: str
    sender: str
    chat: str
    type: str
    at: float


class Receipts:
    """The receipts that reached simulated phones, in the state."""

    def __init__(self, state: State, limit: int = LIMIT) -> None:
        self._state = state
        self._limit = limit

    def take(self, phone: str, node: Node) -> None:
        """Keep a receipt that says something about a message of this phone's."""
        kind = TYPES.get(node.text("type"))
        chat = node.jid("from")
        sender = node.jid("participant") or chat
        if kind is None or chat is None or sender is None:
            return
        items = (node.child("list") or Node("")).all("item")
        for message_id in (node.text("id"), *(item.text("id") for item in items)):
            cursor = self._state.insert(
                "INSERT INTO receipt (phone, message, sender, chat, type, at) VALUES (?, ?, ?, ?, ?, ?)",
                phone,
                message_id,
                str(sender),
                str(chat.bare()),
                kind,
                time.time(),
            )
            if cursor is not None and cursor % _TRIM_EVERY == 0:
                self._state.run("DELETE FROM receipt WHERE cursor <= ?", cursor - self._limit)

    def after(self, phone: str, cursor: int, limit: int, message: str | None = None) -> list[Receipt]:
        """Return a phone's receipts behind a cursor, of one message or of all."""
        rows = self._state.rows(
            "SELECT cursor, message, sender, chat, type, at FROM receipt"
            " WHERE phone = ? AND cursor > ? AND (? IS NULL OR message = ?) ORDER BY cursor LIMIT ?",
            phone,
            cursor,
            message,
            message,
            limit,
        )
        return [Receipt(*row) for row in rows]


def stanza(device: Device, message_ids: list[str], word: str, group: Jid | None) -> Node:
    """Return a receipt of a phone's for messages of one author in one chat; raise `UnknownReceipt`.

    As whatsmeow reads it (`receipt.go`, `parseMessageSource`): from a group with its participant, or from a device; one
    of the account's own devices says in `recipient` which chat it is about, which is added by who knows it.
    """
    kind = _WIRE.get(word)
    if kind is None:
        raise UnknownReceipt(f"{word!r}, there are: {', '.join(_WIRE)}")
    first, *others = message_ids
    attrs: Attrs = {"from": group or device.lid, "id": first, "type": kind, "t": now_text()}
    if group is not None and group.server == GROUP_SERVER:
        attrs["participant"] = device.lid
    more = [Node("list", {}, [Node("item", {"id": message_id}) for message_id in others])] if others else None
    return Node("receipt", attrs, more)
