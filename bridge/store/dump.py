"""Copies schemas out of a database and into an empty one, with nothing but COPY: no pg_dump of a certain version.

The bridge's schema and the engine's go together; the receiver's, which may be in another database, goes alone. Our own
tables are made by our migrations, up to the version that the copy has, and the receiver's by its `schema.sql`; those of
whatsmeow, which the engine makes, are described in the copy itself, from the catalogue. One snapshot: all tables of a
copy tell of the same moment.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from bridge.errors import BridgeError
from bridge.store.migrate import migrations, pending
from bridge.store.queries import load

_SQL = load("dump")
OWN, ENGINE = "bridge", "whatsapp"
BRIDGE = (OWN, ENGINE)
"""Neither is usable without the other."""
RECEIVER = ("receiver",)
_MIGRATIONS = "migrations"


class CannotRestore(BridgeError):
    """Nothing was restored:"""

    code: ClassVar[str] = "cannot_restore"


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns that are copied: those that are not computed from others."""

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


class Dump:
    """One consistent look at some schemas of a database, as it is when this is made. Use it as a context manager."""

    def __init__(self, dsn: str, schemas: Sequence[str] = BRIDGE) -> None:
        self._schemas = list(schemas)
        self._conn = psycopg.connect(dsn, autocommit=True, application_name="bridge backup")
        try:
            self._conn.execute(_SQL["begin_snapshot"])
            self.tables = _tables(self._conn, self._schemas)
        except BaseException:
            self._conn.close()
            raise

    def __enter__(self) -> "Dump":
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()

    def describe(self) -> dict[str, Any]:
        """Return what a restore has to know before the first row, as plain JSON."""
        sequences = self._conn.execute(_SQL["sequences"], {"schemas": self._schemas}).fetchall()
        described: dict[str, Any] = {
            "tables": [[table.schema, table.name, list(table.columns)] for table in self.tables],
            "sequences": [list(row) for row in sequences],
        }
        if OWN in self._schemas:
            described[_MIGRATIONS] = dict(self._conn.execute(_SQL["applied"]).fetchall())
        if ENGINE in self._schemas:
            described |= self._engine()
        return described

    def _engine(self) -> dict[str, Any]:
        """Return how the engine's tables are made."""
        rows = self._conn.execute(_SQL["engine_columns"]).fetchall()
        described: dict[str, list[str]] = {}
        for table, column, kind, required, default in rows:
            if default is not None and "nextval" in default:
                raise CannotRestore(f"{ENGINE}.{table}.{column} counts by a sequence, which a backup cannot keep.")
            line = sql.SQL("{} ").format(sql.Identifier(column)).as_string() + kind
            line += (" not null" if required else "") + (f" default {default}" if default is not None else "")
            described.setdefault(table, []).append(line)
        return {
            "engine_tables": described,
            "engine_constraints": [list(row) for row in self._conn.execute(_SQL["engine_constraints"]).fetchall()],
            "engine_indexes": [row[0] for row in self._conn.execute(_SQL["engine_indexes"]).fetchall()],
        }

    def rows(self, table: Table) -> Iterator[bytes | bytearray | memoryview]:
        """Yield the rows in COPY's text form, which every version of PostgreSQL reads."""
        query = sql.SQL("copy (select {} from {}) to stdout").format(_columns(table), _identifier(table))
        with self._conn.cursor() as cursor, cursor.copy(query) as copy:
            yield from copy


class Load:
    """A restore of such schemas into a database that has none of them: all of it, or nothing."""

    def __init__(self, dsn: str, described: Mapping[str, Any], schemas: Sequence[str] = BRIDGE) -> None:
        """Make the tables; raise `CannotRestore` unless the schemas are empty and the copy is of a version we know."""
        self._described = described
        self._tables = {
            f"{schema}.{name}": Table(schema, name, tuple(columns)) for schema, name, columns in described["tables"]
        }
        self._conn = psycopg.connect(dsn, autocommit=False, application_name="bridge restore")
        try:
            self._prepare(described, schemas)
        except BaseException:
            self._conn.close()
            raise

    def _prepare(self, described: Mapping[str, Any], schemas: Sequence[str]) -> None:
        if self._conn.execute(_SQL["anything_there"], {"schemas": list(schemas)}).fetchone() is not None:
            raise CannotRestore(f"the database is not empty; give one without the schemas {' and '.join(schemas)}.")
        if _MIGRATIONS in described:
            self._migrate({int(version): sha256 for version, sha256 in described[_MIGRATIONS].items()})
        else:
            self._run((resources.files("receiver") / "schema.sql").read_text())
        for name, lines in described.get("engine_tables", {}).items():
            head = sql.SQL("create table {} (").format(sql.Identifier(ENGINE, name)).as_string()
            self._run(f"{head}{', '.join(lines)})")

    def _migrate(self, applied: Mapping[int, str]) -> None:
        ours, version = migrations(), max(applied, default=0)
        pending(ours, applied)  # refuses a newer database, and one that was made differently
        sql_ = load("migrate")
        self._conn.execute(sql_["create_schema"])
        self._conn.execute(sql_["create_table"])
        for migration in ours[:version]:
            self._conn.execute(migration.sql)
            record = {"version": migration.version, "name": migration.name, "sha256": migration.sha256}
            self._conn.execute(sql_["record"], record)

    def knows(self, full_name: str) -> bool:
        """Say whether that table is one of the copy's."""
        return full_name in self._tables

    def rows(self, full_name: str, pieces: Iterable[bytes]) -> None:
        """Load a table that it knows."""
        table = self._tables[full_name]
        query = sql.SQL("copy {} ({}) from stdin").format(_identifier(table), _columns(table))
        with self._conn.cursor() as cursor, cursor.copy(query) as copy:
            for piece in pieces:
                copy.write(piece)

    def finish(self) -> None:
        """Add what the engine's tables have besides rows, set the sequences, and commit."""
        for table, name, definition in self._described.get("engine_constraints", ()):
            head = sql.SQL("alter table {} add constraint {} ").format(
                sql.Identifier(ENGINE, table), sql.Identifier(name)
            )
            self._run(head.as_string() + definition)
        for definition in self._described.get("engine_indexes", ()):
            self._run(definition)
        for name, value in self._described["sequences"]:
            self._conn.execute(_SQL["set_sequence"], {"name": name, "value": value})
        self._conn.commit()
        self._conn.close()

    def abandon(self) -> None:
        """Leave the database as it was."""
        self._conn.close()

    def _run(self, statement: str) -> None:
        self._conn.execute(statement.encode())


def _tables(conn: psycopg.Connection[Any], schemas: list[str]) -> tuple[Table, ...]:
    """Return the tables, those that others refer to first."""
    asked = {"schemas": schemas}
    rows = conn.execute(_SQL["tables"], asked).fetchall()
    found = {(schema, name): Table(schema, name, tuple(columns)) for schema, name, columns in rows}
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {table: set() for table in found}
    for schema, name, other_schema, other in conn.execute(_SQL["references"], asked).fetchall():
        if (schema, name) in needs and (other_schema, other) in needs and (schema, name) != (other_schema, other):
            needs[schema, name].add((other_schema, other))
    ordered: list[Table] = []
    while needs:
        free = sorted(table for table, wanted in needs.items() if not wanted & needs.keys())
        if not free:
            raise CannotRestore("tables refer to each other in a circle.")
        for table in free:
            ordered.append(found[table])
            del needs[table]
    return tuple(ordered)


def _identifier(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, table.columns))
