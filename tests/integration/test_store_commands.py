"""Commands: once for an idempotency key, with one outcome; and the small repositories of keys and settings."""

import pytest
import trio

from bridge.domain.ids import Epoch, InstanceKey, NodeId
from bridge.ids import new_command_id, new_instance_key
from bridge.store.errors import CommandClosed, IdempotencyMismatch, InstanceNotFound

HASH, OTHER_HASH = b"a" * 32, b"b" * 32
BODY = {"to": "491701234567@s.whatsapp.net", "text": "hi"}


@pytest.fixture
async def key(store):
    return (await store.instances.create(new_instance_key(), None, None, {})).key


def insert(store, key, idempotency_key=None, request_hash=HASH, state="running"):
    return store.commands.insert(
        new_command_id(),
        key,
        kind="text",
        body=BODY,
        state=state,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )


async def test_a_repeated_request_gets_the_first_ones_row(store, key):
    first = await insert(store, key, "k")
    assert first.inserted
    assert first.open
    repeated = await insert(store, key, "k")
    assert (repeated.id, repeated.inserted, repeated.state, repeated.open) == (first.id, False, "running", True)
    await store.commands.finish(first.id, "sent", "3EB0", {"at": 1})
    finished = await insert(store, key, "k")
    assert (finished.state, finished.message_id, finished.result, finished.open) == ("sent", "3EB0", {"at": 1}, False)


async def test_another_request_with_the_same_idempotency_key_is_refused(store, key):
    await insert(store, key, "k")
    with pytest.raises(IdempotencyMismatch) as caught:
        await insert(store, key, "k", OTHER_HASH)
    assert caught.value.status == 422


async def test_what_is_repeated_is_found_without_a_command_of_its_own(store, key):
    assert await store.commands.repeated(key, "k", HASH) is None
    first = await insert(store, key, "k")
    found = await store.commands.repeated(key, "k", HASH)
    assert (found.id, found.state, found.open) == (first.id, "running", first.open)
    with pytest.raises(IdempotencyMismatch):
        await store.commands.repeated(key, "k", bytes(32))
    assert await store.commands.repeated("0" * 32, "k", HASH) is None


async def test_an_idempotency_key_belongs_to_its_instance(store, key):
    other = (await store.instances.create(new_instance_key(), None, None, {})).key
    assert (await insert(store, key, "k")).inserted
    assert (await insert(store, other, "k", OTHER_HASH)).inserted


async def test_requests_without_an_idempotency_key_are_all_new(store, key):
    assert (await insert(store, key)).id != (await insert(store, key)).id


async def test_of_many_equal_requests_at_once_one_is_new(store, key):
    rows = []

    async def request():
        rows.append(await insert(store, key, "k"))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(request)
    assert sum(row.inserted for row in rows) == 1
    assert len({row.id for row in rows}) == 1


async def test_a_command_for_no_instance_is_refused(store):
    with pytest.raises(InstanceNotFound):
        await insert(store, InstanceKey("0" * 32))


async def test_a_known_outcome_is_kept(store, key):
    row = await insert(store, key)
    await store.commands.finish(row.id, "unknown")
    assert (await store.commands.finish(row.id, "sent", "3EB0")).state == "sent"
    for state in ("failed", "unknown", "sent"):
        with pytest.raises(CommandClosed):
            await store.commands.finish(row.id, state)
    await store.commands.withdraw(row.id)
    assert (await store.commands.get(row.id)).state == "sent"


async def test_a_command_that_was_refused_leaves_its_idempotency_key_free(store, key):
    row = await insert(store, key, state="running", idempotency_key="k")
    await store.commands.withdraw(row.id)
    assert await store.commands.get(row.id) is None
    assert (await insert(store, key, state="running", idempotency_key="k")).inserted


async def test_after_a_crash_what_had_begun_is_unknown_and_what_had_not_is_queued(store, key):
    queued = [await insert(store, key, state="queued") for _ in range(3)]
    running = await insert(store, key)
    done = await insert(store, key)
    await store.commands.finish(done.id, "sent", "3EB0")
    begun = queued.pop(1)
    await store.commands.start(begun.id, NodeId("node_1"), Epoch(1))
    with pytest.raises(CommandClosed):
        await store.commands.start(begun.id, NodeId("node_1"), Epoch(1))

    recovered = await store.commands.recover(key)
    assert [row.id for row in recovered.unknown] == [begun.id, running.id]
    assert [row.id for row in recovered.queued] == [row.id for row in queued]
    assert all(row.finished_at is not None and row.body == BODY for row in recovered.unknown)
    again = await store.commands.recover(key)
    assert again.unknown == ()
    assert len(again.queued) == 2


async def test_of_settings_put_at_once_all_get_the_same_one(store):
    values = set()

    async def put(value):
        values.add(await store.settings.put_if_absent("secret", value))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(put, bytes([number]) * 8)
    assert values == {await store.settings.get("secret")}
    assert await store.settings.get("other") is None
