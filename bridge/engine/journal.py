"""What the engine has told us and we have not yet stored: one append-only journal per session, on disk.

The callback of the library appends to it before it returns, so that a record outlives its process. It is not forced to
the platter: the kernel writes it out when the process is killed, but not when the machine loses its power.

A journal is a folder of segments named by the number of their first record, beside a lock file that the owning host
holds. A record is a header (checksum, length, seq, time, code) and its payload; the first one that is cut short or
whose checksum is wrong ends its segment. When everything is acknowledged the last segment is cut to zero; when that
never happens, segments are closed at a size and removed one by one.
"""

import fcntl
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

SEGMENT_BYTES = 256 * 1024
_HEADER = struct.Struct(">IIQdh")
"""Checksum of everything behind it, length of the payload, seq, seconds since 1970, code."""
_CHECKSUM = struct.Struct(">I")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JournalLocked(Exception):
    """A living process holds this journal: wait until it has ended."""


class Record(msgspec.Struct, frozen=True):
    """Something that a session reported. `seq` counts per session; `replayed` ones were left by an earlier process."""

    seq: int
    at: float
    """Seconds since 1970, by our clock: when the callback came."""
    code: int
    payload: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Segment:
    path: Path
    last_seq: int = 0
    """Of the newest record in it; 0 while it is empty."""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies, to read it again."""

    path: Path
    offset: int
    length: int


def _pack(seq: int, at: float, code: int, payload: bytes) -> bytes:
    body = _HEADER.pack(0, len(payload), seq, at, code)[_CHECKSUM.size :] + payload
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def _scan(path: Path) -> Iterator[tuple[Record, Place]]:
    """Yield the whole records of a segment, oldest first."""
    with path.open("rb") as file:
        offset, size = 0, path.stat().st_size
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            checksum, length, seq, at, code = _HEADER.unpack(header)
            if length > size - offset:
                return
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(header[_CHECKSUM.size :])) != checksum:
                return
            yield Record(seq, at, code, payload, replayed=True), Place(path, offset, length)
            offset += _HEADER.size + length


def _folder(directory: Path, key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} can't name a journal")
    return directory / key


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _lock(folder: Path) -> int:
    """Return the descriptor that holds the lock; raise `JournalLocked`. The kernel frees it when the process ends."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise JournalLocked(folder.name) from None
    return lock


class Journal:
    """The journal of one session, held by the host that runs it. Methods may be called from any thread.

    `left` are the records of an earlier process, whose places can be read until they are acknowledged.
    """

    def __init__(self, directory: Path, key: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Take the lock and read what is left; raise `JournalLocked` while another process holds it."""
        self._folder = _folder(directory, key)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = _lock(self._folder)
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._closed: list[_Segment] = []
        self.left: list[tuple[Record, Place]] = []
        last_seq = 0
        for path in _segments(self._folder):
            records = [(Record(r.seq, r.at, r.code, b"", replayed=True), place) for r, place in _scan(path)]
            if not records:
                path.unlink()
                continue
            self.left += records
            last_seq = records[-1][0].seq
            self._closed.append(_Segment(path, last_seq, path.stat().st_size))
        self.first_seq = last_seq + 1
        self._fd, self._open = self._new_segment(self.first_seq)

    def _new_segment(self, seq: int) -> tuple[int, _Segment]:
        path = self._folder / f"{seq:020}.log"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), _Segment(path)

    def append(self, seq: int, at: float, code: int, payload: bytes) -> Place:
        """Write one record with a `seq` above all before it; raise `OSError` when the disk does not take it."""
        data = _pack(seq, at, code, payload)
        with self._mutex:
            segment = self._open
            if segment.size >= self._segment_bytes:
                os.close(self._fd)
                self._closed.append(segment)
                self._fd, self._open = self._new_segment(seq)
                segment = self._open
            if os.write(self._fd, data) != len(data):
                os.ftruncate(self._fd, segment.size)  # half a record would hide all that follow it
                raise OSError("the journal was not written in full")
            place = Place(segment.path, segment.size, len(payload))
            segment.size += len(data)
            segment.last_seq = seq
        return place

    def read(self, place: Place) -> bytes:
        """Return the payload of a record that is not yet acknowledged."""
        with place.path.open("rb") as file:
            file.seek(place.offset + _HEADER.size)
            return file.read(place.length)

    def trim(self, seq: int) -> None:
        """Forget the records up to `seq`, as far as whole segments, or the whole of the open one, allow."""
        with self._mutex:
            while self._closed and self._closed[0].last_seq <= seq:
                self._closed.pop(0).path.unlink(missing_ok=True)
            segment = self._open
            if segment.size and segment.last_seq <= seq:
                os.ftruncate(self._fd, 0)
                segment.size = 0

    def close(self) -> None:
        """Give the lock back. What is not acknowledged stays."""
        with self._mutex:
            os.close(self._fd)
            self._fd = -1  # a late callback must not write into whatever gets this number next
            if not self._open.size:
                self._open.path.unlink(missing_ok=True)
            os.close(self._lock_fd)


def read_left(directory: Path, key: str) -> list[Record]:
    """Return the records that nobody has acknowledged; raise `JournalLocked` while a process still owns them."""
    folder = _folder(directory, key)
    if not folder.is_dir():
        return []
    lock = _lock(folder)
    try:
        return [record for path in _segments(folder) for record, _ in _scan(path)]
    finally:
        os.close(lock)


def clear(directory: Path, key: str, through_seq: int) -> None:
    """Forget the records up to `through_seq`, whole segments only; raise `JournalLocked` while a process owns them."""
    folder = _folder(directory, key)
    if not folder.is_dir():
        return
    lock = _lock(folder)
    try:
        for path in _segments(folder):
            if all(record.seq <= through_seq for record, _ in _scan(path)):
                path.unlink()
    finally:
        os.close(lock)


def forget(directory: Path, key: str) -> None:
    """Remove the whole journal of an instance that is deleted; raise `JournalLocked` while a process owns it."""
    folder = _folder(directory, key)
    if not folder.is_dir():
        return
    lock = _lock(folder)
    try:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    finally:
        os.close(lock)
