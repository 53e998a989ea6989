"""`TrioConnection.call`: prepared once, psycopg's values and errors, whole after errors, cancellations and changes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest
import trio
from psycopg.types.json import Jsonb

from bridge.store.errors import StoreUnavailable
from bridge.store.pool import Pool
from bridge.store.prepared import Statement
from bridge.store.trio_psycopg import TrioConnection

ONE = Statement("select 1")
SLEEP = Statement("select pg_sleep(10)")
INSERT = Statement("insert into t (x) values (%(x)s) returning x")
PREPARED = "select count(*) from pg_prepared_statements where name like 'call_%'"


@pytest.fixture
async def conn(empty_database_url: str) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.connect(empty_database_url, autocommit=True)
    await connection.execute("create table t (x int primary key)")
    yield connection
    await connection.close()


async def scalar(conn: TrioConnection, query: str) -> object:
    return (await (await conn.execute(query)).fetchone())[0]


async def test_values_go_in_and_out_as_they_do_with_a_cursor(conn):
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    values = {
        "number": 1 << 40,
        "text": "\\x27 ' \u20ac",
        "raw": bytes(range(256)),
        "yes": True,
        "nothing": None,
        "at": at,
        "json": Jsonb({"a": [1, None]}),
        "list": ["a,b", '"', None],
    }
    query = (
        "select %(number)s::bigint, %(text)s::text, %(raw)s::bytea, %(yes)s::boolean, %(nothing)s::text,"
        " %(at)s::timestamptz, %(json)s::jsonb, %(list)s::text[], %(number)s::bigint %% 7"
    )
    called = await conn.call(Statement(query), values)
    assert called == [(1 << 40, values["text"], values["raw"], True, None, at, {"a": [1, None]}, values["list"], 2)]
    assert called == await (await conn.execute(query, values)).fetchall()


async def test_a_statement_without_rows_returns_none(conn):
    assert await conn.call(Statement("delete from t where x = %(x)s"), {"x": 1}) == []
    assert await conn.call(Statement("select x from t"), {}) == []


async def test_a_connection_prepares_a_statement_once(conn):
    for x in range(20):
        assert await conn.call(INSERT, {"x": x}) == [(x,)]
    assert await scalar(conn, PREPARED) == 1


async def test_an_error_is_the_one_that_psycopg_has_for_it_and_the_connection_stays(conn):
    await conn.call(INSERT, {"x": 1})
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        await conn.call(INSERT, {"x": 1})
    assert caught.value.diag.constraint_name == "t_pkey"
    with pytest.raises(psycopg.errors.UndefinedTable):
        await conn.call(Statement("select * from nowhere"), {})
    with pytest.raises(psycopg.DataError):
        await conn.call(Statement("select %(text)s::text"), {"text": "\0"})
    assert conn.clean
    assert await conn.call(INSERT, {"x": 2}) == [(2,)]


async def test_a_cancelled_call_is_stopped_on_the_server_and_its_connection_is_usable(conn):
    for _ in range(2):  # while it is prepared for the first time, and later
        with trio.fail_after(2), trio.move_on_after(0.1) as scope:
            await conn.call(SLEEP, {})
        assert scope.cancelled_caught
        assert conn.clean
        assert await conn.call(ONE, {}) == [(1,)]


async def test_a_server_that_does_not_answer_a_call_costs_the_connection_not_the_task(conn):
    conn.answer_timeout_s = 0.2
    with trio.fail_after(2), pytest.raises(psycopg.OperationalError, match="no answer"):
        await conn.call(SLEEP, {})
    assert conn.closed
    with pytest.raises(psycopg.OperationalError):
        await conn.call(ONE, {})


async def test_a_table_with_other_columns_is_prepared_anew(conn):
    every = Statement("select * from t")
    await conn.call(INSERT, {"x": 1})
    assert await conn.call(every, {}) == [(1,)]
    await conn.execute("alter table t add column y int default 2")
    assert await conn.call(every, {}) == [(1, 2)]
    async with conn.transaction():
        assert await conn.call(every, {}) == [(1, 2)]


async def test_within_a_transaction_an_outdated_statement_is_an_error_once(conn):
    every = Statement("select * from t")
    await conn.call(every, {})
    await conn.execute("alter table t add column y int default 2")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        async with conn.transaction():
            await conn.call(every, {})
    assert await conn.call(every, {}) == []


async def test_a_statement_that_somebody_deallocated_is_prepared_anew(conn):
    await conn.call(ONE, {})
    await conn.execute("deallocate all")
    assert await conn.call(ONE, {}) == [(1,)]


async def test_what_psycopg_lets_go_after_a_rollback_is_prepared_anew_even_within_a_transaction(conn):
    await conn.call(ONE, {})
    await conn.execute("select 2", prepare=True)
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            raise ZeroDivisionError
    await conn.execute("drop table if exists nowhere")
    assert await scalar(conn, PREPARED) == 0
    async with conn.transaction():
        assert await conn.call(ONE, {}) == [(1,)]


async def test_calls_belong_to_their_transaction(conn):
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await conn.call(INSERT, {"x": 1})
            raise ZeroDivisionError
    assert await scalar(conn, "select count(*) from t") == 0


async def test_calls_that_share_a_connection_take_turns(conn):
    async with trio.open_nursery() as nursery:
        for x in range(10):
            nursery.start_soon(conn.call, INSERT, {"x": x})
    assert await scalar(conn, "select count(*) from t") == 10


async def test_a_call_is_refused_where_it_would_not_mean_what_it_says(conn, empty_database_url):
    async with await TrioConnection.connect(empty_database_url) as in_transaction:
        with pytest.raises(psycopg.NotSupportedError):
            await in_transaction.call(ONE, {})
    async with conn.pipeline():
        with pytest.raises(psycopg.NotSupportedError):
            await conn.call(ONE, {})


async def test_big_values_go_both_ways(conn):
    with trio.fail_after(20):
        [(there_and_back,)] = await conn.call(Statement("select %(text)s::text"), {"text": "z" * 10_000_000})
    assert len(there_and_back) == 10_000_000


async def test_a_connection_that_the_server_ends_is_replaced_with_its_statements(empty_database_url):
    pool = Pool(empty_database_url, size=1)
    async with pool.connection() as conn:
        await conn.call(ONE, {})
        pid = conn.pgconn.backend_pid
    async with await TrioConnection.connect(empty_database_url, autocommit=True) as admin:
        await admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(StoreUnavailable):
        async with pool.connection() as conn:
            await conn.call(ONE, {})
    async with pool.connection() as conn:
        assert conn.pgconn.backend_pid != pid
        assert await conn.call(ONE, {}) == [(1,)]
    pool.close()
