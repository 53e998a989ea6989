"""The store as a supervised child: hints, health, and a database that goes away and comes back."""

from functools import partial

import psycopg
import psycopg.conninfo
import pytest
import trio
from psycopg import sql

from bridge.ids import new_instance_key
from bridge.store.errors import StoreUnavailable
from bridge.store.store import Store


def terminate_all(url: str) -> None:
    """End every other session of the database, as a restart of PostgreSQL would."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


async def test_a_hint_reaches_subscribers_of_its_channel_on_every_node(store, database_url):
    other, stop = Store(database_url), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(other.run, stop=stop))
        with store.subscribe("a") as here, other.subscribe("a") as there, store.subscribe("b") as elsewhere:
            store.hint("a")
            with trio.fail_after(2):
                await here.receive()
                await there.receive()
            with pytest.raises(trio.WouldBlock):
                elsewhere.receive_nowait()
        stop.set()


async def test_a_thousand_hints_become_a_few_notifications(store, database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("listen bridge_hint")
        with store.subscribe("end") as end:
            for _ in range(1000):
                store.hint("a")
                await trio.lowlevel.checkpoint()
            store.hint("end")
            with trio.fail_after(2):
                await end.receive()
        received = 0
        for notification in conn.notifies(timeout=2):
            if notification.payload == "end":
                break
            received += 1
        else:
            pytest.fail("the last hint did not come")
    assert 1 <= received <= 3


async def test_a_subscriber_that_went_away_is_forgotten(store):
    store.subscribe("a").close()
    with store.subscribe("a") as hints:
        for _ in range(2):
            store.hint("a")
            with trio.fail_after(2):
                await hints.receive()
    assert len(store._hints._subscribers["a"]) == 1


async def test_after_a_lost_connection_everybody_is_told_to_look_again(store, database_url):
    with store.subscribe("a") as hints:
        await trio.to_thread.run_sync(terminate_all, database_url)
        with trio.fail_after(5):
            await hints.receive()
            store.hint("a")
            await hints.receive()


def admit(url: str, *, anybody: bool) -> None:
    """Let sessions of the database begin, or end those that there are and let none begin."""
    with psycopg.connect(url, dbname="postgres", autocommit=True) as admin:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        admin.execute(sql.SQL("alter database {} allow_connections {}").format(sql.Identifier(name), anybody))
        if not anybody:
            admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [name])


async def test_health_follows_the_database(store, database_url):
    assert store.healthy
    await store.ready(0)
    await trio.to_thread.run_sync(partial(admit, database_url, anybody=False))
    assert await store.until(False, 5)
    with pytest.raises(StoreUnavailable):
        await store.ready(0)
    await trio.to_thread.run_sync(partial(admit, database_url, anybody=True))
    assert await store.until(True, 20)
    row = await store.instances.create(new_instance_key(), None, None, {})
    assert await store.instances.get(row.key) == row


async def test_a_store_can_be_run_again_after_it_was_stopped(database_url):
    store = Store(database_url)
    for _ in range(2):
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(store.run, stop=stop))
            assert await store.keys.count() == 0
            stop.set()
        assert not store.healthy
        assert store.pool.stats.idle == 0
        with pytest.raises(StoreUnavailable):
            await store.keys.count()


async def test_a_database_that_never_answers_stops_the_start(autojump_clock):
    store = Store("postgresql://nobody@127.0.0.1:1/x")
    with pytest.raises(StoreUnavailable):
        await store.run(stop=trio.Event())
