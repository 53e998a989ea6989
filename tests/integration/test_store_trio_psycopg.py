"""psycopg on Trio: cancellation, transactions, pipelines, COPY. Guards the private names that `TrioConnection` uses."""

import random
import time
from collections.abc import AsyncIterator
from functools import partial

import psycopg
import pytest
import trio
import trio.testing
from psycopg import pq
from psycopg.rows import dict_row

from bridge.store.pool import Pool
from bridge.store.trio_psycopg import TrioConnection

IDLE = pq.TransactionStatus.IDLE


@pytest.fixture
async def conn(empty_database_url: str) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.connect(empty_database_url, autocommit=True)
    yield connection
    await connection.close()


async def scalar(conn: TrioConnection, query: str, *params: object) -> object:
    row = await (await conn.execute(query, params or None)).fetchone()
    return row[0]


async def test_values_go_in_and_out_as_python_values(empty_database_url):
    async with await TrioConnection.connect(empty_database_url, row_factory=dict_row) as conn:
        cursor = await conn.execute("select %s::jsonb as j, now() as t, array[1, 2] as a", ('{"x": 1}',))
        row = await cursor.fetchone()
    assert row["j"] == {"x": 1}
    assert row["a"] == [1, 2]
    assert row["t"].tzinfo is not None


async def test_a_cancelled_query_ends_within_600_ms_and_its_connection_is_usable(conn):
    began = time.perf_counter()
    with trio.move_on_after(0.1) as scope:
        await conn.execute("select pg_sleep(10)")
    assert scope.cancelled_caught
    assert time.perf_counter() - began < 0.6
    assert conn.clean
    assert await scalar(conn, "select 1") == 1


async def test_a_cancelled_transaction_is_rolled_back(conn):
    await conn.execute("create temp table t (x int)")
    for wait in (partial(conn.execute, "select pg_sleep(10)"), trio.sleep_forever):
        with trio.move_on_after(0.1):
            async with conn.transaction():
                await conn.execute("insert into t values (1)")
                await wait()
        assert conn.clean
    assert await scalar(conn, "select count(*) from t") == 0


async def test_an_inner_transaction_is_rolled_back_alone(conn):
    await conn.execute("create temp table t (x int)")
    async with conn.transaction():
        await conn.execute("insert into t values (1)")
        with pytest.raises(ValueError):
            async with conn.transaction():
                await conn.execute("insert into t values (2)")
                raise ValueError
    assert await scalar(conn, "select array_agg(x) from t") == [1]


async def test_a_commit_that_began_is_finished_although_its_task_is_cancelled(conn, empty_database_url):
    await conn.execute("create table t (x int)")
    with trio.CancelScope() as scope:
        async with conn.transaction():
            await conn.execute("insert into t values (1)")
            scope.cancel()
    assert await scalar(conn, "select count(*) from t") == 1


async def test_a_slow_commit_is_not_broken_off_by_a_cancellation(conn):
    await conn.execute("create table t (x int)")
    await conn.execute(
        "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.2); return null; end'"
    )
    await conn.execute(
        "create constraint trigger slow after insert on t deferrable initially deferred"
        " for each row execute function slow()"
    )
    with trio.CancelScope() as scope:
        async with conn.transaction():
            await conn.execute("insert into t values (1)")
            scope.cancel()
    assert await scalar(conn, "select count(*) from t") == 1


async def test_a_transaction_in_a_cancelled_scope_leaves_its_connection_usable(conn):
    with trio.CancelScope() as scope:
        scope.cancel()
        async with conn.transaction():
            pass
    assert scope.cancelled_caught
    assert conn.clean


async def test_a_storm_of_cancelled_transactions_leaves_nothing_half_done(empty_database_url):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    pool = Pool(empty_database_url, size=8)
    async with pool.connection() as conn:
        await conn.execute("create table storm (victim int)")

    async def victim(number: int, after_s: float) -> None:
        with trio.move_on_after(after_s):
            async with pool.transaction() as conn:
                await conn.execute("insert into storm values (%s)", (number,))
                await conn.execute("select pg_sleep(0.002)")
                await conn.execute("insert into storm values (%s)", (number,))

    async with trio.open_nursery() as nursery:
        for number in range(400):
            nursery.start_soon(victim, number, rng.random() * 0.8)

    assert pool.stats.in_use == pool.stats.waiting == 0
    async with pool.connection() as conn:
        half_done = await (await conn.execute("select victim from storm group by 1 having count(*) <> 2")).fetchall()
        stuck = await scalar(
            conn,
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in trans%%'",
        )
        committed = await scalar(conn, "select count(distinct victim) from storm")
    assert half_done == []
    assert stuck == 0
    assert 0 < committed < 400
    pool.close()


