"""All media of this bridge: takes files in, lends them out, and removes what nobody needs any more.

The order in which a file comes is what makes removing safe: first its row is announced, then it is put into its place,
then something refers to it. Whoever removes holds the row meanwhile (`MediaRows.unused`).
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.domain.ids import InstanceKey
from bridge.domain.media import DAY_S, media_path
from bridge.ids import new_media_id
from bridge.media.errors import MediaGone, MediaNotFound, MediaNotRetryable, MediaPending
from bridge.media.files import Files
from bridge.media.sniff import extension
from bridge.media.spool import Spool, Spooled
from bridge.store.media import YOUNG_S, MediaRow, MediaRows

REMOVED_AT_ONCE = 500
"""Files that one round of cleaning removes at the most."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much and for how long."""

    max_bytes: int = 128 * 1024 * 1024
    days: float = 30.0

    @property
    def keep_s(self) -> float:
        return self.days * DAY_S


class Library:
    """Rows and files together."""

    def __init__(self, rows: MediaRows, files: Files, spool: Spool, keeping: Keeping) -> None:
        self.rows = rows
        self.spool = spool
        self.keeping = keeping
        self._files = files

    # --- in -----------------------------------------------------------------------------------------------------------

    async def keep(self, file: Spooled) -> None:
        """Put a file into its place; it is not in the spool afterwards."""
        await self.rows.touch_object(file.sha256, file.size_bytes)
        await self._files.put(file.sha256.hex(), file.path)

    async def add(
        self,
        instance: InstanceKey,
        file: Spooled,
        *,
        kind: str,
        mime_type: str,
        filename: str = "",
        facts: Mapping[str, object] | None = None,
    ) -> MediaRow:
        """Take in a file that a caller gave us."""
        await self.keep(file)
        return await self._add(instance, file.sha256, file.size_bytes, kind, mime_type, filename, facts or {})

    async def refer(
        self,
        instance: InstanceKey,
        row: MediaRow,
        *,
        kind: str,
        mime_type: str,
        filename: str,
        facts: Mapping[str, object],
    ) -> MediaRow:
        """Take in a file that is here already once more, under other facts."""
        assert row.sha256 is not None
        await self.rows.touch_object(row.sha256, row.size_bytes)
        return await self._add(instance, row.sha256, row.size_bytes, kind, mime_type, filename, facts)

    async def _add(  # noqa: PLR0917
        self,
        instance: InstanceKey,
        sha256: bytes,
        size_bytes: int,
        kind: str,
        mime_type: str,
        filename: str,
        facts: Mapping[str, object],
    ) -> MediaRow:
        id = new_media_id()
        return await self.rows.add(
            id,
            instance,
            path=media_path(instance, time.time(), id, extension(mime_type)),
            kind=kind,
            mime_type=mime_type,
            filename=filename,
            size_bytes=size_bytes,
            sha256=sha256,
            facts=facts,
            keep_s=self.keeping.keep_s,
        )

    async def again(self, instance: InstanceKey, id: str) -> MediaRow:
        """Have a file downloaded once more; raise `MediaNotFound` or `MediaNotRetryable`."""
        row = await self.rows.again(instance, id, self.keeping.keep_s)
        if row is not None:
            return row
        found = await self.rows.get(instance, id)
        if found is None:
            raise MediaNotFound
        raise MediaNotRetryable("It is there." if found.status == "available" else f"{found.reason}.")

    # --- out ----------------------------------------------------------------------------------------------------------

    async def find(self, instance: InstanceKey, id: str) -> MediaRow:
        """Return a file of this instance that is there; raise `MediaNotFound`, `MediaPending` or `MediaGone`."""
        return _there(await self.rows.get(instance, id))

    async def by_path(self, path: str) -> MediaRow:
        """Return a file by the original's name for it; raise as `find` does."""
        return _there(await self.rows.by_path(path))

    def read(self, row: MediaRow, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes from `start` to before `stop`, in pieces; raise `FileNotFoundError` when it has vanished."""
        return self._files.read(row.hex, start, stop)

    @asynccontextmanager
    async def borrow(self, row: MediaRow) -> AsyncIterator[Path]:
        """Lend a file as a local one, only for reading; raise `MediaGone`."""
        lent = False
        try:
            async with self._files.borrow(row.hex) as path:
                lent = True
                yield path
        except FileNotFoundError:
            if lent:  # it is the borrower's own error
                raise
            raise MediaGone("It is missing in the store.") from None

    # --- away ---------------------------------------------------------------------------------------------------------

    async def clean(self) -> dict[str, int]:
        """Let go of what has outlived its retention, remove files that nobody refers to; return how many of each."""
        expired = await self.rows.outlive()
        removed = 0
        while removed < REMOVED_AT_ONCE and await self._remove_one():
            removed += 1
        return {"media": expired, "media_files": removed}

    async def find_orphans(self) -> int:
        """Take files into account of which the database knows nothing; `clean` removes them. Return how many."""
        found = 0
        async for batch in self._files.found():
            found += await self.rows.adopt(batch)
        return found

    async def _remove_one(self, young_s: float = YOUNG_S) -> bool:
        async with self.rows.unused(young_s) as name:
            if name is not None:
                await self._files.delete(name)
        return name is not None


def _there(row: MediaRow | None) -> MediaRow:
    if row is None:
        raise MediaNotFound
    match row.status:
        case "available":
            return row
        case "pending":
            raise MediaPending(media_id=row.id)
        case _:
            raise MediaGone(f"{row.reason or row.status}.", media_id=row.id, status=row.status)
