"""What simulated phones have sent and received: the rows behind `GET /phones/{phone}/messages`.

Whole messages are kept, so that a later one can refer to them: to quote, edit or vote, and to send again what a client
could not read. The oldest are forgotten beyond a bound.
"""

import time
from dataclasses import dataclass
from typing import Final

from bridge.protos import e2e
from bridge.sandbox.asked import Kept
from bridge.sandbox.nodes import Jid
from bridge.sandbox.state import Row, State

LIMIT: Final = 100_000
"""How many messages are kept in each direction, over all phones."""
_TRIM_EVERY: Final = 1000
_RECEIVED: Final = "cursor, id, sender, chat, text, at, body, own, edited, revoked"


@dataclass(frozen=True, slots=True)
class Received:
    """A message in a phone's inbox. `sender` and `chat` are LIDs or a group; `cursor` is its place among all."""

    cursor: int
    id: str
    sender: str
    chat: str
    text: str
    at: float
    body: bytes = b""
    own: bool = False
    """It was sent by another device of this account."""
    edited: bool = False
    revoked: bool = False

    @property
    def message(self) -> "e2e.Message":
        return e2e.Message.FromString(self.body)


class Inboxes:
    """The sent and received messages of all phones, in the state."""

    def __init__(self, state: State, limit: int = LIMIT) -> None:
        self._state = state
        self._limit = limit

    def add(
        self, phone: str, message_id: str, message: "e2e.Message", *, sender: Jid, chat: Jid, text: str, own: bool
    ) -> None:
        """Keep a message that reached a phone; `own` was sent by another device of its account."""
        row = (phone, message_id, str(sender), str(chat), text, time.time(), message.SerializeToString(), own)
        cursor = self._state.insert(
            "INSERT INTO inbox (phone, id, sender, chat, text, at, body, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row
        )
        if cursor is not None and cursor % _TRIM_EVERY == 0:
            self._state.run("DELETE FROM inbox WHERE cursor <= ?", cursor - self._limit)

    def sent(self, phone: str, message_id: str, chat: Jid, body: bytes) -> None:
        """Keep a message that a phone sends itself."""
        seq = self._state.insert(
            "INSERT INTO outbox (phone, id, chat, body) VALUES (?, ?, ?, ?)", phone, message_id, str(chat), body
        )
        if seq is not None and seq % _TRIM_EVERY == 0:
            self._state.run("DELETE FROM outbox WHERE seq <= ?", seq - self._limit)

    def after(self, phone: str, cursor: int, limit: int, *, own: bool = False) -> list[Received]:
        """Return what a phone received behind a cursor, in order; with `own` also what its other devices sent."""
        rows = self._state.rows(
            f"SELECT {_RECEIVED} FROM inbox WHERE phone = ? AND cursor > ? AND own <= ? ORDER BY cursor LIMIT ?",  # noqa: S608
            phone,
            cursor,
            own,
            limit,
        )
        return [_received(row) for row in rows]

    def find(self, phone: str, message_id: str) -> Received | None:
        """Return the last message of this id that reached a phone."""
        row = self._state.one(
            f"SELECT {_RECEIVED} FROM inbox WHERE phone = ? AND id = ? ORDER BY cursor DESC LIMIT 1",  # noqa: S608
            phone,
            message_id,
        )
        return None if row is None else _received(row)

    def body_sent(self, phone: str, message_id: str) -> tuple[Jid, bytes] | None:
        """Return chat and content of a message that a phone sent itself."""
        row = self._state.one("SELECT chat, body FROM outbox WHERE phone = ? AND id = ?", phone, message_id)
        return None if row is None else (Jid.parse(row[0]), row[1])

    def kept(self, phone: str, me: Jid, message_id: str) -> Kept | None:
        """Return a message that a phone (its own LID is `me`) sent or received."""
        sent = self.body_sent(phone, message_id)
        if sent is not None:
            return Kept(message_id, sent[0], me, True, e2e.Message.FromString(sent[1]))
        found = self.find(phone, message_id)
        if found is None:
            return None
        author = me if found.own else Jid.parse(found.sender).bare()
        return Kept(message_id, Jid.parse(found.chat), author, found.own, found.message)

    def mark(self, phone: str, message_id: str, change: str) -> None:
        """Say of a message in an inbox that it was `edited` or `revoked`."""
        assert change in ("edited", "revoked")
        self._state.run(f"UPDATE inbox SET {change} = 1 WHERE phone = ? AND id = ?", phone, message_id)  # noqa: S608

    def clear(self, phone: str) -> int:
        """Forget what a phone received; return how many."""
        return self._state.run("DELETE FROM inbox WHERE phone = ?", phone)


def _received(row: Row) -> Received:
    cursor, message_id, sender, chat, text, at, body, own, edited, revoked = row
    return Received(cursor, message_id, sender, chat, text, at, body, bool(own), bool(edited), bool(revoked))
