"""How readers' connections end that nobody meant to end: too large a frame, PostgreSQL away, a killed reader."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from wsproto.events import TextMessage

from bridge.api import sockets
from bridge.api.sockets import WINDOW_EVENTS
from bridge.api.upgrade import FRAME_MAX
from bridge.store.embedded import Embedded
from bridge.store.store import Store
from tests.support.api import API_KEY, eventually
from tests.support.bridge import bridge_on
from tests.support.dispatching import settled
from tests.support.hooks import text_event
from tests.support.reader import WAYS, Reader
from tests.support.sockets import listening, port_of

TOO_LARGE = 1009
OTHERS_END = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"


@asynccontextmanager
async def nobody_admitted(postgres: Embedded, database_url: str) -> AsyncIterator[None]:
    """End every connection to the test's database, and take no new one for the length of the block."""
    name = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admits = sql.SQL("alter database {} allow_connections {}")
        admin.execute(admits.format(sql.Identifier(str(name)), sql.Literal(False)))
        try:
            admin.execute(OTHERS_END, [name])
            yield
        finally:
            admin.execute(admits.format(sql.Identifier(str(name)), sql.Literal(True)))


async def test_a_frame_that_is_too_large_ends_the_connection_with_1009(store: Store) -> None:
    async with bridge_on(store) as bridge:
        async with listening(bridge) as client:
            await client.send(TextMessage("x" * FRAME_MAX))
            assert (await client.closed())[0] == 1008, "one of exactly the limit is read"
        async with listening(bridge) as client:
            await client.send(TextMessage("x" * (FRAME_MAX + 1)))
            assert (await client.closed())[0] == TOO_LARGE
        async with listening(bridge) as client:  # in parts as well
            for last in (False, True):
                await client.send(TextMessage("x" * (FRAME_MAX // 2 + 1), message_finished=last))
            assert (await client.closed())[0] == TOO_LARGE


async def test_a_reader_is_told_when_postgresql_is_away_and_goes_on_afterwards(
    store: Store, postgres: Embedded, database_url: str
) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(text_event("1"), text_event("2"))
        async with listening(bridge, "?consumer=crm") as client, listening(bridge, "?after=latest") as other:
            found = await client.chats(2)
            await client.ack(found[0][0])
            await settled(store, "select position from bridge.consumer", [(found[0][0],)])
            async with nobody_admitted(postgres, database_url):
                await client.ack(found[1][0])  # cannot be stored
                assert await client.closed() == sockets.STORE_AWAY
                store.feed.wake()  # as after a commit: what it was cannot be read
                assert await other.closed() == sockets.STORE_AWAY
            await store.ready(20)
        async with listening(bridge, "?consumer=crm") as client:
            assert await client.chats(1) == found[1:]


@pytest.mark.parametrize("way", WAYS)
async def test_a_killed_reader_goes_on_from_its_cursor_and_misses_nothing(
    store: Store, tmp_path: Path, way: str
) -> None:
    async with bridge_on(store) as bridge:
        reader = Reader(way, port_of(bridge), API_KEY, tmp_path / "read")
        reader.start()
        try:
            stored = []
            for round_ in range(1, 4):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(until_read, reader, len(stored) + 5)
                    for _ in range(10):
                        stored += await bridge.instance.append(*(text_event() for _ in range(10)))
                reader.kill()  # somewhere in the hundred
                await eventually(lambda: bridge.server.connections <= 1)  # the test's own client may keep one
                if round_ < 3:
                    reader.start()
            reader.start()
            await until_read(reader, len(stored))
        finally:
            reader.kill()
    ids = [id for id, _ in reader.read()]
    assert list(dict.fromkeys(ids)) == [event.id for event in stored]
    again = len(ids) - len(set(ids))
    assert again <= (3 * WINDOW_EVENTS if way == "socket" else 0)


async def until_read(reader: Reader, count: int) -> None:
    await eventually(lambda: len({id for id, _ in reader.read()}) >= count)
