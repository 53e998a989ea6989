"""The feed: what readers pull. A cursor is the position of an event; whoever has read up to it has missed nothing.

Readers wait here for the next commit of this process; nothing is asked of PostgreSQL while nothing happens.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import trio

from bridge.domain.ids import InstanceKey
from bridge.store.pool import Pool
from bridge.store.queries import load

SPAN = 2_000
"""Events that one query looks at, wanted or not."""
PAGE = 100
"""Events that one query returns."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and the cursor behind it."""

    position: int
    body: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants; None is all instances, no types are all types."""

    instances: frozenset[str] | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of the feed. `after` is the cursor to go on from, also when there was nothing for this reader."""

    entries: tuple[Entry, ...]
    after: int
    more: bool
    """There is more already; without, the reader has caught up."""


class Feed:
    """The repository of what was committed, in that order."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load("feed")
        self._changed = trio.Event()

    def wake(self) -> None:
        """Say that something was committed."""
        self._changed.set()
        self._changed = trio.Event()

    @property
    def changed(self) -> trio.Event:
        """The event that the next commit sets. Take it before a read, and wait for it when that finds nothing."""
        return self._changed

    async def read(self, after: int, wanted: Filter, *, limit: int = PAGE) -> Batch:
        """Return the next events behind `after` that are wanted, at most `limit` of them."""
        params = {
            "after": after,
            "instances": None if wanted.instances is None else sorted(wanted.instances),
            "types": list(wanted.types),
            "limit": limit,
            "span": SPAN,
        }
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(self._sql["read"], params)).fetchall()
        seen, last = rows[0][0], rows[0][1]
        entries = tuple(Entry(row[2], row[3]) for row in rows if row[2] is not None)
        full = len(entries) == limit
        return Batch(entries, entries[-1].position if full else last or after, full or seen == SPAN)

    async def head(self) -> int:
        """Return the cursor behind the newest event."""
        return await self._number("head", {})

    async def position_of(self, instance: InstanceKey, seq: int) -> int:
        """Return the cursor behind an instance's event with this `seq`."""
        return await self._number("position_of", {"instance": instance, "seq": seq})

    async def _number(self, name: str, params: dict[str, object]) -> int:
        async with self._pool.connection() as conn:
            row = await (await conn.execute(self._sql[name], params)).fetchone()
        assert row is not None
        return int(row[0])


def wanted(instances: Collection[str] | None, only: frozenset[str] | None, types: Iterable[str]) -> Filter:
    """Return the filter of a reader that names `instances` (None: all) and may see `only` some (None: all)."""
    if instances is None:
        return Filter(only, tuple(types))
    named = frozenset(instances)
    return Filter(named if only is None else named & only, tuple(types))
