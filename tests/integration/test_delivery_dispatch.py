"""What delivery promises, from the commit to the receiver: a real PostgreSQL, a real socket."""

import base64
import json
import time
from functools import partial

import trio
import trio.testing
from standardwebhooks import Webhook

from bridge.ids import new_node_id
from bridge.store.deliveries import ClaimedLane
from bridge.store.store import Store
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.limits import Limits
from tests.support.dispatching import LOOPBACK, all_delivered, dispatching, seqs, settled
from tests.support.hooks import (
    DEADLINE_S,
    SECRET,
    Received,
    Reply,
    endpoint,
    hook,
    owned,
    pass_time,
    rows,
    text_event,
)


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
