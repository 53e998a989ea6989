"""Migrations: each once, all or nothing, never backwards."""

import psycopg
import pytest
import trio

from bridge.store.errors import MigrationError
from bridge.store.migrate import Migration, migrate, migrations
from bridge.store.trio_psycopg import TrioConnection

ONE = Migration(1, "0001_one.sql", "create table public.one (x int)")
TWO = Migration(2, "0002_two.sql", "create table public.two (x int)")


@pytest.fixture
async def conn(empty_database_url):
    connection = await TrioConnection.connect(empty_database_url, autocommit=True)
    yield connection
    await connection.close()


async def exists(conn, table):
    return (await (await conn.execute("select to_regclass(%s) is not null", (table,))).fetchone())[0]


async def test_our_migrations_apply_to_an_empty_database_and_only_once(conn):
    assert await migrate(conn) == [migration.name for migration in migrations()]
    assert await migrate(conn) == []
    assert await exists(conn, "bridge.instance")


async def test_only_what_is_new_is_applied(conn):
    assert await migrate(conn, [ONE]) == ["0001_one.sql"]
    assert await migrate(conn, [ONE, TWO]) == ["0002_two.sql"]


async def test_a_migration_that_fails_leaves_nothing_behind(conn):
    broken = Migration(2, "0002_two.sql", "create table public.two (x int); select 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(conn, [ONE, broken])
    assert await exists(conn, "public.one")
    assert not await exists(conn, "public.two")
    assert await migrate(conn, [ONE, TWO]) == ["0002_two.sql"]


async def test_a_newer_database_is_refused(conn):
    await migrate(conn, [ONE, TWO])
    with pytest.raises(MigrationError, match="version 2"):
        await migrate(conn, [ONE])


async def test_a_file_that_was_changed_after_it_was_applied_is_refused(conn):
    await migrate(conn, [ONE])
    with pytest.raises(MigrationError, match=r"0001_one\.sql was changed"):
        await migrate(conn, [Migration(1, ONE.name, "create table public.uno (x int)")])


async def test_two_bridges_that_start_at_once_migrate_once(conn, empty_database_url):
    async with await TrioConnection.connect(empty_database_url, autocommit=True) as other:
        applied = []

        async def run(connection):
            applied.extend(await migrate(connection))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, conn)
            nursery.start_soon(run, other)
    assert sorted(applied) == [migration.name for migration in migrations()]
