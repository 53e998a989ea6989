"""What delivery promises, from the commit to the receiver: a real PostgreSQL, a real socket."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing
from standardwebhooks import Webhook

from bridge.ids import new_node_id
from bridge.store.deliveries import ClaimedLane
from bridge.store.errors import StoreUnavailable
from bridge.store.store import Store
from bridge.webhooks.dispatcher import Dispatcher, Limits
from tests.support.hooks import (
    DEADLINE_S,
    SECRET,
    Hook,
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

LOOPBACK = ("127.0.0.0/8",)


@asynccontextmanager
async def dispatching(store: Store, *, limits: Limits | None = None) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher that is woken by commits, and stop it politely at the end."""
    dispatcher, stop = Dispatcher(store, node=new_node_id(), allow_private=LOOPBACK, limits=limits), trio.Event()
    store.events.on_commit(dispatcher.wake)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(dispatcher.run, stop=stop))
        try:
            yield dispatcher
        finally:
            stop.set()


async def settled(store: Store, query: str, expected: list[tuple[object, ...]]) -> None:
    """Wait until PostgreSQL answers `query` as expected; it shows what it answers instead."""
    found: list[tuple[object, ...]] = []
    with trio.move_on_after(DEADLINE_S):
        while (found := await rows(store, query)) != expected:  # noqa: ASYNC110 -- a condition in PostgreSQL
            await trio.sleep(0.02)
    assert found == expected


async def all_delivered(store: Store, count: int) -> None:
    await settled(store, "select state, count(*) from bridge.delivery group by 1", [("delivered", count)])
    await settled(store, "select count(*) from bridge.lane", [(0,)])


def seqs(receiver: Hook) -> list[int]:
    return [json.loads(request.body)["seq"] for request in receiver.received]


