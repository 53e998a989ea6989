"""The media: one row per file that a message carries or a caller gave us, and one per file as such, by its SHA-256."""

import base64
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from bridge.domain.ids import InstanceKey, MediaId
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("media")
YOUNG_S = 3_600.0
"""A file that somebody began to use this recently is not removed: its row may be on the way."""
SHOWN_S = 30 * 86_400.0
"""How long a row says that its file is gone."""


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A file as its instance knows it."""

    id: MediaId
    instance_key: InstanceKey
    path: str
    direction: str
    """in or out."""
    kind: str
    status: str
    """pending, available, expired or failed."""
    reason: str | None
    mime_type: str
    filename: str
    size_bytes: int
    sha256: bytes | None
    facts: Mapping[str, object]
    event: Mapping[str, object]
    source: bytes | None
    attempts: int
    gone: int
    next_at: datetime
    created_at: datetime
    expires_at: datetime

    @property
    def hex(self) -> str:
        """The file's name in the store; only of one that is available."""
        assert self.sha256 is not None
        return self.sha256.hex()


@dataclass(frozen=True, slots=True)
class Expected:
    """A file that is to be downloaded."""

    id: MediaId
    instance_key: InstanceKey
    path: str
    kind: str
    mime_type: str
    filename: str
    size_bytes: int
    facts: Mapping[str, object]
    event: Mapping[str, object]
    source: bytes
    expires_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file in the store."""

    sha256: str
    """Hex."""
    size_bytes: int
    touched_at: float


class MediaRows:
    """The repository of media."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def expect(self, files: Sequence[Expected]) -> None:
        """Store what is to be downloaded; what is known already stays as it is."""
        rows = [{**asdict(file), "source": base64.b64encode(file.source).decode()} for file in files]
        async with self._pool.connection() as conn:
            await run(conn, _SQL["expect"], {"rows": Jsonb(rows)})

    async def touch_object(self, sha256: bytes, size_bytes: int) -> None:
        """Announce a file before it is put into its place; waits for whoever is removing it."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["touch_object"], {"sha256": sha256, "size_bytes": size_bytes})

    async def add(
        self,
        id: MediaId,
        instance: InstanceKey,
        *,
        path: str,
        kind: str,
        mime_type: str,
        filename: str,
        size_bytes: int,
        sha256: bytes,
        facts: Mapping[str, object],
        keep_s: float,
    ) -> MediaRow:
        """Store a file that a caller gave us; it is in its place already."""
        params = {
            "id": id,
            "instance_key": instance,
            "path": path,
            "kind": kind,
            "mime_type": mime_type,
            "filename": filename,
            "size_bytes": size_bytes,
            "sha256": sha256,
            "facts": Jsonb(dict(facts)),
            "keep_s": keep_s,
        }
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["add"], params, MediaRow)
        assert row is not None
        return row

    async def get(self, instance: InstanceKey, id: str) -> MediaRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["get"], {"instance_key": instance, "id": id}, MediaRow)

    async def by_path(self, path: str) -> MediaRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["by_path"], {"path": path}, MediaRow)

    async def due(
        self, instances: Collection[InstanceKey], under_way: Collection[MediaId], limit: int
    ) -> list[MediaRow]:
        """Return up to `limit` files of `instances` whose download is due, without those that are under way."""
        params = {"instances": list(instances), "under_way": list(under_way), "limit": limit}
        async with self._pool.connection() as conn:
            return await fetch_all(conn, _SQL["due"], params, MediaRow)

    async def next_due_s(self) -> float | None:
        """Return the seconds until the next postponed download is due, None when there is none."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["next_due"])).fetchone()
        return None if row is None else row[0]

    async def postpone(self, id: MediaId, *, after_s: float, gone: int, reason: str) -> None:
        """Record an attempt that failed and after which another one follows."""
        await self._run("postpone", {"id": id, "after_s": after_s, "gone": gone, "reason": reason})

    async def arrived(self, id: MediaId, *, sha256: bytes, size_bytes: int, mime_type: str) -> None:
        """Record that the file is in its place."""
        await self._run("arrived", {"id": id, "sha256": sha256, "size_bytes": size_bytes, "mime_type": mime_type})

    async def give_up(self, id: MediaId, *, status: str, reason: str) -> None:
        """Record that no further attempt is made."""
        await self._run("give_up", {"id": id, "status": status, "reason": reason})

    async def again(self, instance: InstanceKey, id: str, keep_s: float) -> MediaRow | None:
        """Make a download that is not there due now; None when there is nothing to download."""
        params = {"instance_key": instance, "id": id, "keep_s": keep_s}
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["again"], params, MediaRow)

    async def unannounced(self, under_way: Collection[MediaId], limit: int) -> list[MediaRow]:
        """Return files whose status has changed and whose event is not known to be stored."""
        params = {"under_way": list(under_way), "limit": limit}
        async with self._pool.connection() as conn:
            return await fetch_all(conn, _SQL["unannounced"], params, MediaRow)

    async def announce(self, id: MediaId, status: str) -> None:
        """Record that the event of this status is stored."""
        await self._run("announce", {"id": id, "status": status})

    # for the janitor

    async def outlive(self) -> int:
        """Let go of files whose retention is over, and of rows that have said so for long; return how many."""
        return await self._run("outlive", {}) + await self._run("forget", {"shown_s": SHOWN_S})

    async def adopt(self, files: Sequence[FoundFile]) -> int:
        """Take files that were found into account; those without a row become unused ones. Return how many."""
        return await self._run("adopt", {"files": Jsonb([asdict(file) for file in files])})

    @asynccontextmanager
    async def unused(self, young_s: float = YOUNG_S) -> AsyncIterator[str | None]:
        """Lend the name (hex) of a file that nobody refers to, or None.

        When the body of the `with` ends well, it is forgotten; until then nobody can begin to use it.
        """
        async with self._pool.connection() as conn, conn.transaction():
            row = await (await conn.execute(_SQL["lock_unused"], {"young_s": young_s})).fetchone()
            yield None if row is None else bytes(row[0]).hex()
            if row is not None:
                await conn.execute(_SQL["remove_object"], {"sha256": row[0]})

    async def _run(self, name: str, params: Mapping[str, object]) -> int:
        async with self._pool.connection() as conn:
            return await run(conn, _SQL[name], params)
