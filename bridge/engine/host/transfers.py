"""Files between a disk and WhatsApp's media servers, through the library, by path: no media ever travel in a frame.

The library takes and returns a file whole. What that costs in this process (measured: docs/media.md) is bounded by the
number of transfers at a time: one of a large file, a few of small ones. A download goes from the library's memory to
the disk without a copy in Python's.
"""

import ctypes
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.engine.wire import TOO_LARGE

LARGE_BYTES = 16 * 1024 * 1024
LARGE_AT_ONCE = 1
SYNC_BYTES = 4 * 1024 * 1024
"""What is written before the disk has to have it: commits of a database on the same disk wait behind all that is on its
way there."""
SMALL_AT_ONCE = 6
_BINARY, _ERROR = 1, 2
"""Fields of neonize's `DownloadReturnFunction`."""


class NoTurn(Exception):
    """Other files were in the way for too long:"""


class BadAnswer(Exception):
    """The library returned what is no protobuf message of its own:"""


class Turns:
    """Who may transfer now."""

    def __init__(self) -> None:
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self._small = threading.BoundedSemaphore(SMALL_AT_ONCE)

    @contextmanager
    def take(self, size_bytes: int, expires_at: float) -> Iterator[None]:
        """Wait for a turn until `expires_at` on the monotonic clock; raise `NoTurn`."""
        turns = self._large if size_bytes >= LARGE_BYTES else self._small
        if not turns.acquire(timeout=max(0.0, expires_at - time.monotonic())):
            raise NoTurn
        try:
            yield
        finally:
            turns.release()


class Transfers:
    """The two functions of the library that move files."""

    def __init__(self, binder: Any) -> None:
        self._upload = binder.gocode.Upload
        self._free = binder.gocode.FreeBytesStruct
        # an object of its own, so that the binder's does not copy what the function returns
        self._download = binder.gocode["DownloadAny"]
        self._download.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        self._download.restype = ctypes.POINTER(binder.Bytes)

    def upload(self, client: bytes, path: str, media_type: int) -> bytes:
        """Return the library's serialised `UploadReturnFunction` for the file at `path`."""
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
            size = len(mapped)
            first = ctypes.c_char.from_buffer(mapped)
            try:
                address = ctypes.cast(ctypes.addressof(first), ctypes.c_char_p)
                return bytes(self._upload(client, address, size, media_type) or b"")
            finally:
                del first  # the mapping cannot be closed before

    def download(self, client: bytes, message: bytes, path: str, limit_bytes: int) -> bytes:
        """Write the file that a serialised `waE2E.Message` names to `path`; return the error, empty when there is none.

        A file above the limit is not written, whatever its message says of its size: `TOO_LARGE`.

        Raises `OSError` when the disk does not take it, `BadAnswer`.
        """
        answer = self._download(client, message, len(message))
        if not answer:
            raise BadAnswer("nothing")
        try:
            size = answer.contents.size
            if not answer.contents.ptr or not size:
                return b""
            held = (ctypes.c_char * size).from_address(answer.contents.ptr)
            with memoryview(held).cast("B") as view:
                error = b""
                for field, start, stop in _fields(view):
                    if field == _ERROR:
                        error = bytes(view[start:stop])
                    elif field == _BINARY and stop - start > limit_bytes:
                        return TOO_LARGE
                    elif field == _BINARY:
                        _write(path, view, start, stop)
                return error
        finally:
            self._free(answer)


def _write(path: str, view: memoryview, start: int, stop: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while start < stop:
            start += os.write(descriptor, view[start : min(stop, start + SYNC_BYTES)])
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _fields(view: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each length-delimited field: all that such a message has."""
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        if tag & 7 != 2:
            raise BadAnswer(f"tag {tag}")
        length, at = _varint(view, at)
        if at + length > len(view):
            raise BadAnswer("cut off")
        yield tag >> 3, at, at + length
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise BadAnswer("cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


METHODS: dict[str, Callable[..., bytes]] = {"UploadFile": Transfers.upload, "DownloadFile": Transfers.download}
"""What a bridge may call; the last argument of a call, which these do not get, is the file's size in bytes."""
