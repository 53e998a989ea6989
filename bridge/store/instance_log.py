"""What happened to an instance itself: its state, its pairing, its making. Read from its events, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.ids import InstanceKey
from bridge.store.errors import InvalidCursor
from bridge.store.fetch import fetch_all
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import Page

_SQL = load("instance_log")
TYPES = ("connection.update", "connection.pair_code", "instance.created", "instance.deleted", "restriction.update")
WINDOW = 5_000
"""Events that one page looks at: a few milliseconds, however few of them are of these types."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One thing that happened; `body` is the envelope that endpoints get."""

    seq: int
    type: str
    body: str
    received_at: datetime


class InstanceLog:
    """The repository of what happened to instances. It reaches back as far as events are kept."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, key: InstanceKey, *, last_seq: int, limit: int, cursor: str | None) -> Page[LogRow]:
        """Return up to `limit` entries, newest first; there may be fewer, or none, and still a next page.

        `last_seq` is the number of the instance's newest event. Raises `InvalidCursor`.
        """
        high = last_seq if cursor is None else min(_read(cursor), last_seq)
        low = max(high - WINDOW + 1, 1)
        params = {"key": key, "low": low, "high": high, "types": list(TYPES), "limit": limit + 1}
        async with self._pool.connection() as conn:
            rows: Sequence[LogRow] = await fetch_all(conn, _SQL["page"], params, LogRow)
        items = tuple(rows[:limit])
        if len(rows) > limit:
            return Page(items, str(items[-1].seq - 1))
        return Page(items, str(low - 1) if low > 1 else None)


def _read(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidCursor
    return int(cursor)
