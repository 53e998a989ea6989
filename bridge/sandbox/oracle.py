"""Remembers each message: who sent what to whom and when, when it was relayed to each device, when acknowledged.

A test asks it afterwards what was lost, doubled or out of order. It knows the text of every message that a simulated
phone wrote or read, which are all of the first kind: a message between two real clients also reaches the sender's own
phone. A message stays known until it is trimmed, by call or because there are more than `LIMIT`.

An account that has linked devices is represented by these; the phone of a contact without any stands for itself. So
"acknowledged" always means the party that is under test, or the contact it wrote to, and never both.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Final

from bridge.sandbox.accounts import Account
from bridge.sandbox.jids import Jid
from bridge.sandbox.state import Row, State

LIMIT: Final = 200_000
"""Messages kept. One takes about 500 bytes of the file with its copies."""
_TRIM_EVERY: Final = 5_000


@dataclass(frozen=True, slots=True)
class Copy:
    """When something happened to a message at one device."""

    device: str
    at: float


@dataclass(frozen=True, slots=True)
class Message:
    """What the oracle knows of a message. Times are seconds since 1970; `seq` is its place among all."""

    seq: int
    id: str
    sender: str
    sender_device: str
    recipient: str
    kind: str
    text: str | None
    hash: str | None
    """SHA-256 of the text in hex."""
    sent_at: float
    relayed: tuple[Copy, ...]
    acknowledged: tuple[Copy, ...]


class Oracle:
    """The record of all messages, in the state."""

    def __init__(self, state: State, limit: int = LIMIT) -> None:
        self._state = state
        self._limit = limit
        self._since_trim = 0

    def sent(
        self, message_id: str, *, device: str, sender: str, recipient: str, kind: str, text: str | None
    ) -> int | None:
        """Record a message; return its number, None where this device already sent this id."""
        seq = self._state.insert(
            "INSERT OR IGNORE INTO oracle (id, device, sender, recipient, kind, text, hash, sent_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            message_id,
            device,
            sender,
            recipient,
            kind,
            text,
            _hash(text),
            time.time(),
        )
        self._since_trim += 1
        if self._since_trim >= _TRIM_EVERY and seq is not None:
            self._since_trim = 0
            self.trim(seq - self._limit)
        return seq

    def find(self, message_id: str, device: str) -> int | None:
        """Return the number of a message that this device sent."""
        row = self._state.one("SELECT seq FROM oracle WHERE id = ? AND device = ?", message_id, device)
        return None if row is None else int(row[0])

    def has_written(self, author: Jid, reader: Account) -> bool:
        """Say whether the account behind an address has ever sent this account anything that is still known."""
        row = self._state.one(
            "SELECT 1 FROM oracle JOIN account ON account.phone = oracle.sender"
            " WHERE oracle.recipient = ? AND (account.phone = ? OR account.lid = ?) LIMIT 1",
            reader.phone,
            author.user,
            author.user,
        )
        return row is not None

    def read(self, message_id: str, device: str, text: str) -> None:
        """Record the text of a message, learned by the phone that decrypted it."""
        self._state.run(
            "UPDATE oracle SET text = ?, hash = ? WHERE id = ? AND device = ? AND text IS NULL",
            text,
            _hash(text),
            message_id,
            device,
        )

    def written(self, message_id: str, device: str) -> tuple[str, str] | None:
        """Return text and recipient of a message that this device sent, None if they are not known."""
        row = self._state.one(
            "SELECT text, recipient FROM oracle WHERE id = ? AND device = ? AND text IS NOT NULL", message_id, device
        )
        return None if row is None else (row[0], row[1])

    def relayed(self, seq: int, device: str) -> None:
        """Record that a message was handed on to a device; the first time counts."""
        self._state.run("INSERT OR IGNORE INTO oracle_copy VALUES (?, ?, ?, NULL)", seq, device, time.time())

    def acknowledged(self, message_id: str, device: str) -> None:
        """Record that a device acknowledged a message; the first time counts."""
        self._state.run(
            "UPDATE oracle_copy SET acknowledged_at = ? WHERE device = ? AND acknowledged_at IS NULL"
            " AND message IN (SELECT seq FROM oracle WHERE id = ?)",
            time.time(),
            device,
            message_id,
        )

    def withdrawn(self, message_id: str, device: str) -> None:
        """Record that a device asked for a message again: what it said before was no acknowledgement."""
        self._state.run(
            "UPDATE oracle_copy SET acknowledged_at = NULL WHERE device = ?"
            " AND message IN (SELECT seq FROM oracle WHERE id = ?)",
            device,
            message_id,
        )

    def after(self, seq: int, limit: int, phone: str | None = None) -> list[Message]:
        """Return messages in the order they were sent, of one phone as sender or recipient or of all."""
        if phone is not None:
            rows = self._state.rows(
                "SELECT * FROM oracle WHERE seq > ? AND (sender = ? OR recipient = ?) ORDER BY seq LIMIT ?",
                seq,
                phone,
                phone,
                limit,
            )
        else:
            rows = self._state.rows("SELECT * FROM oracle WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)
        return [self._message(row) for row in rows]

    def count(self) -> int:
        row = self._state.one("SELECT count(*) FROM oracle")
        return int(row[0]) if row else 0

    def trim(self, until: int | None = None) -> int:
        """Forget messages up to this number, or all; return how many. Their texts can no longer be sent again."""
        if until is None:
            self._state.run("DELETE FROM oracle_copy")
            return self._state.run("DELETE FROM oracle")
        self._state.run("DELETE FROM oracle_copy WHERE message <= ?", until)
        return self._state.run("DELETE FROM oracle WHERE seq <= ?", until)

    def _message(self, row: Row) -> Message:
        seq, message_id, device, sender, recipient, kind, text, digest, sent_at = row
        copies = self._state.rows(
            "SELECT device, relayed_at, acknowledged_at FROM oracle_copy WHERE message = ? ORDER BY device", seq
        )
        return Message(
            seq=seq,
            id=message_id,
            sender=sender,
            sender_device=device,
            recipient=recipient,
            kind=kind,
            text=text,
            hash=digest,
            sent_at=sent_at,
            relayed=tuple(Copy(name, at) for name, at, _ in copies if at is not None),
            acknowledged=tuple(Copy(name, at) for name, _, at in copies if at is not None),
        )


def _hash(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
