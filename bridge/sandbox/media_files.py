"""The files on the media host, and the files that simulated phones seal for it and open from it.

A file is kept under the hash of its sealed form, which is also its address: `/v/t62.7118-24/<hash>?...`. The phones use
the host as clients do, only without HTTP between. Work on a file runs in a thread; a few at a time.
"""

import base64
import hashlib
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import trio
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bridge.errors import BridgeError
from bridge.sandbox.attachments import FILE_KINDS, Sealed, open_sealed, seal

T = TypeVar("T")

MAX_FILE_BYTES: Final = 128 << 20
"""More than WhatsApp's own 100 MB for media; documents may be 2 GB there, which nobody needs here."""
MAX_FOLDER_BYTES: Final = 4 << 30
"""Beyond it the oldest files go, as they do from WhatsApp's own host after some weeks."""
_THREADS: Final = 2
_FOLDER: Final = "/v/t62.7118-24/"
_PIECE_BYTES: Final = 1 << 20
_SYNC_BYTES: Final = 4 << 20
"""What a phone seals is on the disk every so often: it stands for a phone elsewhere, and the databases of the bridge
that is tested commit on this disk; a commit waits behind all that is on its way there."""


class NoSuchFile(BridgeError):
    """The media host does not have this file."""

    code = "no_such_file"
    status = 404


class FileTooLarge(BridgeError):
    """The file is larger than the media host takes."""

    code = "too_large"
    status = 413


