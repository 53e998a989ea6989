"""Brings the database to this program's version.

Numbered SQL files, forward only, each in one transaction together with its record and its checksum. An advisory lock
lets one process migrate at a time; a database that is newer than the program is refused.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import LiteralString

import psycopg
import trio

from bridge.store.errors import MigrationError
from bridge.store.queries import load
from bridge.store.trio_psycopg import CLEANUP_S, TrioConnection

LOCK = 0x6272_6964_6765
"""The advisory lock's number: the letters of `bridge`."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`, such as `0001_bridge.sql`."""

    version: int
    name: str
    sql: LiteralString

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """Return this program's migrations in order; raise `MigrationError` unless they count 1, 2, 3, ..."""
    found = []
    for file in (files(__package__) / "migrations").iterdir():
        number, _, rest = file.name.partition("_")
        if rest.endswith(".sql") and number.isdigit():
            found.append(Migration(int(number), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("The files in migrations/ are not numbered without a gap.")
    return tuple(found)


def pending(ours: Sequence[Migration], applied: Mapping[int, str]) -> tuple[Migration, ...]:
    """Return what is to be run, given the checksums of what was; raise `MigrationError` where the two do not fit."""
    newest = max(applied, default=0)
    if newest > len(ours):
        raise MigrationError(
            f"The database is at version {newest}, this program knows {len(ours)}: install the newer program again, or "
            "restore a backup from before the upgrade."
        )
    for migration in ours:
        if applied.get(migration.version, migration.sha256) != migration.sha256:
            raise MigrationError(f"{migration.name} was changed after it had been applied: add a new file instead.")
    return tuple(migration for migration in ours if migration.version not in applied)


async def migrate(conn: TrioConnection, ours: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is pending and return the names; `conn` is in autocommit and without a statement timeout."""
    ours = migrations() if ours is None else ours
    sql = load("migrate")
    await conn.execute(sql["lock"], {"lock": LOCK})
    try:
        for statement in ("create_schema", "create_table"):
            await conn.execute(sql[statement])
        rows = await (await conn.execute(sql["applied"])).fetchall()
        todo = pending(ours, dict(rows))
        for migration in todo:
            async with conn.transaction():
                await conn.execute(sql["limit_locks"])
                await conn.execute(migration.sql)
                record = {"version": migration.version, "name": migration.name, "sha256": migration.sha256}
                await conn.execute(sql["record"], record)
        return [migration.name for migration in todo]
    finally:
        with trio.move_on_after(CLEANUP_S, shield=True), suppress(psycopg.Error):  # the end of `conn` unlocks as well
            await conn.execute(sql["unlock"], {"lock": LOCK})
