"""The pool: bounded, whole after every error, honest about a database that is away."""

import psycopg
import pytest
import trio

from bridge.store.errors import PoolTimeout, StoreUnavailable
from bridge.store.pool import Pool
from bridge.store.trio_psycopg import TrioConnection


@pytest.fixture
def pool(empty_database_url):
    return Pool(empty_database_url, size=2)


async def terminate(url: str, pid: int) -> None:
    async with await TrioConnection.connect(url, autocommit=True) as admin:
        await admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))


async def test_a_caller_that_gets_no_connection_in_time_is_told_so(empty_database_url):
    pool = Pool(empty_database_url, size=1)
    async with pool.connection():
        with pytest.raises(PoolTimeout):
            async with pool.connection(timeout_s=0.05):
                pass
    assert (pool.stats.in_use, pool.stats.idle, pool.stats.timeouts) == (0, 1, 1)
    pool.close()


async def test_the_connection_used_last_is_lent_first(pool):
    async with pool.connection() as older, pool.connection() as newer:
        pass
    async with pool.connection() as conn:
        assert conn is older
    assert newer.clean
    pool.close()


async def test_connections_that_nobody_needs_any_more_are_closed(empty_database_url):
    pool = Pool(empty_database_url, size=3, idle_max_s=0)
    async with pool.connection(), pool.connection(), pool.connection():
        pass
    assert pool.stats.idle <= 1
    async with pool.connection() as conn:
        await conn.execute("select 1")
    assert pool.stats.idle <= 1
    pool.close()


async def test_every_session_has_its_limits(pool):
    async with pool.connection() as conn:
        for name, value in (
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("TimeZone", "UTC"),
        ):
            assert await (await conn.execute("select current_setting(%s)", (name,))).fetchone() == (value,)
    pool.close()


async def test_the_url_may_set_other_limits(empty_database_url):
    pool = Pool(empty_database_url + "&options=-c%20statement_timeout%3D100&application_name=mine")
    async with pool.connection() as conn:
        row = await (await conn.execute("show application_name")).fetchone()
    assert row == ("mine",)
    with trio.fail_after(2), pytest.raises(StoreUnavailable):
        async with pool.connection() as conn:
            await conn.execute("select pg_sleep(5)")
    pool.close()


async def test_an_error_rolls_back_and_the_connection_comes_back_clean(pool):
    async with pool.connection() as conn:
        await conn.execute("create table t (x int)")
    with pytest.raises(RuntimeError):
        async with pool.transaction() as conn:
            await conn.execute("insert into t values (1)")
            raise RuntimeError
    async with pool.connection() as conn:
        assert await (await conn.execute("select count(*) from t")).fetchone() == (0,)
    assert pool.stats.opened == 1
    pool.close()


async def test_a_transaction_left_open_by_hand_is_rolled_back(pool):
    async with pool.connection() as conn:
        await conn.execute("begin")
    async with pool.connection() as again:
        assert again is conn
        assert again.clean
    pool.close()


async def test_an_error_of_the_data_passes_as_it_is(pool):
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pool.connection() as conn:
            await conn.execute("select 1 / 0")
    assert pool.stats.idle == 1
    pool.close()


async def test_a_connection_that_the_server_closed_while_idle_is_replaced(empty_database_url):
    pool = Pool(empty_database_url, size=2, check_after_s=0)
    async with pool.connection() as conn:
        pid = conn.info.backend_pid
    await terminate(empty_database_url, pid)
    await trio.lowlevel.wait_readable(conn.pgconn.socket)
    async with pool.connection() as conn:
        assert conn.info.backend_pid != pid
        await conn.execute("select 1")
    pool.close()


async def test_a_connection_that_breaks_in_use_is_thrown_away(pool, empty_database_url):
    with pytest.raises(StoreUnavailable):
        async with pool.connection() as conn:
            await terminate(empty_database_url, conn.info.backend_pid)
            await conn.execute("select 1")
    assert (pool.stats.in_use, pool.stats.idle, pool.stats.discarded) == (0, 0, 1)
    pool.close()


async def test_a_database_that_is_not_there_is_unavailable():
    pool = Pool("postgresql://nobody@127.0.0.1:1/x")
    with pytest.raises(StoreUnavailable) as caught:
        async with pool.connection():
            pass
    assert caught.value.retryable
    assert pool.stats.in_use == 0


async def test_a_closed_pool_lends_nothing_until_it_is_opened(pool):
    async with pool.connection():
        pool.close()
        with pytest.raises(StoreUnavailable):
            async with pool.connection():
                pass
    assert pool.stats.idle == 0
    pool.open()
    async with pool.connection() as conn:
        await conn.execute("select 1")
    pool.close()


async def test_work_in_a_cancelled_scope_neither_runs_nor_leaks(pool):
    with trio.CancelScope() as scope:
        scope.cancel()
        async with pool.connection() as conn:
            await conn.execute("select 1")
    assert scope.cancelled_caught
    assert pool.stats.in_use == 0
    pool.close()
