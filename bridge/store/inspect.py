"""Looks at a database without changing it, for `bridge check`: its version, its schema, its clock."""

from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from bridge.store.errors import StoreUnavailable
from bridge.store.migrate import migrations, pending
from bridge.store.queries import load

_SQL = load("inspect")
CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What a database is like."""

    server_version: int
    """As PostgreSQL counts: 180001 is 18.1."""
    max_connections: int
    pending: tuple[str, ...]
    """Migrations that the next start applies; all of them in a database that is new."""
    clock_ahead_s: float
    """How far its clock is ahead of ours, give or take the time of a round trip."""


def look(dsn: str) -> Found:
    """Return what is found; raise `StoreUnavailable`, or `MigrationError` for a database of a newer program."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            before = datetime.now(UTC)
            row = conn.execute(_SQL["server"]).fetchone()
            after = datetime.now(UTC)
            known = conn.execute(_SQL["has_migrations"]).fetchone()
            applied: dict[int, str] = dict(conn.execute(_SQL["applied"]).fetchall()) if known is not None else {}
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip().splitlines()[-1]) from None
    assert row is not None
    waiting = pending(migrations(), applied)
    ahead_s = (row[2] - (before + (after - before) / 2)).total_seconds()
    return Found(int(row[0]), int(row[1]), tuple(migration.name for migration in waiting), ahead_s)