async def test_a_pipeline_answers_several_queries_at_once(conn):
    async with conn.pipeline() as pipeline:
        first, second = await conn.execute("select 1"), await conn.execute("select 2")
        await pipeline.sync()
        assert await first.fetchone() == (1,)
        assert await second.fetchone() == (2,)
    async with conn.cursor() as cursor:
        await cursor.execute("create temp table t (x int)")
        await cursor.executemany("insert into t values (%s)", [(x,) for x in range(1000)])
    assert await scalar(conn, "select count(*) from t") == 1000
    assert conn.clean


async def test_a_transaction_within_a_pipeline_is_committed(conn):
    await conn.execute("create temp table t (x int)")
    async with conn.pipeline(), conn.transaction():
        await conn.execute("insert into t values (1)")
        await conn.execute("insert into t values (2)")
    assert await scalar(conn, "select count(*) from t") == 2


async def test_a_cancelled_pipeline_leaves_its_connection_usable(conn):
    with trio.move_on_after(0.1) as scope:
        async with conn.pipeline() as pipeline:
            await conn.execute("select pg_sleep(10)")
            await pipeline.sync()
    assert scope.cancelled_caught
    assert conn.clean
    assert await scalar(conn, "select 1") == 1


async def test_a_pipeline_whose_body_is_complete_is_carried_out_although_it_is_cancelled(conn):
    await conn.execute("create table t (x int)")
    with trio.CancelScope() as scope:
        async with conn.pipeline():
            await conn.execute("insert into t select 1 from pg_sleep(0.2)")
            scope.cancel()
    assert conn.clean
    assert await scalar(conn, "select count(*) from t") == 1


async def test_a_pipeline_that_is_cancelled_while_it_waits_for_something_else_ends_at_once(conn):
    with trio.fail_after(2), trio.move_on_after(0.1):
        async with conn.pipeline():
            await conn.execute("select pg_sleep(10)")
            await trio.sleep_forever()
    assert conn.clean


async def test_copy_streams_both_ways(conn):
    await conn.execute("create temp table t (x int, y text)")
    async with conn.cursor() as cursor:
        async with cursor.copy("copy t from stdin") as copy:
            for x in range(20_000):
                await copy.write_row((x, "y" * 20))
        async with cursor.copy("copy t to stdout") as copy:
            assert len([row async for row in copy.rows()]) == 20_000


async def test_a_long_copy_lets_other_tasks_run(conn):
    await conn.execute("create temp table t (x int, y text)")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        async with conn.cursor() as cursor, cursor.copy("copy t from stdin") as copy:
            for x in range(50_000):
                await copy.write_row((x, "y" * 20))
        before_the_end = turns
        nursery.cancel_scope.cancel()
    assert before_the_end > 5


async def test_big_values_go_both_ways(conn):
    assert len(await scalar(conn, "select repeat('x', 10000000)")) == 10_000_000
    assert await scalar(conn, "select length(%s)", "z" * 10_000_000) == 10_000_000


async def test_tasks_that_share_a_connection_take_turns(conn):
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(conn.execute, "select pg_sleep(0.002)")
    assert conn.clean


async def test_aborting_wakes_whoever_waits_for_the_connection(conn):
    began = trio.Event()

    async def query() -> None:
        with pytest.raises(psycopg.OperationalError):
            began.set()
            await conn.execute("select pg_sleep(10)")

    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(query)
            await began.wait()
            await trio.testing.wait_all_tasks_blocked()
            conn.abort()


async def test_a_server_that_stops_answering_costs_the_connection_not_the_task(conn):
    conn.answer_timeout_s = 0.2
    with trio.fail_after(2), pytest.raises(psycopg.OperationalError, match="no answer"):
        await conn.execute("select pg_sleep(10)")
    assert conn.closed


async def test_a_refused_connection_is_an_operational_error():
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(psycopg.OperationalError):
            await TrioConnection.connect(f"host={host} port=1 user=x")


async def test_connecting_to_a_silent_peer_can_be_cancelled():
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = silent[0].socket.getsockname()[1]
    with trio.fail_after(1), trio.move_on_after(0.1) as scope:
        await TrioConnection.connect(f"host=127.0.0.1 port={port} user=x")
    assert scope.cancelled_caught
    await silent[0].aclose()


async def test_notifications_that_nobody_finishes_reading_leave_the_connection_usable(conn):
    await conn.execute("listen channel")
    await conn.execute("notify channel")
    reader = conn.notifies(stop_after=5, timeout=2)
    assert (await anext(reader)).channel == "channel"
    await reader.aclose()
    assert await scalar(conn, "select 1") == 1
