"""Files on their way into the store: written piece by piece, hashed, synced, and removed whatever happens."""

import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bridge.media.errors import MediaTooLarge
from bridge.media.sniff import HEAD_BYTES

FLUSH_BYTES = 512 * 1024
"""So much is gathered before a thread writes it: a hop costs as much as writing that."""
SYNC_BYTES = 4 * 1024 * 1024
"""So much is written before the disk has to have it, so that the database's commits do not wait behind a whole file."""
threads = trio.CapacityLimiter(8)
"""For reading and writing media, so that they leave threads to everybody else."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A complete file."""

    path: Path
    sha256: bytes
    size_bytes: int
    head: bytes
    """Its first bytes, for finding out what it is."""


class Draft:
    """A file that is being written; for one task."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self._limit = limit_bytes
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._unsynced = 0
        self._head = b""
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """Add `data`; raise `MediaTooLarge`."""
        self.size_bytes += len(data)
        if self.size_bytes > self._limit:
            raise MediaTooLarge(max_bytes=self._limit)
        self._waiting += data
        if len(self._waiting) >= FLUSH_BYTES:
            await self._flush()

    async def complete(self) -> Spooled:
        """Write what is left, wait until the disk has it all, and return the file."""
        await self._flush()
        await trio.to_thread.run_sync(os.fsync, self._file.fileno(), limiter=threads)
        self._file.close()
        return Spooled(self.path, self._hash.digest(), self.size_bytes, self._head)

    def discard(self) -> None:
        """Remove what is there; nothing when it was moved into its place."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        await trio.to_thread.run_sync(self._put, data, limiter=threads)

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            os.fdatasync(self._file.fileno())
            self._unsynced = 0


class Spool:
    """The folder of such files. One bridge uses it; what an earlier process left there is removed at the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def clear(self) -> None:
        """Begin with an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, mode=0o700)

    @contextmanager
    def name(self, suffix: str = "") -> Iterator[Path]:
        """Lend the path of a file that somebody else writes; what is there at the end is removed."""
        path = self.folder / (secrets.token_hex(16) + suffix)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def draft(self, limit_bytes: int) -> AsyncIterator[Draft]:
        """Lend a file to write; what is there at the end is removed."""
        with self.name() as path:
            draft = Draft(path, limit_bytes)
            try:
                yield draft
            finally:
                draft.discard()

    async def measure(self, path: Path, limit_bytes: int, sha256: bytes | None = None) -> Spooled:
        """Return what is to be known of a file that somebody else wrote, synced; raise `MediaTooLarge`.

        With `sha256` that has been done, and it is not read again.
        """
        if sha256 is not None:
            return await trio.to_thread.run_sync(_look, path, sha256, limiter=threads)
        return await trio.to_thread.run_sync(_measure, path, limit_bytes, limiter=threads)


def _look(path: Path, sha256: bytes) -> Spooled:
    with path.open("rb") as file:
        return Spooled(path, sha256, os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES))


def _measure(path: Path, limit_bytes: int) -> Spooled:
    digest, head, size = hashlib.sha256(), b"", 0
    with path.open("rb") as file:
        while data := file.read(FLUSH_BYTES):
            head = head or data[:HEAD_BYTES]
            size += len(data)
            if size > limit_bytes:
                raise MediaTooLarge(max_bytes=limit_bytes)
            digest.update(data)
        os.fsync(file.fileno())
    return Spooled(path, digest.digest(), size, head)
