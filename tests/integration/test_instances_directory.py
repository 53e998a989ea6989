"""The directory and its actors on the real store and engine pool: one instance's trouble is never another's."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from bridge.domain.ids import InstanceKey
from bridge.domain.sends import SendOptions
from bridge.domain.signals import Signal
from bridge.engine.pool import EngineConfig, EnginePool
from bridge.ids import new_instance_key, new_node_id
from bridge.instances.directory import Directory
from bridge.instances.errors import NotConnected
from bridge.instances.messages import Told
from bridge.instances.parts import Parts
from bridge.store.errors import InstanceNotFound
from bridge.store.store import Store
from supervisor import Backoff, Intensity
from tests.support.stack import until

RECIPIENT = "4915100000002@s.whatsapp.net"


class Meaningless(Signal):
    """A signal that the table does not know: it crashes the actor."""


@asynccontextmanager
async def running(store: Store, database_url: str, journal_dir: Path) -> AsyncIterator[Directory]:
    engines = EnginePool(EngineConfig(database_url, journal_dir))
    directory = Directory(Parts(store, engines, new_node_id()), intensity=Intensity(2, 60), backoff=Backoff(0.01, 0.01))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(engines.run, stop=stop))
        await nursery.start(partial(directory.run, stop=stop))
        yield directory
        stop.set()


async def state_of(store: Store, key: InstanceKey) -> str:
    row = await store.instances.get(key)
    assert row is not None
    return row.state


async def test_an_instance_that_cannot_start_is_failed_and_the_others_run(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    broken, well = new_instance_key(), new_instance_key()
    for key in (broken, well):
        await store.instances.create(key, None, None, {})
    (tmp_path / broken / "lock").mkdir(parents=True)  # a journal that can't be locked
    async with running(store, database_url, tmp_path) as directory:

        async def failed() -> bool:
            return await state_of(store, broken) == "failed"

        await until(failed, 20)
        row = await store.instances.get(broken)
        assert row is not None
        assert row.reason is not None
        assert row.reason.startswith("start_failed")
        assert row.next_retry_at is not None
        assert await directory.qr(well, 0) is None
        shutil.rmtree(tmp_path / broken)
        await directory.restart(broken)
        assert (await directory.disconnect(broken)).state == "created"


async def test_an_instance_that_cannot_start_can_be_deleted(store: Store, database_url: str, tmp_path: Path) -> None:
    broken = new_instance_key()
    await store.instances.create(broken, None, None, {})
    (tmp_path / broken / "lock").mkdir(parents=True)  # a journal that can't be locked
    async with running(store, database_url, tmp_path) as directory:
        await directory.delete(broken)
        with pytest.raises(InstanceNotFound):
            await directory.disconnect(broken)
        assert await store.instances.get(broken) is None
        assert [event.type for event in await store.events.after(broken, 0)] == ["instance.deleted"]


async def test_an_actor_that_crashes_too_often_is_parked_as_failed_and_comes_back_by_call(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    async with running(store, database_url, tmp_path) as directory:
        ill = await directory.create(None, None, {})
        well = await directory.create(None, None, {})
        actor = directory._actors[ill.key]

        async def crashed() -> bool:
            if await state_of(store, ill.key) == "failed":
                return True
            if actor.depth == 0 and actor._mailbox is not None:
                actor.tell(Told(Meaningless()))
            return False

        await until(crashed, 20)
        assert (await directory.disconnect(well.key)).state == "created"
        await directory.restart(ill.key)
        assert (await directory.disconnect(ill.key)).state == "created"


async def test_events_of_a_lifetime_are_stored_and_a_deleted_instance_is_gone(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    async with running(store, database_url, tmp_path) as directory:
        row = await directory.create("shop", "crm-7", {"tenant": 3})
        with pytest.raises(NotConnected):
            await directory.send(row.key, "text", RECIPIENT, {"text": "hi"}, request_hash=b"")
        await directory.delete(row.key)
        with pytest.raises(InstanceNotFound):
            await directory.disconnect(row.key)
        assert await store.instances.get(row.key) is None
        events = await store.events.after(row.key, 0)
        assert [event.type for event in events] == ["instance.created", "instance.deleted"]
        assert not (tmp_path / row.key).exists()


async def test_a_text_that_is_queued_while_the_instance_is_away_waits_also_for_a_restart(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    async with running(store, database_url, tmp_path) as directory:
        row = await directory.create(None, None, {})
        asked = {"idempotency_key": "key-1", "request_hash": b"h", "options": SendOptions(queued=True)}
        queued = await directory.send(row.key, "text", RECIPIENT, {"text": "hi"}, **asked)
        assert queued.status == "queued"
        await directory.restart(row.key)
        await directory.disconnect(row.key)  # the new actor is up
        command = await store.commands.get(queued.command_id)
        assert command is not None
        assert command.state == "queued"
        again = await directory.send(row.key, "text", RECIPIENT, {"text": "hi"}, **asked)
        assert (again.command_id, again.status) == (queued.command_id, "queued")
