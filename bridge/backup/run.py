"""Writes a backup and restores one. What is written is whole or not there; what is restored is all or nothing.

The order is what keeps a backup of a running bridge whole. The journal comes first: what is gone from it by the time
the database is looked at has been stored there. The bridge's database comes before the receiver's, so that the receiver
has what the bridge calls delivered; what it has beyond that is delivered again, and known by its id.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from bridge.backup.archive import read_parts, write_end, write_part
from bridge.backup.seal import BadBackup, Opener, Sealer
from bridge.store.dump import BRIDGE, RECEIVER, CannotRestore, Dump, Load

FORMAT = 2
FILES = ("main-key", "api-key", "receiver-secret")
"""Files of the data directory that belong to the data: without the main key its secrets cannot be read."""
MEDIA, JOURNAL = "media", "journal"
FOLDERS = (MEDIA, JOURNAL)
PASSING = frozenset({"spool"})
"""In `media`, what is on its way into it."""
MANIFEST, DATABASE, TABLE, FILE = "manifest", "database", "table:", "file:"
_READ_BYTES = 1024 * 1024

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bridge has its data: the URLs of its database and the receiver's, which may be the same, and a folder."""

    dsn: str
    receiver: str
    data_dir: Path


@dataclass(slots=True)
class Summary:
    """What was written or restored, in bytes."""

    tables: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    created_at: str = ""
    receiver: bool = False
    """Whether the receiver's data is among it."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "created_at": self.created_at,
            "tables": len(self.tables),
            "table_bytes": sum(self.tables.values()),
            "files": len(self.files),
            "file_bytes": sum(self.files.values()),
            "main_key": "main-key" in self.files,
            "receiver": self.receiver,
        }


def write_backup(place: Place, target: Path, passphrase: str, progress: Progress) -> Summary:
    """Write a backup to `target`, which is replaced once the new one is complete."""
    scratch = target.with_name(f".{target.name}.part")
    with _private(scratch) as out:
        summary = write_to(place, out, passphrase, progress)
        out.flush()
        os.fsync(out.fileno())
        scratch.rename(target)
    return summary


def write_to(place: Place, out: BinaryIO, passphrase: str, progress: Progress) -> Summary:
    """Write a backup into `out`; one that was not finished cannot be restored."""
    summary = Summary(created_at=datetime.now(UTC).isoformat(timespec="seconds"))
    sealer = Sealer(out, passphrase)

    def files(paths: Iterable[Path]) -> None:
        for path in paths:
            name = path.relative_to(place.data_dir).as_posix()
            progress(name)
            summary.files[name] = write_part(sealer, FILE + name, _read(path))

    write_part(sealer, MANIFEST, [json.dumps({"format": FORMAT, "created_at": summary.created_at}).encode()])
    files(_journal(place.data_dir))
    with Dump(place.dsn) as bridge, Dump(place.receiver, RECEIVER) as receiver:
        summary.receiver = bool(receiver.tables)
        dumps = {"bridge": bridge, "receiver": receiver} if summary.receiver else {"bridge": bridge}
        described = {name: dump.describe() for name, dump in dumps.items()}
        write_part(sealer, DATABASE, [json.dumps(described).encode()])
        for dump in dumps.values():
            for table in dump.tables:
                progress(table.full_name)
                summary.tables[table.full_name] = write_part(sealer, TABLE + table.full_name, dump.rows(table))
    files(_files(place.data_dir))
    write_end(sealer)
    sealer.close()
    return summary


def restore_backup(
    place: Place, source: BinaryIO, passphrase: str, progress: Progress, *, with_receiver: bool = True
) -> Summary:
    """Put a backup into empty databases and a data directory that has none of its files; raise what hinders it."""
    there = [name for name in (*FILES, *FOLDERS) if (place.data_dir / name).exists()]
    if there:
        raise CannotRestore(f"{place.data_dir} has {', '.join(there)} already; give an empty folder with --data-dir.")
    scratch = place.data_dir / ".restore"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        with _Restore(place, scratch, with_receiver=with_receiver) as restore:
            summary = restore.all(Opener(source, passphrase), progress)
        for path in scratch.iterdir():
            path.rename(place.data_dir / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return summary


class _Restore:
    """The tables, and the files into a folder beside their place; the databases are committed when all was read."""

    def __init__(self, place: Place, folder: Path, *, with_receiver: bool) -> None:
        self._place = place
        self._folder = folder
        self._with_receiver = with_receiver
        self._loads: list[Load] = []
        self._summary = Summary()

    def __enter__(self) -> "_Restore":
        return self

    def __exit__(self, *_: object) -> None:
        for load in self._loads:
            load.abandon()

    def all(self, opener: Opener, progress: Progress) -> Summary:
        """Read every part; return what there was."""
        for name, pieces in read_parts(opener):
            kind, _, rest = name.partition(":")
            progress(rest or name)
            if name == MANIFEST:
                self._manifest(json.loads(b"".join(pieces)))
            elif not self._summary.created_at:
                break
            elif name == DATABASE:
                self._databases(json.loads(b"".join(pieces)))
            elif kind + ":" == TABLE:
                self._table(rest, pieces)
            elif kind + ":" == FILE:
                _write(_inside(self._folder, rest), _counted(self._summary.files, rest, pieces))
            else:
                raise BadBackup(f"it has a part that is not known: {name}.")
        if not self._loads:
            raise BadBackup("it is empty.")
        for load in reversed(self._loads):  # the bridge's last: without it there is no restored bridge
            load.finish()
        return self._summary

    def _manifest(self, manifest: dict[str, Any]) -> None:
        if manifest.get("format") != FORMAT:
            raise BadBackup("it was made by another version of this program.")
        self._summary.created_at = str(manifest["created_at"])

    def _databases(self, described: dict[str, Any]) -> None:
        self._loads.append(Load(self._place.dsn, described["bridge"], BRIDGE))
        if "receiver" in described and self._with_receiver:
            self._loads.append(Load(self._place.receiver, described["receiver"], RECEIVER))
            self._summary.receiver = True

    def _table(self, name: str, pieces: Iterable[bytes]) -> None:
        for load in self._loads:
            if load.knows(name):
                load.rows(name, _counted(self._summary.tables, name, pieces))
                return
        if self._with_receiver or name.partition(".")[0] not in RECEIVER:
            raise BadBackup(f"its table {name} is not described.")


def _counted(sizes: dict[str, int], name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    sizes[name] = 0
    for piece in pieces:
        sizes[name] += len(piece)
        yield piece


def _journal(data_dir: Path) -> Iterator[Path]:
    """Yield the journals' segments that have something in them: neither locks nor what is all stored."""
    yield from sorted(path for path in (data_dir / JOURNAL).glob("*/*.log") if path.stat().st_size)


def _files(data_dir: Path) -> Iterator[Path]:
    yield from (path for name in FILES if (path := data_dir / name).is_file())
    folders = sorted(path for path in (data_dir / MEDIA).glob("*") if path.name not in PASSING)
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                yield data
    except FileNotFoundError:
        return  # the janitor was here between our look and our reading


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _private(path) as out:
        for piece in pieces:
            out.write(piece)


def _inside(folder: Path, name: str) -> Path:
    """Return where a file goes; raise `BadBackup` for a name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] not in (*FILES, *FOLDERS) or ".." in parts:
        raise BadBackup(f"it has a file that does not belong there: {name}.")
    return folder.joinpath(*parts)


@contextmanager
def _private(path: Path) -> Iterator[Any]:
    """Open a new file that only its owner can read; remove it when it is not finished."""
    path.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
    except BaseException:
        path.unlink(missing_ok=True)
        raise
