"""What storing events promises: once, numbered without a gap, fanned out, and only by the instance's owner."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import trio

from bridge.domain.events import Event, StatusChange
from bridge.domain.ids import Epoch, EventId
from bridge.ids import new_endpoint_id, new_node_id
from bridge.store.errors import StaleOwner, StoreUnavailable
from bridge.store.events import Ingest
from bridge.store.store import Store
from tests.support.hooks import SECRET, Owned, endpoint, owned, rows, run, sent_event, text_event

URL = "http://203.0.113.1/"


def receipt(chat: str, message_id: str, status: str) -> Event:
    return Event(
        type="message.status",
        name=f"message_{status}",
        dedup_key=f"{chat}|{message_id}|{status}",
        at=1_700_000_001.0,
        data={"status": status},
        chat=chat,
        status=StatusChange((message_id,), status),
    )


async def statuses(instance: Owned) -> dict[object, object]:
    found = await rows(
        instance.store, "select message_id, status from bridge.message where instance_key = %s", instance.key
    )
    return {row[0]: row[1] for row in found}


async def test_an_event_is_stored_with_its_seq_in_its_body(store: Store) -> None:
    instance = await owned(store)
    first, second = await instance.append(text_event(), text_event())
    assert [first.seq, second.seq] == [1, 2]
    (one, two) = await store.events.after(instance.key, 0)
    assert (one.id, two.id) == (first.id, second.id)
    body = json.loads(two.body)
    assert (body["seq"], body["id"], body["instance"]) == (2, second.id, instance.key)
    assert await store.events.after(instance.key, 1, types=["message.sent"]) == ()
    row = await store.instances.get(instance.key)
    assert row is not None and row.last_seq == 2 and row.last_event_at is not None


async def test_a_redelivered_event_is_stored_once(store: Store) -> None:
    instance, event = await owned(store), text_event()
    await endpoint(store, URL)
    (first,) = await instance.append(event)
    again, new, twice = await instance.append(event, repeated := text_event(), repeated)
    assert (again.new, again.id, again.seq) == (False, first.id, first.seq)
    assert (new.new, new.seq) == (True, 2)
    assert (twice.new, twice.id, twice.seq) == (False, new.id, 2)
    assert await rows(store, "select count(*) from bridge.delivery") == [(2,)]
    assert await rows(store, "select sum(pending) from bridge.lane") == [(2,)]


async def test_callers_that_wait_together_share_a_transaction(store: Store) -> None:
    instances = [await owned(store) for _ in range(10)]
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            for instance in instances:
                nursery.start_soon(instance.append, text_event())
    [(events, transactions)] = await rows(store, "select count(*), count(distinct xmin::text) from bridge.event")
    assert events == 50
    assert transactions == 1  # all of them asked before the task that commits had its turn
    for instance in instances:
        assert [event.seq for event in await store.events.after(instance.key, 0)] == [1, 2, 3, 4, 5]


async def test_an_owner_that_was_replaced_writes_nothing_and_harms_nobody(store: Store) -> None:
    mine, other = await owned(store), await owned(store)
    stale = replace(mine, epoch=Epoch(mine.epoch - 1))
    stranger = replace(mine, node=new_node_id())

    async def refused(instance: Owned) -> None:
        with pytest.raises(StaleOwner):
            await instance.append(text_event())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, stale)
        nursery.start_soon(other.append, text_event())
        nursery.start_soon(mine.append, text_event())
        nursery.start_soon(refused, stranger)
    assert len(await store.events.after(mine.key, 0)) == 1
    assert len(await store.events.after(other.key, 0)) == 1


async def test_an_event_that_postgresql_refuses_does_not_take_others_with_it(store: Store) -> None:
    bad, good = await owned(store), await owned(store)
    draft = replace(bad.draft(), id=EventId("no event id"))
    failed = False

    async def refused() -> None:
        nonlocal failed
        with pytest.raises(Exception, match="event_id_check"):
            await store.events.append(bad.key, bad.node, bad.epoch, [draft])
        failed = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        nursery.start_soon(good.append, text_event())
    assert failed
    assert [event.seq for event in await store.events.after(good.key, 0)] == [1]


async def test_what_a_peer_makes_up_can_be_stored(store: Store) -> None:
    instance = await owned(store)
    nasty = "\0 \ud800 " + "\U0001f4a3" * 3_000
    stored = await instance.append(text_event(nasty, message_id=nasty, text=nasty), text_event("2@g.us", text="\0"))
    assert [one.new for one in stored] == [True, True]
    (again,) = await instance.append(text_event(nasty, message_id=nasty, text=nasty))
    assert not again.new
    (event, _) = await store.events.after(instance.key, 0)
    assert json.loads(event.body)["data"]["text"].startswith("\ufffd \ufffd")


async def test_a_status_only_goes_forward(store: Store) -> None:
    instance, chat = await owned(store), "1@s.whatsapp.net"
    await instance.append(sent_event(chat, message_id="A"))
    await instance.append(receipt(chat, "A", "read"))
    await instance.append(receipt(chat, "A", "delivered"))
    await instance.append(text_event(chat, message_id="A"), receipt(chat, "unheard of", "read"))
    found = await rows(store, "select from_me, status from bridge.message where message_id = 'A' order by from_me")
    assert found == [(False, "received"), (True, "read")]


async def test_a_status_that_comes_with_its_message_is_not_lost(store: Store) -> None:
    instance, chat = await owned(store), "1@s.whatsapp.net"
    await instance.append(
        sent_event(chat, message_id="A"), receipt(chat, "A", "played"), receipt(chat, "A", "delivered")
    )
    assert await statuses(instance) == {"A": "played"}


async def test_a_message_that_could_not_be_read_at_first_gets_its_text_later(store: Store) -> None:
    instance, event = await owned(store), text_event(message_id="A")
    assert event.message is not None
    blank = replace(event.message, text=None, kind="unknown")
    await instance.append(replace(event, type="message.undecryptable", dedup_key="other", message=blank))
    await instance.append(event)
    assert await rows(store, "select kind, text from bridge.message") == [("text", "hello")]


async def test_each_endpoint_gets_what_it_asked_for(store: Store) -> None:
    instance, other = await owned(store), await owned(store)
    everything = await endpoint(store, URL)
    by_type = await endpoint(store, URL, "message.received")
    by_name = await endpoint(store, URL, "message_received", "presence_update")
    unwanted = await endpoint(store, URL, "call.offer")
    paused, disabled = await endpoint(store, URL), await endpoint(store, URL)
    await store.endpoints.set_state(paused, "paused")
    await store.endpoints.set_state(disabled, "disabled")
    own = new_endpoint_id()
    await store.endpoints.upsert(own, instance.key, URL, [], SECRET)
    await instance.append(text_event())
    await other.append(sent_event())
    found = await rows(
        store,
        "select d.endpoint_id, e.instance_key from bridge.delivery d join bridge.event e on e.id = d.event_id",
    )
    assert set(found) == {
        (everything, instance.key),
        (everything, other.key),
        (by_type, instance.key),
        (by_name, instance.key),
        (paused, instance.key),
        (paused, other.key),
        (own, instance.key),
    }
    assert unwanted not in {row[0] for row in found}


async def test_seq_has_no_gap_when_two_writers_meet_and_some_of_it_fails(store: Store) -> None:
    """Two tasks that commit, as two bridges have, and statements that are refused or that meet the same event."""
    instance = await owned(store)
    shared = [text_event() for _ in range(20)]
    other, stop = Ingest(store.pool), trio.Event()

    async def aside(event: Event, stale: bool) -> None:
        epoch = Epoch(instance.epoch + stale)
        with suppress(StaleOwner):
            await other.append(instance.key, instance.node, epoch, [instance.draft(event), instance.draft()])

    async with trio.open_nursery() as outer:
        await outer.start(partial(other.run, stop=stop))
        async with trio.open_nursery() as nursery:
            for number, event in enumerate(shared):
                nursery.start_soon(aside, event, number % 3 == 0)
                nursery.start_soon(instance.append, event, text_event())
        stop.set()
    found = await store.events.after(instance.key, 0, limit=1_000)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert [json.loads(event.body)["seq"] for event in found] == [event.seq for event in found]
    assert len({event.id for event in found}) == len(found)
    [(distinct,)] = await rows(store, "select count(distinct dedup_key) from bridge.event")
    assert distinct == len(found) == 20 + 20 + len([n for n in range(20) if n % 3])


async def test_without_its_task_nothing_is_stored_and_nobody_waits(store: Store) -> None:
    instance = await owned(store)
    with pytest.raises(StoreUnavailable):
        await Ingest(store.pool).append(instance.key, instance.node, instance.epoch, [instance.draft()])


async def test_callers_hear_at_once_when_postgresql_is_away(store: Store) -> None:
    instance = await owned(store)
    await instance.append(text_event())
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
    with pytest.raises(StoreUnavailable):
        await run(store, kill + " and pid <> pg_backend_pid()")
        await run(store, kill)
    with trio.fail_after(5):
        stored = None
        while stored is None:
            try:
                stored = await instance.append(text_event())
            except StoreUnavailable:
                await trio.lowlevel.checkpoint()
    assert stored[0].seq == 2
