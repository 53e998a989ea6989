"""Remembers each message: who sent what to whom and when, when it was relayed to each device, when acknowledged.

A test asks it afterwards what was lost, doubled or out of order. It knows the text of every message that a simulated
phone wrote or read, which are all of the first kind: a message between two real clients also reaches the sender's own
phone. A message stays known until it is trimmed, by call or because there are more than `LIMIT`.

An account that has linked devices is represented by these; the phone of a contact without any stands for itself. So
"acknowledged" always means the party that is under test, or the contact it wrote to, and never both.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge.sandbox.accounts import Account
from bridge.sandbox.jids import Jid
from bridge.sandbox.state import Row, State

LIMIT: Final = 200_000
"""Messages kept. One takes about 500 bytes of the file with its copies."""
_TRIM_EVERY: Final = 5_000
_PAGE: Final = 1_000
_COLUMNS: Final = "seq, id, device, sender, recipient, kind, text, hash, sent_at"


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


@dataclass(frozen=True, slots=True)
class Transfer:
    """An upload to the media host or a download from it."""

    seq: int
    direction: str
    hash: str
    """SHA-256 of the file as it is stored, in hex; empty where there is no such file."""
    kind: str
    size_bytes: int
    status: int
    at: float


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are meant; None is any. `phone` is the sender or the recipient."""

    phone: str | None = None
    sender: str | None = None
    recipient: str | None = None
    kind: str | None = None
    unacknowledged: bool = False

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Return the conditions in SQL, each with the value of its parameters."""
        if self.phone is not None:
            yield "(sender = ? OR recipient = ?)", self.phone
        if self.sender is not None:
            yield "sender = ?", self.sender
        if self.recipient is not None:
            yield "recipient = ?", self.recipient
        if self.kind is not None:
            yield "kind = ?", self.kind
        if self.unacknowledged:
            yield "EXISTS (SELECT 1 FROM oracle_copy WHERE message = seq AND acknowledged_at IS NULL)", ""


ALL: Final = Filter()


class Oracle:
    """The record of all messages, in the state."""

    def __init__(self, state: State, limit: int = LIMIT) -> None:
        self._state = state
        self._limit = limit
        self._since_trim = 0
        self._last_read: tuple[str, str] | None = None

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
        """Record the text of a message, learned by a phone that decrypted it; the sender's own phone does too."""
        if self._last_read == (message_id, device):
            return
        self._last_read = message_id, device
        self._state.run(
            "UPDATE oracle SET text = ?, hash = ? WHERE id = ? AND device = ? AND text IS NULL",
            text,
            _hash(text),
            message_id,
            device,
        )

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

    def after(self, seq: int, limit: int, only: Filter = ALL) -> list[Message]:
        """Return messages behind a place, in the order they were sent."""
        conditions: list[str] = ["seq > ?"]
        values: list[object] = [seq]
        for condition, value in only.conditions():
            conditions.append(condition)
            values += [value] * condition.count("?")
        where = " AND ".join(conditions)
        # made of the constants above; every value is a parameter
        sql = f"SELECT {_COLUMNS} FROM oracle WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
        rows = self._state.rows(sql, *values, limit)
        copies = self._copies(rows[0][0], rows[-1][0]) if rows else {}
        return [_message(row, copies.get(row[0], [])) for row in rows]

    def _copies(self, first: int, last: int) -> dict[int, list[Row]]:
        """Return device and times of the copies of the messages in that range."""
        found: dict[int, list[Row]] = {}
        for seq, *copy in self._state.rows(
            "SELECT message, device, relayed_at, acknowledged_at FROM oracle_copy WHERE message BETWEEN ? AND ?"
            " ORDER BY message, device",
            first,
            last,
        ):
            found.setdefault(seq, []).append(tuple(copy))
        return found

    def all(self, seq: int, only: Filter = ALL) -> Iterator[Message]:
        """Return all messages behind a place, page by page."""
        while page := self.after(seq, _PAGE, only):
            yield from page
            seq = page[-1].seq

    def transferred(self, direction: str, name: str, kind: str, size: int, status: int) -> None:
        """Record an upload or a download; `name` is the file's SHA-256 in hex, as it is stored."""
        seq = self._state.insert(
            "INSERT INTO oracle_transfer (direction, hash, kind, size_bytes, status, at) VALUES (?, ?, ?, ?, ?, ?)",
            direction,
            name,
            kind,
            size,
            status,
            time.time(),
        )
        if seq is not None and seq % _TRIM_EVERY == 0:
            self._state.run("DELETE FROM oracle_transfer WHERE seq <= ?", seq - self._limit)

    def transfers(self, after: int, limit: int) -> list[Transfer]:
        """Return uploads and downloads behind a place, in order."""
        rows = self._state.rows(
            "SELECT seq, direction, hash, kind, size_bytes, status, at FROM oracle_transfer WHERE seq > ?"
            " ORDER BY seq LIMIT ?",
            after,
            limit,
        )
        return [Transfer(*row) for row in rows]

    def last(self) -> int:
        """Return the place of the last message."""
        row = self._state.one("SELECT max(seq) FROM oracle")
        return int(row[0] or 0) if row else 0

    def count(self) -> int:
        row = self._state.one("SELECT count(*) FROM oracle")
        return int(row[0]) if row else 0

    def trim(self, until: int | None = None) -> int:
        """Forget messages up to this number, or all; return how many. Their texts can no longer be sent again."""
        self._last_read = None
        if until is None:
            self._state.run("DELETE FROM oracle_copy")
            self._state.run("DELETE FROM oracle_transfer")
            return self._state.run("DELETE FROM oracle")
        self._state.run("DELETE FROM oracle_copy WHERE message <= ?", until)
        return self._state.run("DELETE FROM oracle WHERE seq <= ?", until)


def _message(row: Row, copies: list[Row]) -> Message:
    seq, message_id, device, sender, recipient, kind, text, digest, sent_at = row
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