class WrongHash(BridgeError):
    """What was uploaded is not what its address says."""

    code = "wrong_hash"
    status = 400


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on the host with what its message says about it."""

    kind: str
    """A name in `FILE_KINDS`."""
    direct_path: str
    sealed: Sealed


class Incoming:
    """A file on its way in: written piece by piece, then kept or forgotten."""

    def __init__(self, folder: Path, *, synced: bool = False) -> None:
        """`synced` has the disk take it piece by piece, for which a thread has to wait."""
        self.path = folder / f"incoming-{secrets.token_hex(8)}"
        self.size = 0
        self._synced = synced
        self._unsynced = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO = self.path.open("wb")

    def write(self, piece: bytes) -> None:
        """Add a piece; raise `FileTooLarge`."""
        self.size += len(piece)
        if self.size > MAX_FILE_BYTES:
            raise FileTooLarge(f"more than {MAX_FILE_BYTES} bytes")
        self._hash.update(piece)
        self._file.write(piece)
        self._unsynced += len(piece)
        if self._synced and self._unsynced >= _SYNC_BYTES:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._unsynced = 0

    def done(self) -> bytes:
        """Finish writing; return the SHA-256 of all of it."""
        self._file.close()
        return self._hash.digest()

    def forget(self) -> None:
        """Remove what is left of it; nothing where it was kept."""
        self._file.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


class MediaFiles:
    """The folder with the files. Those that a sandbox left half written or unsent are removed at its next start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in (*folder.glob("incoming-*"), *folder.glob("plain-*")):
            left.unlink()
        self._bytes = sum(file.stat().st_size for file in folder.iterdir())
        self._limiter = trio.CapacityLimiter(_THREADS)

    def begin(self) -> Incoming:
        """Begin to take in a file."""
        return Incoming(self.folder)

    def keep(self, incoming: Incoming, digest: bytes) -> str:
        """Keep a file that is complete under its hash; return its direct path."""
        self._take(incoming, digest.hex())
        return f"{_FOLDER}{digest.hex()}?ccb=11-4&oe=7FFFFFFF"

    def keep_plain(self, incoming: Incoming) -> str:
        """Keep a file that is not sealed, for a message that will name it; return its id."""
        file_id = secrets.token_hex(8)
        self._take(incoming, f"plain-{file_id}")
        return file_id

    def plain(self, file_id: str) -> Path:
        """Return the file that `keep_plain` kept; raise `NoSuchFile`."""
        path = self.folder / f"plain-{file_id}"
        if not file_id.isalnum() or not path.is_file():
            raise NoSuchFile(file_id)
        return path

    def find(self, path: str) -> Path:
        """Return the file behind a path or direct path; raise `NoSuchFile`."""
        name = path.partition("?")[0].rpartition("/")[2]
        file = self.folder / name
        if len(name) != 2 * hashlib.sha256().digest_size or not name.isalnum() or not file.is_file():
            raise NoSuchFile(path)
        return file

    def remove(self, path: str) -> None:
        """Remove a file, as whoever it was for does when it has it; raise `NoSuchFile`."""
        self.find(path).unlink()

    def _take(self, incoming: Incoming, name: str) -> None:
        """Give a file its name, and remove the oldest ones where there are too many bytes."""
        incoming.path.replace(self.folder / name)
        self._bytes += incoming.size
        if self._bytes <= MAX_FOLDER_BYTES:
            return
        found = [(file, file.stat()) for file in self.folder.iterdir() if not file.name.startswith("incoming-")]
        self._bytes = sum(stat.st_size for _, stat in found)
        for file, stat in sorted(found, key=lambda pair: pair[1].st_mtime):
            if self._bytes <= MAX_FOLDER_BYTES * 9 // 10 or file.name == name:
                break
            file.unlink(missing_ok=True)
            self._bytes -= stat.st_size

    async def add(self, content: BinaryIO | bytes, kind: str) -> Attachment:
        """Seal a content and put it on the host, as a phone does that sends it. An open file is read from where it is.

        Raises `FileTooLarge`.
        """
        return await self._in_thread(partial(self.add_now, content, kind))

    async def open(self, attachment: Attachment) -> "BinaryIO":
        """Return the content of a file on the host, checked, as a temporary file that is gone once it is closed.

        Raises `NoSuchFile` and `BadMedia`.
        """
        return await self._in_thread(partial(self._open, attachment))

    async def copy(self, content: BinaryIO, path: Path) -> int:
        """Write an open file under that name; return its size in bytes."""

        def write() -> int:
            with path.open("wb") as target:
                shutil.copyfileobj(content, target, _PIECE_BYTES)
                return target.tell()

        return await self._in_thread(write)

    def add_now(self, content: BinaryIO | bytes, kind: str) -> Attachment:
        """Do what `add` does in this thread: for what is small."""
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        incoming = Incoming(self.folder, synced=True)
        try:
            sealed = seal(source, incoming, FILE_KINDS[kind])
            return Attachment(kind, self.keep(incoming, incoming.done()), sealed)
        finally:
            incoming.forget()

    def _open(self, attachment: Attachment) -> BinaryIO:
        path = self.find(attachment.direct_path)
        content: BinaryIO = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - the caller's, who closes it
        try:
            with path.open("rb") as sealed:
                open_sealed(sealed, path.stat().st_size, content, attachment.sealed, FILE_KINDS[attachment.kind])
        except BaseException:
            content.close()
            raise
        content.seek(0)
        return content

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


def token_of(digest: bytes) -> str:
    """Return a hash as it stands in the host's addresses."""
    return base64.urlsafe_b64encode(digest).decode()


def name_of(token: str) -> str:
    """Return the name of the file behind a hash in an address; raise `NoSuchFile` for what is no such thing."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).hex()
    except ValueError as error:
        raise NoSuchFile(token) from error


class _MadeUp(io.RawIOBase):
    """Bytes that nobody has to keep."""

    def __init__(self, size: int, seed: int) -> None:
        self._left = size
        self._stream = Cipher(algorithms.AES(seed.to_bytes(32, "big")), modes.CTR(bytes(16))).encryptor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        size = min(len(view), self._left)
        view[:size] = self._stream.update(bytes(size))
        self._left -= size
        return size


def made_up(size: int, seed: int = 0) -> BinaryIO:
    """Return a file of that many bytes, which do not compress, are the same for the same seed, and on no disk."""
    return io.BufferedReader(_MadeUp(size, seed), _PIECE_BYTES)
