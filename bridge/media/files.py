"""Where files are kept, by the SHA-256 of what is in them: a local folder, or any S3-compatible store."""

import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import trio

from bridge.media.spool import Spool, threads
from bridge.store.media import FoundFile

CHUNK_BYTES = 256 * 1024
LIST_BATCH = 1_000

T = TypeVar("T")


class Files(Protocol):
    """A store of files. A name is 64 hex characters, and what has it never changes."""

    async def put(self, name: str, path: Path) -> None:
        """Take over the file at `path`, which is gone afterwards; nothing when the name is there already."""

    def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes from `start` to before `stop`, in pieces; raise `FileNotFoundError`."""

    def borrow(self, name: str) -> AbstractAsyncContextManager[Path]:
        """Lend the file's content as a local file, only for reading; raise `FileNotFoundError`."""

    async def delete(self, name: str) -> None:
        """Remove a file; nothing when it is not there."""

    def found(self) -> AsyncIterator[Sequence[FoundFile]]:
        """Return all files that are there, in batches."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking `work` on one of media's threads; cancellation waits for it, so that nothing goes on unseen."""
    return await trio.to_thread.run_sync(work, limiter=threads)


class LocalFiles:
    """Files in a folder, 256 folders below it. A file is there completely, with its name, or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]

    async def put(self, name: str, path: Path) -> None:
        await in_thread(lambda: self._put(self._path(name), path))

    def _put(self, target: Path, path: Path) -> None:
        if target.exists():
            path.unlink()
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            path.rename(target)
        except OSError:  # another file system
            beside = target.with_name(target.name + ".part")
            shutil.copyfile(path, beside)
            _sync(beside)
            beside.rename(target)
            path.unlink()
        _sync(target.parent)

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        file = await in_thread(lambda: self._path(name).open("rb", buffering=0))
        try:
            while start < stop:
                data = await in_thread(lambda at=start: _pread(file, at, min(CHUNK_BYTES, stop - at)))  # type: ignore[misc]
                if not data:
                    break
                start += len(data)
                yield data
        finally:
            file.close()

    @asynccontextmanager
    async def borrow(self, name: str) -> AsyncIterator[Path]:
        path = self._path(name)
        if not await in_thread(path.is_file):
            raise FileNotFoundError(name)
        yield path

    async def delete(self, name: str) -> None:
        await in_thread(lambda: self._path(name).unlink(missing_ok=True))

    async def found(self) -> AsyncIterator[Sequence[FoundFile]]:
        folders = await in_thread(lambda: sorted(self._folder.glob("??")))
        for folder in folders:
            batch = await in_thread(lambda at=folder: list(_files(at)))  # type: ignore[misc]
            for start in range(0, len(batch), LIST_BATCH):
                yield batch[start : start + LIST_BATCH]


def _files(folder: Path) -> Iterator[FoundFile]:
    for path in folder.iterdir():
        name = folder.name + path.name
        if is_name(name):
            status = path.stat()
            yield FoundFile(name, status.st_size, status.st_mtime)


def is_name(text: str) -> bool:
    """Say whether this can be the name of a file."""
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _pread(file: BinaryIO, at: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, at)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spool_of(folder: Path) -> Spool:
    """Return the place for files on their way, on the same file system as the local store."""
    return Spool(folder / "spool")
