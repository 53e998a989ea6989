"""What the product asks of PostgreSQL while nothing happens, counted by PostgreSQL itself."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from bridge.engine.urls import APPLICATION
from bridge.store import embedded
from bridge.store.embedded import Embedded
from tests.support.stack import running_stack, until

pytestmark = pytest.mark.engine

WINDOW_S = 10.0
QUERIES_MAX = 5.0
"""Per second."""
STATISTICS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}
CALLS = """
select sum(calls)::int, regexp_replace(query, '\\s+', ' ', 'g') from pg_stat_statements
where dbid <> (select oid from pg_database where datname = current_database()) group by 2 order by 1 desc
"""


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Embedded]:
    """Return a PostgreSQL that counts statements."""
    running = embedded.start(tmp_path / "postgres", settings=STATISTICS)
    try:
        yield running
    finally:
        embedded.stop(running)


async def engine_is_gone(conn: "psycopg.Connection[tuple[object, ...]]") -> bool:
    await trio.lowlevel.checkpoint()
    found = conn.execute("select 1 from pg_stat_activity where application_name = %s", [APPLICATION]).fetchone()
    return found is None


async def test_an_idle_system_makes_fewer_than_five_queries_a_second(
    tmp_path: Path, counting: Embedded, measured: Callable[[str], None]
) -> None:
    """Bridge, receiver and a session that is online. The window is what is measured, so it is waited for."""
    url = counting.database("product")
    async with running_stack(tmp_path / "data", BRIDGE_DATABASE_URL=url, BRIDGE_ENGINE_IDLE_S="1") as stack:
        await stack.pair("491510000200")
        with psycopg.connect(counting.database("watcher"), autocommit=True) as watcher:
            watcher.execute("create extension pg_stat_statements")
            await until(partial(engine_is_gone, watcher))
            watcher.execute("select pg_stat_statements_reset()")
            began = time.monotonic()
            await trio.sleep(WINDOW_S)
            calls, took = watcher.execute(CALLS).fetchall(), time.monotonic() - began
            total = sum(count for count, _ in calls)
            measured(f"an idle system: {total / took:.1f} queries/s: {[(n, text[:60]) for n, text in calls[:8]]}")
            assert total > WINDOW_S / 2, "nothing was counted"
            assert total / took < QUERIES_MAX, calls
