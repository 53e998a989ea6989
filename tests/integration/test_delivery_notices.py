"""An endpoint that is gone, or fails for days, is told of to the others; a success ends what was held against it."""

import json
import time

import trio

from bridge.ids import new_endpoint_id
from bridge.store.feed import Filter
from bridge.store.store import Store
from tests.support.dispatching import dispatching, settled
from tests.support.hooks import SECRET, Reply, endpoint, hook, owned, rows, run, text_event

DAY_S = 86_400.0


async def test_a_410_pauses_and_says_so_to_the_others(store: Store) -> None:
    instance = await owned(store)
    async with hook() as gone, hook() as other, dispatching(store):
        gone.script = lambda _: Reply(410)
        target = new_endpoint_id()
        await store.endpoints.upsert(target, instance.key, gone.url, [], SECRET)
        await endpoint(store, other.url, "webhook.paused")
        await instance.append(text_event())
        await other.until(lambda: len(other.received) == 1)
        notice = json.loads(other.received[0].body)
    assert (notice["type"], notice["instance"], notice["seq"]) == ("webhook.paused", instance.key, 2)
    reason = "the receiver answered 410 Gone"
    assert notice["data"] == {"webhook_id": target, "state": "paused", "reason": reason}
    assert await instance.append(text_event()) and [
        row[0]
        for row in await rows(store, "select seq from bridge.event where instance_key = %s order by seq", instance.key)
    ] == [1, 2, 3]


async def test_days_of_nothing_but_failures_disable_an_endpoint_of_all_instances(store: Store) -> None:
    instance = await owned(store)
    async with hook() as failing, hook() as other, dispatching(store):
        failing.script = lambda _: Reply(500)
        target = await endpoint(store, failing.url, "message.received")
        await endpoint(store, other.url, "webhook.paused")
        await run(
            store,
            "update bridge.endpoint set failing_since = to_timestamp(%s) where id = %s",
            time.time() - 4.9 * DAY_S,
            target,
        )
        await instance.append(text_event("a"))
        await settled(store, "select max(attempts) from bridge.delivery", [(1,)])
        await settled(store, "select count(*) from bridge.endpoint where state = 'disabled'", [(0,)])
        await run(
            store,
            "update bridge.endpoint set failing_since = to_timestamp(%s) where id = %s",
            time.time() - 5.1 * DAY_S,
            target,
        )
        await instance.append(text_event("b"))
        await other.until(lambda: len(other.received) == 1)
        notice = json.loads(other.received[0].body)
        assert (notice["instance"], notice["seq"], notice["data"]["state"]) == ("*", 1, "disabled")
        await instance.append(text_event("c"))  # none is made for it now
        assert await rows(store, "select count(*) from bridge.delivery where endpoint_id = %s", target) == [(2,)]
        batch = await store.feed.read(0, Filter(types=("webhook.paused",)))
        assert [json.loads(entry.body)["id"] for entry in batch.entries] == [notice["id"]]
    row = await store.endpoints.set_state(target, "active")
    assert row is not None and row.failing_since is None


async def test_a_success_ends_what_was_held_against_an_endpoint(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver, dispatching(store):
        target = await endpoint(store, receiver.url)
        await run(store, "update bridge.endpoint set failing_since = now() - interval '6 days' where id = %s", target)
        await instance.append(text_event())
        await settled(store, "select count(*) from bridge.endpoint where failing_since is null", [(1,)])
        assert await rows(store, "select state from bridge.endpoint") == [("active",)]


async def test_a_minute_of_failures_is_stored_and_not_each_one(store: Store) -> None:
    instance = await owned(store)
    async with hook() as failing, dispatching(store) as dispatcher:
        failing.script = lambda _: Reply(500)
        target = await endpoint(store, failing.url)
        await instance.append(text_event("a"))
        await settled(store, "select max(attempts) from bridge.delivery", [(1,)])
        assert await rows(store, "select failing_since is null from bridge.endpoint") == [(True,)]
        began = time.time() - 61
        dispatcher._breakers[target].failing_from = began
        await instance.append(text_event("b"))
        with trio.fail_after(20):
            while (await rows(store, "select extract(epoch from failing_since) from bridge.endpoint"))[0][0] is None:  # noqa: ASYNC110
                await trio.sleep(0.02)
        [(since,)] = await rows(store, "select extract(epoch from failing_since)::float8 from bridge.endpoint")
        assert isinstance(since, float) and abs(since - began) < 0.01
