"""What delivery does when receivers, or PostgreSQL, do not: a real PostgreSQL, a real socket."""

import json

import trio
import trio.testing

from bridge.store.deliveries import ClaimedLane
from bridge.store.errors import StoreUnavailable
from bridge.store.store import Store
from bridge.webhooks.limits import Limits
from tests.support.dispatching import all_delivered, dispatching, seqs, settled
from tests.support.hooks import (
    DEADLINE_S,
    Received,
    Reply,
    accept,
    endpoint,
    hook,
    owned,
    pass_time,
    rows,
    run,
    text_event,
)


async def test_an_endpoint_that_hangs_does_not_delay_another(store: Store) -> None:
    instance = await owned(store)

    async def hang(request: Received) -> None:
        await trio.sleep_forever()

    limits = Limits(per_endpoint=4, lanes=4, drain_s=0.1)
    async with hook() as hanging, hook() as well, dispatching(store, limits=limits):
        hanging.script = hang
        await endpoint(store, hanging.url, timeout_s=30.0)
        await instance.append(*(text_event(f"chat {number}") for number in range(8)))
        await hanging.until(lambda: len(hanging.received) == 4)
        await endpoint(store, well.url)
        began = trio.current_time()
        for number in range(10):
            await instance.append(text_event(f"chat {number}"))
            await well.until(lambda number=number: len(well.received) == number + 1)
        assert trio.current_time() - began < 5
        assert len(hanging.received) == 4


async def test_a_receiver_that_says_gone_is_paused_and_loses_nothing(store: Store) -> None:
    instance = await owned(store)

    def gone(request: Received) -> Reply:
        return Reply(410)

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = gone
        target = await endpoint(store, receiver.url)
        await instance.append(text_event("a"))
        await settled(store, "select state from bridge.endpoint", [("paused",)])
        await instance.append(text_event("b"))
        await pass_time(store)
        receiver.script = accept
        await store.endpoints.set_state(target, "active")
        dispatcher.wake()
        await all_delivered(store, 2)


async def waits(store: Store) -> float:
    """Return how many seconds the only lane waits."""
    await settled(store, "select attempts from bridge.delivery", [(1,)])
    [(wait,)] = await rows(store, "select extract(epoch from next_at - now())::float8 from bridge.lane")
    assert isinstance(wait, float)
    return wait


async def test_a_receiver_that_asks_for_rest_gets_it(store: Store) -> None:
    instance = await owned(store)

    def script(request: Received) -> Reply:
        return Reply(503, {"retry-after": "900"})

    async with hook() as receiver, dispatching(store):
        receiver.script = script
        await endpoint(store, receiver.url)
        await instance.append(text_event())
        assert 890 < await waits(store) < 900 * 1.2


async def test_a_receiver_that_does_not_answer_in_time_is_left_alone_for_a_minute(store: Store) -> None:
    instance = await owned(store)

    async def hang(request: Received) -> None:
        await trio.sleep_forever()

    async with hook() as receiver, dispatching(store):
        receiver.script = hang
        await endpoint(store, receiver.url, timeout_s=1.0)
        await instance.append(text_event())
        assert await waits(store) > 55
        assert await rows(store, "select last_error from bridge.delivery") == [("no answer in 1 s",)]


async def test_a_poisoned_event_is_overtaken_but_not_given_up(store: Store) -> None:
    instance = await owned(store)
    poisoned = True

    def script(request: Received) -> Reply:
        return Reply(500 if poisoned and json.loads(request.body)["seq"] == 1 else 204)

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = script
        await endpoint(store, receiver.url)
        await instance.append(text_event("poisoned"), text_event("poisoned"))
        await settled(store, "select max(attempts) from bridge.delivery", [(1,)])
        for attempt in range(2, 6):
            await instance.append(text_event("well"))
            await pass_time(store)
            dispatcher.wake()
            await settled(store, "select max(attempts) from bridge.delivery", [(attempt,)])
        await settled(store, "select state from bridge.delivery where seq = 2", [("delivered",)])
        assert dispatcher.stats.parked == 1
        assert seqs(receiver).count(1) == 5
        poisoned = False
        await pass_time(store)
        dispatcher.wake()
        await all_delivered(store, 6)