async def test_an_event_arrives_signed_for_the_standards_own_library(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver, dispatching(store):
        await endpoint(store, receiver.url)
        (stored,) = await instance.append(text_event(text="grüß dich \U0001f44b"))
        await receiver.until(lambda: receiver.ids == [stored.id])
        (request,) = receiver.received
        secret = "whsec_" + base64.b64encode(SECRET).decode()
        body = Webhook(secret).verify(request.body, dict(request.headers))
        assert (body["id"], body["seq"], body["instance"]) == (stored.id, 1, instance.key)
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("whatsapp-bridge/")
        assert request.headers["x-instance-key"] == instance.key
        assert (request.attempt, request.path) == (1, "/hook")
        await all_delivered(store, 1)


async def test_every_attempt_carries_the_same_id_and_the_same_bytes(store: Store) -> None:
    instance = await owned(store)
    answers = iter(
        [
            Reply(500),
            Reply(404, {"connection": "close"}),
            None,
            Reply(302, {"location": "http://127.0.0.1:1/"}),
            Reply(200),
        ]
    )

    def script(request: Received) -> Reply | None:
        return next(answers)

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = script
        await endpoint(store, receiver.url)
        await instance.append(text_event())
        for attempt in range(1, 6):
            await receiver.until(lambda attempt=attempt: len(receiver.received) == attempt)
            done = "select attempts from bridge.delivery"
            await settled(store, done, [(attempt,)])
            await pass_time(store)
            dispatcher.wake()
        assert len({(request.id, request.body) for request in receiver.received}) == 1
        assert [request.attempt for request in receiver.received] == [1, 2, 3, 4, 5]
        await all_delivered(store, 1)


async def test_events_of_a_chat_arrive_in_order_whatever_fails(store: Store) -> None:
    instance = await owned(store)
    refused: set[str] = set()

    def each_fails_once(request: Received) -> Reply:
        if request.id in refused:
            return Reply()
        refused.add(request.id)
        return Reply(503)

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = each_fails_once
        await endpoint(store, receiver.url)
        for number in range(8):
            await instance.append(text_event(f"chat {number % 2}"))
        with trio.fail_after(DEADLINE_S):
            while await rows(store, "select from bridge.lane"):
                await pass_time(store)
                dispatcher.wake()
                await trio.sleep(0.02)
        arrived: dict[str, list[int]] = {}
        for request in receiver.received:
            if request.attempt == 2:
                body = json.loads(request.body)
                arrived.setdefault(body["data"]["chat_id"], []).append(body["seq"])
        assert arrived == {"chat 0": [1, 3, 5, 7], "chat 1": [2, 4, 6, 8]}
        await all_delivered(store, 8)


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


async def test_what_a_killed_bridge_had_claimed_is_delivered_at_the_next_start(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver:
        await endpoint(store, receiver.url)
        await instance.append(text_event())
        lanes = await store.deliveries.settle_and_claim(
            new_node_id(), (), (), free=9, busy={}, per_lane=9, lease_s=3_600
        )
        assert len(lanes) == 1
        async with dispatching(store):
            await receiver.until(lambda: len(receiver.received) == 1)
            await all_delivered(store, 1)


async def test_a_stop_waits_for_what_has_begun_and_records_it(store: Store) -> None:
    instance = await owned(store)
    go = trio.Event()

    async def slow(request: Received) -> Reply:
        await go.wait()
        return Reply()

    async with hook() as receiver:
        receiver.script = slow
        await endpoint(store, receiver.url)
        await instance.append(text_event(), text_event())
        dispatcher, stop = Dispatcher(store, node=new_node_id(), allow_private=LOOPBACK), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(dispatcher.run, stop=stop))
            await receiver.until(lambda: len(receiver.received) == 1)
            stop.set()
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        found = await rows(store, "select state, attempts from bridge.delivery order by seq")
        assert found == [("delivered", 1), ("pending", 0)]
        assert await rows(store, "select claimed_by, pending from bridge.lane") == [(None, 1)]
        async with dispatching(store):
            await all_delivered(store, 2)
        assert seqs(receiver) == [1, 2]


async def test_a_stop_does_not_wait_for_a_receiver_that_hangs(store: Store) -> None:
    instance = await owned(store)

    async def hang(request: Received) -> None:
        await trio.sleep_forever()

    async with hook() as receiver:
        receiver.script = hang
        await endpoint(store, receiver.url, timeout_s=30.0)
        async with dispatching(store, limits=Limits(drain_s=0.2)):
            await instance.append(text_event())
            await receiver.until(lambda: len(receiver.received) == 1)
            began = trio.current_time()
        assert trio.current_time() - began < 3
        assert await rows(store, "select claimed_by, pending from bridge.lane") == [(None, 1)]


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


async def test_a_private_address_is_refused_unless_it_is_allowed(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver:
        await endpoint(store, receiver.url)
        dispatcher, stop = Dispatcher(store, node=new_node_id()), trio.Event()
        store.events.on_commit(dispatcher.wake)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(dispatcher.run, stop=stop))
            await instance.append(text_event())
            await settled(store, "select attempts from bridge.delivery", [(1,)])
            stop.set()
        assert receiver.received == []
        [(error,)] = await rows(store, "select last_error from bridge.delivery")
        assert "not public" in str(error)


async def test_an_event_arrives_within_milliseconds_of_its_commit(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver, dispatching(store):
        await endpoint(store, receiver.url)
        took = []
        for number in range(50):
            await instance.append(text_event(f"chat {number % 7}"))
            committed = time.perf_counter()
            await receiver.until(lambda number=number: len(receiver.received) == number + 1)
            took.append(time.perf_counter() - committed)
        took.sort()
        assert took[25] < 0.05, f"p50 {took[25] * 1e3:.1f} ms"  # 10 ms on a machine of one's own
        await all_delivered(store, 50)


async def test_an_idle_dispatcher_asks_once_a_second(store: Store) -> None:
    asked = 0
    claim = store.deliveries.settle_and_claim

    async def counted(*args: object, **named: object) -> tuple[ClaimedLane, ...]:
        nonlocal asked
        asked += 1
        return await claim(*args, **named)  # type: ignore[arg-type]

    store.deliveries.settle_and_claim = counted  # type: ignore[method-assign]
    async with dispatching(store):
        await trio.sleep(2.5)
    assert asked <= 4


async def test_what_another_process_stored_is_found_without_a_hint(store: Store) -> None:
    instance = await owned(store)
    async with hook() as receiver:
        await endpoint(store, receiver.url)
        dispatcher, stop = Dispatcher(store, node=new_node_id(), allow_private=LOOPBACK), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(dispatcher.run, stop=stop))
            await instance.append(text_event())
            await receiver.until(lambda: len(receiver.received) == 1)
            stop.set()


async def test_a_backlog_of_many_lanes_is_worked_off_without_waiting_for_the_poll(store: Store) -> None:
    """More lanes are due than an endpoint has room for: the next one is claimed when one ends, not a second later."""
    instance = await owned(store)
    async with hook() as receiver:
        await endpoint(store, receiver.url)
        await instance.append(*(text_event(f"chat {number}") for number in range(100)))
        async with dispatching(store, limits=Limits(per_endpoint=4)):
            began = trio.current_time()
            await all_delivered(store, 100)
            assert trio.current_time() - began < 100 / 4  # what it takes with four lanes a second
