"""Writes a backup and restores one. What is written is whole or not there; what is restored is all or nothing."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from bridge.backup.archive import read_parts, write_end, write_part
from bridge.backup.seal import BadBackup, Opener, Sealer
from bridge.store.dump import CannotRestore, Dump, Load

FORMAT = 1
FILES = ("main-key", "api-key", "receiver-secret")
"""Files of the data directory that belong to the data: without the main key its secrets cannot be read."""
FOLDERS = ("media",)
MANIFEST, TABLE, FILE = "manifest", "table:", "file:"
_READ_BYTES = 1024 * 1024

Progress = Callable[[str], None]


@dataclass(slots=True)
class Summary:
    """What was written or restored, in bytes."""

    tables: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    created_at: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "created_at": self.created_at,
            "tables": len(self.tables),
            "table_bytes": sum(self.tables.values()),
            "files": len(self.files),
            "file_bytes": sum(self.files.values()),
            "main_key": "main-key" in self.files,
        }


def write_backup(dsn: str, data_dir: Path, target: Path, passphrase: str, progress: Progress) -> Summary:
    """Write the database and the files of `data_dir` to `target`, which is replaced once the new one is complete."""
    summary = Summary(created_at=datetime.now(UTC).isoformat(timespec="seconds"))
    scratch = target.with_name(f".{target.name}.part")
    with Dump(dsn) as dump, _private(scratch) as out:
        sealer = Sealer(out, passphrase)
        manifest = {"format": FORMAT, "created_at": summary.created_at, "database": dump.describe()}
        write_part(sealer, MANIFEST, [json.dumps(manifest).encode()])
        for table in dump.tables:
            progress(table.full_name)
            summary.tables[table.full_name] = write_part(sealer, TABLE + table.full_name, dump.rows(table))
        for path in _files(data_dir):
            name = path.relative_to(data_dir).as_posix()
            progress(name)
            summary.files[name] = write_part(sealer, FILE + name, _read(path))
        write_end(sealer)
        sealer.close()
        out.flush()
        os.fsync(out.fileno())
        scratch.rename(target)
    return summary


def restore_backup(dsn: str, data_dir: Path, source: Path, passphrase: str, progress: Progress) -> Summary:
    """Put a backup into an empty database and a data directory that has none of its files; raise what hinders it."""
    there = [name for name in (*FILES, *FOLDERS) if (data_dir / name).exists()]
    if there:
        raise CannotRestore(f"{data_dir} has {', '.join(there)} already; give an empty folder with --data-dir.")
    scratch = data_dir / ".restore"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        with source.open("rb") as file:
            summary = _restore(dsn, Opener(file, passphrase), scratch, progress)
        for path in scratch.iterdir():
            path.rename(data_dir / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return summary


def _restore(dsn: str, opener: Opener, folder: Path, progress: Progress) -> Summary:
    """Restore the tables, and the files into `folder`; the database is committed when all of it was read."""
    summary, load = Summary(), None
    try:
        for name, pieces in read_parts(opener):
            progress(name.partition(":")[2] or name)
            if name == MANIFEST:
                manifest = _manifest(b"".join(pieces))
                summary.created_at = str(manifest["created_at"])
                load = Load(dsn, manifest["database"])
            elif load is not None and name.startswith(TABLE):
                full_name = name.removeprefix(TABLE)
                load.rows(full_name, _counted(summary.tables, full_name, pieces))
            elif load is not None and name.startswith(FILE):
                path = name.removeprefix(FILE)
                _write(_inside(folder, path), _counted(summary.files, path, pieces))
            else:
                raise BadBackup(f"it has a part that is not known: {name}.")
        if load is None:
            raise BadBackup("it is empty.")
        load.finish()
    finally:
        if load is not None:
            load.abandon()
    return summary


def _manifest(raw: bytes) -> Mapping[str, Any]:
    manifest: dict[str, Any] = json.loads(raw)
    if manifest.get("format") != FORMAT:
        raise BadBackup("it was made by another version of this program.")
    return manifest


def _counted(sizes: dict[str, int], name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    sizes[name] = 0
    for piece in pieces:
        sizes[name] += len(piece)
        yield piece


def _files(data_dir: Path) -> Iterator[Path]:
    yield from (path for name in FILES if (path := data_dir / name).is_file())
    for folder in FOLDERS:
        yield from sorted(path for path in (data_dir / folder).rglob("*") if path.is_file() and not path.is_symlink())


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
