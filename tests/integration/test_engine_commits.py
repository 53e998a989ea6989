"""What the engine's own commits are relied on for, and which are spared: with the real neonize and PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from bridge.engine.session import Session
from bridge.ids import new_command_id
from bridge.store.store import Store
from tests.chaos.postgres import crashing_postgres
from tests.support.engine import SOON_S, Number, Rig, running_rig, text

pytestmark = pytest.mark.engine

CONTACT = "4915100000099"
NEVER = {"wal_writer_delay": "10s"}
"""Nobody writes the log but who commits: what is not flushed by a commit stays so."""


@asynccontextmanager
async def running_store(url: str) -> AsyncIterator[Store]:
    store, stop = Store(url), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(store.run, stop=stop))
        yield store
        stop.set()


async def send(rig: Rig, session: Session, words: str) -> None:
    """Send a text and return when the contact has it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.send, f"{CONTACT}@s.whatsapp.net", text(words), SOON_S)
        with trio.fail_after(SOON_S):
            await until_arrived(rig, words)
        nursery.cancel_scope.cancel()


async def until_arrived(rig: Rig, words: str) -> None:
    after = 0
    while True:
        for message in await rig.phones.messages(CONTACT, after, wait_s=5):
            after = message.cursor
            if message.text == words:
                return


async def command(store: Store, number: Number, *, durable: bool) -> str:
    row = await store.commands.insert(
        new_command_id(),
        number.key,
        kind="text",
        body={"to": f"{CONTACT}@s.whatsapp.net", "text": "x"},
        state="running",
        durable=durable,
    )
    return row.id


def flushed(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute("select pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()").fetchone()
    return bool(row and row[0])


async def test_a_message_leaves_only_when_its_command_survives_a_crash_of_postgresql(tmp_path: Path) -> None:
    async with crashing_postgres(tmp_path / "postgres", NEVER) as postgres:
        async with running_store(postgres.url) as store, running_rig(postgres.url, tmp_path) as rig:
            await rig.phones.create_phone(CONTACT)
            ada = await rig.pair()
            await store.instances.create(ada.key, None, None, {})
            session = await rig.online(ada)
            await send(rig, session, "opens the session")

            await command(store, ada, durable=True)
            assert flushed(postgres.url)
            id = await command(store, ada, durable=False)
            assert not flushed(postgres.url), "its commit does not wait for the disk"
            await rig.phones.fault("ack_missing", ada.phone.phone, SOON_S)
            await send(rig, session, "with a command that was not flushed")
            await postgres.crash()
        with psycopg.connect(postgres.url) as conn:
            assert conn.execute("select state from bridge.command where id = %s", [id]).fetchone() == ("running",)


async def test_an_identity_that_is_known_is_not_stored_again(database_url: str, tmp_path: Path) -> None:
    async with running_store(database_url) as store, running_rig(database_url, tmp_path) as rig:
        await rig.phones.create_phone(CONTACT)
        ada = await rig.pair()
        await store.instances.tune_engine_tables()
        await store.instances.tune_engine_tables()  # twice changes nothing
        session = await rig.online(ada)
        await send(rig, session, "one")
        with psycopg.connect(database_url, autocommit=True) as conn:
            where = "select their_id, xmin::text from whatsapp.whatsmeow_identity_keys order by 1"
            before = conn.execute(where).fetchall()
            await send(rig, session, "two")
            assert conn.execute(where).fetchall() == before
            assert len(before) > 0
            again = conn.execute(STORE_IDENTITY, {"identity": bytes(32)}).rowcount
            assert (again, conn.execute(where).fetchall() != before) == (len(before), True), "another one is stored"


STORE_IDENTITY = """
insert into whatsapp.whatsmeow_identity_keys (our_jid, their_id, identity)
select our_jid, their_id, %(identity)s from whatsapp.whatsmeow_identity_keys
on conflict (our_jid, their_id) do update set identity = excluded.identity
"""
"""As the engine does it."""
