"""What PostgreSQL executes for a text, by statement, from its own statistics (pg_stat_statements)."""

from dataclasses import dataclass

import psycopg

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "pg_stat_statements.track_utility": "on",
}
"""What PostgreSQL must be started with."""
_SHOWN = 110
_TOP = """
select calls, total_exec_time * 1000, total_plan_time * 1000, wal_bytes, regexp_replace(query, '\\s+', ' ', 'g')
from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time + total_plan_time desc
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What one statement cost per text."""

    calls: float
    us: float
    """Of executing it, in microseconds, without its start, its end and its commit."""
    planning_us: float
    wal_bytes: float
    text: str

    def __str__(self) -> str:
        costs = f"{self.us:7.0f} + {self.planning_us:4.0f} µs {self.calls:5.2f} calls {self.wal_bytes:6.0f} B of log"
        return f"{costs}  {self.text[:_SHOWN]}"


def prepare(database: psycopg.Connection) -> None:
    """Make the statistics readable."""
    database.execute("create extension if not exists pg_stat_statements")


def reset(database: psycopg.Connection) -> None:
    """Count from now on."""
    database.execute("select pg_stat_statements_reset()")


def read(database: psycopg.Connection, texts: int) -> list[Statement]:
    """Return all statements since the last reset, the costliest first, per text."""
    rows = database.execute(_TOP).fetchall()
    return [
        Statement(calls / texts, us / texts, planning_us / texts, float(wal) / texts, query)
        for calls, us, planning_us, wal, query in rows
    ]
