"""What the engine has stored and not reported: notes that triggers on its tables take, to be told as events."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.domain.ids import InstanceKey
from bridge.store.fetch import fetch_all, run
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("engine_notes")
READ_LIMIT = 200


@dataclass(frozen=True, slots=True)
class EngineNote:
    """A row of the engine's before (None for a new one) and after it was written; `at` is seconds since 1970."""

    id: int
    about: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    at: float
    instance: InstanceKey | None


class EngineNotes:
    """The repository of notes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, limit: int = READ_LIMIT) -> list[EngineNote]:
        """Return the oldest notes; they stay until they are removed."""
        async with self._pool.connection() as conn:
            return await fetch_all(conn, _SQL["read"], {"limit": limit}, EngineNote)

    async def remove(self, ids: Collection[int]) -> None:
        """Remove notes that were told."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["remove"], {"ids": list(ids)})

    async def forget(self, jid: str) -> None:
        """Remove what was noted of a device so far: what it takes over when it is linked is no change."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["forget"], {"jid": jid})
