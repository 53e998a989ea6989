"""Pacing with the real engine, store and sandbox: held, restored, taken back, refused; and what error 463 leads to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from bridge.domain.ids import InstanceKey, NodeId
from bridge.domain.pacing import Limits, Profile, Reason
from bridge.domain.sends import SendOptions
from bridge.ids import new_node_id
from bridge.instances.calls import NO_OPTIONS
from bridge.instances.directory import Directory
from bridge.instances.errors import NewChatsLimited, Paced
from bridge.instances.parts import Parts
from bridge.instances.refs import MessageRef
from bridge.sandbox.client import SandboxClient
from bridge.store.queries import load
from bridge.store.rows import InstanceRow
from bridge.store.store import Store
from tests.support.engine import Rig, running_rig
from tests.support.stack import until

pytestmark = pytest.mark.engine

HOUR = Limits(per_minute=1 / 60, burst=2, chat_gap_s=0, chat_jitter_s=0, new_chats=9)
ONE_NEW = Limits(per_minute=6000, burst=100, chat_gap_s=0, chat_jitter_s=0, new_chats=1)
TINY: Mapping[str, Profile | None] = {"off": None, "steady": ((0, HOUR),), "warm_up": ((0, ONE_NEW),)}
QUEUED = SendOptions(queued=True)


class World:
    """A directory that runs, with one number that is paired and online."""

    def __init__(self, store: Store, directory: Directory, phones: SandboxClient) -> None:
        self.store, self.directory, self.phones = store, directory, phones
        self.key = InstanceKey("")
        self.phone = ""

    async def pair(self, profile: str) -> None:
        row = await self.directory.create(None, None, {}, settings={"pacing_profile": profile})
        self.key = row.key
        await self.directory.connect(row.key, 10)
        qr = await self.directory.qr(row.key, 10)
        assert qr is not None
        self.phone = (await self.phones.create_phone()).phone
        await self.phones.scan(self.phone, qr.code)
        await self.online()

    async def row(self) -> InstanceRow:
        row = await self.store.instances.get(self.key)
        assert row is not None
        return row

    async def online(self) -> None:
        async def is_online() -> bool:
            return (await self.row()).state == "online" and self.directory.actors[self.key].online

        await until(is_online, 30)

    async def stranger(self) -> str:
        return (await self.phones.create_phone()).phone

    async def send(self, to: str, text: str, options: SendOptions = NO_OPTIONS) -> MessageRef:
        jid = f"{to}@s.whatsapp.net"
        return await self.directory.send(self.key, "text", jid, {"text": text}, request_hash=b"x", options=options)

    async def got(self, phone: str, *texts: str) -> None:
        async def arrived() -> bool:
            return [one.text for one in await self.phones.messages(phone)] == list(texts)

        await until(arrived, 20)

    async def outbox(self) -> list[str]:
        page = await self.store.commands.outbox(self.key, ["queued"], limit=100, cursor=None)
        return [str(row.body["text"]) for row in page.items]

    async def commands(self) -> int:
        async with self.store.pool.connection() as conn:
            row = await (await conn.execute("select count(*) from bridge.command", {})).fetchone()
        assert row is not None
        return int(row[0])


@asynccontextmanager
async def running(store: Store, rig: Rig, node: NodeId, **more: object) -> AsyncIterator[Directory]:
    directory = Directory(Parts(store, rig.pool, node, profiles=TINY, **more))  # type: ignore[arg-type]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(directory.run, stop=stop))
        yield directory
        stop.set()


@pytest.fixture
async def rig(database_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(database_url, tmp_path) as found:
        yield found


async def test_what_is_held_stays_in_its_row_over_a_restart_and_goes_when_the_limits_change(
    store: Store, rig: Rig
) -> None:
    async with running(store, rig, new_node_id()) as directory:
        world = World(store, directory, rig.phones)
        await world.pair("steady")
        friend, other = await world.stranger(), await world.stranger()
        await world.send(friend, "1")
        await world.send(friend, "2")
        before = await world.commands()
        with pytest.raises(Paced) as refused:
            await world.send(friend, "too many")
        assert refused.value.fields["reason"] == Reason.RATE
        assert float(str(refused.value.fields["retry_after_s"])) > 3_000
        assert await world.commands() == before
        first = await world.send(friend, "3", QUEUED)
        await world.send(other, "4", QUEUED)
        await world.send(friend, "5", QUEUED)
        turns = directory.holds(world.key)
        assert {turn.reason for turn in turns.values()} == {Reason.RATE}
        assert len(turns) == 3
    async with running(store, rig, new_node_id()) as directory:
        world.directory = directory
        await world.online()
        assert sorted(await world.outbox()) == ["3", "4", "5"]  # its order is that of milliseconds

        async def all_held() -> bool:
            return len(directory.holds(world.key)) == 3

        await until(all_held, 10)  # they are taken up when the instance is online
        with pytest.raises(Paced):  # what was sent before the restart counts
            await world.send(friend, "too many again")
        await directory.cancel(world.key, first.command_id)
        await directory.change(world.key, {"settings": {"pacing_profile": "off"}})
        await world.got(friend, "1", "2", "5")
        await world.got(other, "4")
        await world.send(friend, "at once")
        assert not directory.holds(world.key)


async def test_new_chats_beyond_the_budget_wait_until_they_write(store: Store, rig: Rig) -> None:
    async with running(store, rig, new_node_id()) as directory:
        world = World(store, directory, rig.phones)
        await world.pair("warm_up")
        first, second = await world.stranger(), await world.stranger()
        await world.send(first, "the one of today")
        with pytest.raises(Paced) as refused:
            await world.send(second, "no")
        assert refused.value.fields["reason"] == Reason.NEW_CHATS
        await world.send(second, "hello", QUEUED)
        await world.send(first, "again")
        assert [turn.reason for turn in directory.holds(world.key).values()] == [Reason.NEW_CHATS]
        await rig.phones.send(second, world.phone, "who are you?")
        await world.got(second, "hello")
        await world.send(second, "at once")


async def test_a_refused_new_chat_holds_the_others_is_remembered_and_overcome(store: Store, rig: Rig) -> None:
    async with running(store, rig, new_node_id()) as directory:
        world = World(store, directory, rig.phones)
        await world.pair("off")
        friend, first, second = await world.stranger(), await world.stranger(), await world.stranger()
        await rig.phones.send(friend, world.phone, "hi")

        async def heard() -> bool:
            return bool(await store.messages.chats(world.key))

        await until(heard, 20)
        await rig.phones.fault("reachout_locked", phone=world.phone)
        with pytest.raises(NewChatsLimited) as refused:
            await world.send(first, "hello")
        assert float(str(refused.value.fields["retry_after_s"])) > 800
        events = await store.events.after(world.key, 0)
        assert any('"code":"new_chats_limited"' in event.body for event in events)
        restriction = (await world.row()).restriction
        assert restriction is not None
        assert (restriction["kind"], restriction["strikes"]) == ("new_chats_limited", 1)
        before = await world.commands()
        with pytest.raises(NewChatsLimited):
            await world.send(second, "hello")
        assert await world.commands() == before
        await world.send(second, "later", QUEUED)
        await world.send(friend, "to you I may write")
    async with running(store, rig, new_node_id()) as directory:
        world.directory = directory
        await world.online()

        async def held() -> bool:
            return [turn.reason for turn in directory.holds(world.key).values()] == [Reason.NEW_CHATS_LIMITED]

        await until(held, 10)
        await rig.phones.end_faults()
        async with store.pool.connection() as conn:
            await conn.execute(
                "update bridge.instance set restriction = restriction || '{\"until\": 0}' where key = %(key)s",
                {"key": world.key},
            )
        await directory.restart(world.key)
        await world.got(second, "later")

        async def overcome() -> bool:
            return (await world.row()).restriction is None

        await until(overcome, 10)


def test_chats_are_counted_by_the_instance_s_own_rows(postgres, migrated_template) -> None:
    """However many messages others have, they are not read."""
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"create database pacing_plan template {migrated_template}")
    with psycopg.connect(postgres.database("pacing_plan"), autocommit=True) as conn:
        conn.execute(
            "insert into bridge.message (instance_key, chat, sender, message_id, from_me, kind,"
            " text, status, at, owner, epoch)"
            " select 'k' || n % 200, n % 50 || '@lid', 'me', n::text, n % 3 = 0, 'text', 'x', 'sent', now(), 'node', 1"
            " from generate_series(1, 40000) n"
        )
        conn.execute("analyze")
        plan = conn.execute(f"explain {load('messages')['chats']}", {"instance_key": "k7"}).fetchall()
        text = "\n".join(row[0] for row in plan)
        assert "message_pkey" in text
        assert "Seq Scan" not in text
