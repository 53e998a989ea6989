"""What the engine has stored and not reported: notes that triggers on its tables take, to be told as events."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from bridge.domain.ids import InstanceKey
from bridge.store.errors import EngineTablesChanged
from bridge.store.fetch import fetch_all, run
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("engine_notes")
READ_LIMIT = 200


@dataclass(frozen=True, slots=True)
class EngineNote:
    """A row of the engine's before (None for a new one) and after it was written; `at` is seconds since 1970.

    `looks` counts how often it was postponed because what it means could not be found out.
    """

    id: int
    about: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    at: float
    looks: int
    instance: InstanceKey | None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far it is looked for what a MAC stands for: in the newest `events`, with the newest `keys` of the phone."""

    events: int
    keys: int


@dataclass(frozen=True, slots=True)
class DeletedMessage:
    """A message that was deleted for oneself, under the addresses that its own event had; `mac` is hexadecimal."""

    mac: str
    chat: str
    sender: str
    message_id: str
    from_me: bool


class EngineNotes:
    """The repository of notes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, limit: int = READ_LIMIT) -> list[EngineNote]:
        """Return the oldest notes that are due; they stay until they are removed."""
        async with self._pool.connection() as conn:
            return await fetch_all(conn, _SQL["read"], {"limit": limit}, EngineNote)

    async def remove(self, ids: Collection[int]) -> None:
        """Remove notes that were told."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["remove"], {"ids": list(ids)})

    async def postpone(self, ids: Collection[int], wait_s: float, *, looks: int) -> None:
        """Have notes looked at again after `wait_s`; `looks` is 1 where it was looked in vain, else 0."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["postpone"], {"ids": list(ids), "wait_s": wait_s, "looks": looks})

    async def deleted(self, instance: InstanceKey, macs: Collection[str], reach: Reach) -> list[DeletedMessage]:
        """Return the messages of an instance that `macs`, hexadecimal, name as deleted for oneself.

        The engine's keys are used where they are and do not come out. Takes PostgreSQL some 10 us for an event and key.
        Raises `EngineTablesChanged`.
        """
        params = {"instance": instance, "macs": list(macs), "events": reach.events, "keys": reach.keys}
        try:
            async with self._pool.transaction() as conn:
                await run(conn, _SQL["unjitted"], {})
                return await fetch_all(conn, _SQL["deleted"], params, DeletedMessage)
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            raise EngineTablesChanged(type(error).__name__) from error

    async def forget(self, jid: str) -> None:
        """Remove what was noted of a device so far: what it takes over when it is linked is no change.

        That it has read collections of app state is kept.
        """
        async with self._pool.connection() as conn:
            await run(conn, _SQL["forget"], {"jid": jid})