async def test_what_is_too_old_dies_alone(store: Store) -> None:
    instance = await owned(store)

    def script(request: Received) -> Reply:
        return Reply(500 if json.loads(request.body)["seq"] == 1 else 204)

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = script
        await endpoint(store, receiver.url, max_age_s=60.0)
        await instance.append(text_event(), text_event())
        await settled(store, "select max(attempts) from bridge.delivery", [(1,)])
        await run(store, "update bridge.delivery set created_at = now() - interval '2 minutes' where seq = 1")
        await pass_time(store)
        dispatcher.wake()
        await settled(store, "select seq, state from bridge.delivery order by seq", [(1, "dead"), (2, "delivered")])


async def test_when_a_receiver_is_back_everything_arrives_at_once_in_order_and_once(store: Store) -> None:
    """It was away long enough for its endpoint to be held: lanes wait in the store, and need not wait any longer."""
    instance = await owned(store)
    async with hook() as first:
        url, port = first.url, int(first.url.split(":")[2].split("/")[0])
    async with dispatching(store) as dispatcher:
        await endpoint(store, url)
        for number in range(60):
            await instance.append(text_event(f"chat {number % 20}"))
        with trio.fail_after(DEADLINE_S):
            while not dispatcher.stats.held:  # noqa: ASYNC110 -- a condition of the dispatcher
                await trio.sleep(0.02)
        [(attempts,)] = await rows(store, "select sum(attempts) from bridge.delivery")
        assert isinstance(attempts, int) and attempts <= 40  # held deliveries do not burn attempts
        [(probe, *_)] = await rows(store, "select min(key) from bridge.lane")
        await run(store, "update bridge.lane set next_at = now() + interval '1 hour' where key <> %s", probe)
        await run(store, "update bridge.lane set next_at = now() where key = %s", probe)
        async with hook(port=port) as receiver:
            await receiver.until(lambda: len(receiver.received) == 60)
            await all_delivered(store, 60)
            assert len(set(receiver.ids)) == 60
            for chat in range(20):
                mine = [seq for seq in seqs(receiver) if (seq - 1) % 20 == chat]
                assert mine == sorted(mine)
        assert dispatcher.stats.held == ()


async def test_an_outage_of_postgresql_neither_loses_nor_doubles(store: Store) -> None:
    instance = await owned(store)
    kill = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )

    async def store_it(number: int) -> None:
        while True:
            try:
                await instance.append(text_event(f"chat {number % 5}", message_id=f"m{number}"))
                return
            except StoreUnavailable:
                await trio.sleep(0.02)

    async with hook() as receiver, dispatching(store):
        await endpoint(store, receiver.url)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(store_it, number)
                if number % 25 == 10:
                    await receiver.until(lambda seen=number // 25: len(receiver.received) >= seen)
                    await run(store, kill)
        await all_delivered(store, 100)
        assert len(receiver.received) == len(set(receiver.ids)) == 100
        assert sorted(seqs(receiver)) == list(range(1, 101))


async def test_a_claim_whose_answer_was_lost_is_made_again_at_once(store: Store) -> None:
    instance = await owned(store)
    claim, lost = store.deliveries.settle_and_claim, 0

    async def lossy(*args: object, **named: object) -> tuple[ClaimedLane, ...]:
        nonlocal lost
        lanes = await claim(*args, **named)  # type: ignore[arg-type]
        if lanes and not lost:
            lost = len(lanes)
            raise StoreUnavailable
        return lanes

    store.deliveries.settle_and_claim = lossy  # type: ignore[method-assign]
    async with hook() as receiver, dispatching(store):
        await endpoint(store, receiver.url)
        await instance.append(text_event("a"), text_event("b"))
        await all_delivered(store, 2)
        assert lost and len(receiver.received) == 2
