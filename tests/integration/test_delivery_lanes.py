"""What claiming and settling promise, on a real PostgreSQL."""

import json
import re
import time
from collections.abc import Sequence
from functools import partial

import trio

from bridge.domain.ids import EndpointId, InstanceKey, NodeId
from bridge.domain.lanes import Fate
from bridge.ids import first_event_id, new_event_id, new_node_id
from bridge.store.deliveries import Attempted, ClaimedLane, Released
from bridge.store.events import Ingest
from bridge.store.queries import load
from bridge.store.store import Store
from tests.support.hooks import SECRET, endpoint, owned, pass_time, rows, run, text_event

URL = "http://203.0.113.1/"
NODE = new_node_id()


async def claim(
    store: Store,
    attempted: Sequence[Attempted] = (),
    released: Sequence[Released] = (),
    *,
    node: NodeId = NODE,
    free: int = 100,
    busy: dict[EndpointId, tuple[int, int]] | None = None,
    per_lane: int = 100,
    lease_s: float = 60,
) -> list[ClaimedLane]:
    lanes = await store.deliveries.settle_and_claim(
        node, attempted, released, free=free, busy=busy or {}, per_lane=per_lane, lease_s=lease_s
    )
    return list(lanes)


def outcome(lane: ClaimedLane, number: int = 0, fate: Fate = Fate.DELIVERED, wait_s: float | None = None) -> Attempted:
    return Attempted(lane.destination.id, lane.key, lane.deliveries[number].event_id, fate, 200, None, wait_s)


def release(lane: ClaimedLane, wait_s: float = 0.0) -> Released:
    return Released(lane.destination.id, lane.key, wait_s)


async def test_a_lane_belongs_to_one_claim_and_keeps_its_order(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    stored = await instance.append(text_event("a"), text_event("b"), text_event("a"), text_event("a"))
    lanes = {lane.key: lane for lane in await claim(store, per_lane=2)}
    assert set(lanes) == {f"{instance.key}:a", f"{instance.key}:b"}
    a = lanes[f"{instance.key}:a"]
    assert [one.event_id for one in a.deliveries] == [stored[0].id, stored[2].id]
    assert await claim(store, node=new_node_id()) == []
    done = [outcome(a, 0), outcome(a, 1)]
    (rest,) = await claim(store, done, [release(a)])
    assert [one.event_id for one in rest.deliveries] == [stored[3].id]
    await claim(store, [outcome(rest), outcome(lanes[f"{instance.key}:b"])], [release(rest)])
    assert await rows(store, "select key, pending from bridge.lane") == [(f"{instance.key}:b", 0)]
    await claim(store, [], [release(lanes[f"{instance.key}:b"])])
    assert await rows(store, "select key from bridge.lane") == []


async def test_the_ordering_of_an_endpoint_makes_its_lanes(store: Store) -> None:
    instance = await owned(store)
    strict = await endpoint(store, URL, ordering="instance")
    loose = await endpoint(store, URL, ordering="none")
    stored = await instance.append(text_event("a"), text_event("b"))
    found = await rows(store, "select endpoint_id, key, pending from bridge.lane")
    expected = {(strict, instance.key, 2), *((loose, f"{instance.key}#{one.id}", 1) for one in stored)}
    assert set(found) == expected


async def test_a_claim_does_not_wait_for_a_lane_that_is_being_written_to(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event("a"), text_event("b"))
    async with store.pool.transaction() as conn:
        await conn.execute("update bridge.lane set pending = pending where key = %s", (f"{instance.key}:a",))
        with trio.fail_after(5):
            (lane,) = await claim(store)
        assert lane.key == f"{instance.key}:b"
    (lane,) = await claim(store)
    assert (lane.key, len(lane.deliveries)) == (f"{instance.key}:a", 1)


async def test_an_endpoint_gets_no_more_lanes_than_it_has_room_for(store: Store) -> None:
    instance = await owned(store)
    full, roomy = await endpoint(store, URL), await endpoint(store, URL)
    await instance.append(*(text_event(str(number)) for number in range(10)))
    lanes = await claim(store, free=4, busy={full: (1, 0)})
    assert sorted(lane.destination.id for lane in lanes) == sorted([full] + [roomy] * 4)
    assert await claim(store, free=0) == []


async def test_a_failed_lane_waits_and_keeps_its_head(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event(), text_event())
    (lane,) = await claim(store)
    assert await claim(store, [outcome(lane, 0, Fate.RETRY)], [release(lane, 60.0)]) == []
    await pass_time(store)
    (again,) = await claim(store)
    assert [one.event_id for one in again.deliveries] == [one.event_id for one in lane.deliveries]
    assert [one.body for one in again.deliveries] == [one.body for one in lane.deliveries]
    assert [one.attempts for one in again.deliveries] == [1, 0]
    assert again.deliveries[0].first_failed_at is not None


async def test_a_parked_delivery_goes_on_in_a_lane_of_its_own(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    bad, good = await instance.append(text_event(), text_event())
    (lane,) = await claim(store)
    (rest,) = await claim(store, [outcome(lane, 0, Fate.PARKED, 60.0)], [release(lane)])
    assert [one.event_id for one in rest.deliveries] == [good.id]
    await pass_time(store)
    (parked,) = await claim(store, [outcome(rest)], [release(rest)])
    assert (parked.key, parked.deliveries[0].event_id) == (f"{lane.key}!{bad.id}", bad.id)
    await claim(store, [outcome(parked)], [release(parked)])
    assert await rows(store, "select key from bridge.lane") == []
    assert await rows(store, "select distinct state from bridge.delivery") == [("delivered",)]


async def test_a_dead_delivery_is_kept_and_its_lane_goes_on(store: Store) -> None:
    instance = await owned(store)
    target = await endpoint(store, URL)
    old, new = await instance.append(text_event(), text_event())
    (lane,) = await claim(store)
    (rest,) = await claim(store, [outcome(lane, 0, Fate.DEAD)], [release(lane)])
    assert [one.event_id for one in rest.deliveries] == [new.id]
    (dead,) = await store.deliveries.page(target, "dead")
    assert (dead.event_id, dead.attempts, dead.next_at) == (old.id, 1, None)


async def test_to_record_twice_changes_nothing(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event(), text_event())
    (lane,) = await claim(store)
    results, given = [outcome(lane, 0), outcome(lane, 1, Fate.RETRY)], [release(lane, 60.0)]
    for _ in range(2):
        await store.deliveries.settle(NODE, results, given)
    assert await rows(store, "select pending, claimed_by from bridge.lane") == [(1, None)]
    assert sorted(await rows(store, "select state, attempts from bridge.delivery")) == [
        ("delivered", 1),
        ("pending", 2),
    ]  # an attempt counted once too often is the price, a lost or a second delivery is not


async def test_the_lanes_of_a_dead_node_are_free_after_their_lease(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event())
    (mine,) = await claim(store, lease_s=60)
    await run(store, "update bridge.lane set claimed_until = now() - interval '1 second'")
    other = new_node_id()
    (theirs,) = await claim(store, node=other)
    assert theirs.deliveries == mine.deliveries
    await store.deliveries.settle(NODE, [outcome(mine)], [release(mine)])  # late, but it did arrive
    assert await rows(store, "select pending, claimed_by from bridge.lane") == [(0, other)]
    await store.deliveries.settle(other, [outcome(theirs)], [release(theirs)])
    assert await rows(store, "select count(*) from bridge.lane") == [(0,)]


async def test_a_node_that_is_alone_frees_what_dead_ones_held(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event("a"), text_event("b"))
    mine, other = new_node_id(), new_node_id()
    await claim(store, node=other, free=1)
    await claim(store, node=mine, free=1)
    assert await store.deliveries.release(mine, alone=False) == 1
    assert await store.deliveries.release(mine, alone=True) == 1
    assert len(await claim(store, node=mine)) == 2


async def test_a_counter_that_lies_is_put_right(store: Store) -> None:
    instance = await owned(store)
    await endpoint(store, URL)
    await instance.append(text_event("a"), text_event("b"))
    await run(store, "delete from bridge.delivery where lane_key like '%%:a'")
    (lane,) = await claim(store)
    assert lane.key.endswith(":b")
    assert await rows(store, "select key from bridge.lane") == [(lane.key,)]


async def test_a_paused_endpoint_is_held_and_a_removed_one_is_gone(store: Store) -> None:
    instance = await owned(store)
    paused, removed, swept = [await endpoint(store, URL) for _ in range(3)]
    await store.endpoints.set_state(paused, "paused", "maintenance")
    await instance.append(text_event())
    assert await store.endpoints.remove(removed)
    assert not await store.endpoints.remove(removed)
    await run(store, "delete from bridge.endpoint where id = %s", swept)
    assert await claim(store) == []
    await store.deliveries.sweep()
    assert await rows(store, "select endpoint_id from bridge.lane") == [(paused,)]
    assert await rows(store, "select endpoint_id from bridge.delivery") == [(paused,)]
    await store.endpoints.set_state(paused, "active")
    assert len(await claim(store)) == 1


async def test_during_a_rotation_both_secrets_sign(store: Store) -> None:
    instance = await owned(store)
    target = await endpoint(store, URL)
    await instance.append(text_event())
    await store.endpoints.rotate(target, b"n" * 32)
    (lane,) = await claim(store)
    assert lane.destination.keys == (b"n" * 32, SECRET)
    await run(store, "update bridge.endpoint set old_secret_until = now()")
    (lane,) = await claim(store, [], [release(lane)])
    assert lane.destination.keys == (b"n" * 32,)


async def test_what_waits_can_be_seen_and_what_arrived_is_forgotten_in_time(store: Store) -> None:
    instance = await owned(store)
    target = await endpoint(store, URL)
    await instance.append(text_event("a"), text_event("a"), text_event("b"))
    (backlog,) = await store.deliveries.backlog()
    assert (backlog.endpoint_id, backlog.deliveries, backlog.lanes) == (target, 3, 2)
    assert backlog.oldest_s is not None and 0 <= backlog.oldest_s < 60
    lanes = await claim(store)
    await store.deliveries.settle(NODE, [outcome(lane) for lane in lanes], [release(lane) for lane in lanes])
    assert await store.deliveries.prune(3_600, before=new_event_id()) == 0
    earliest = min(lane.deliveries[0].event_id for lane in lanes)  # ids of one millisecond are in no order
    assert await store.deliveries.prune(0, before=earliest) == 0
    assert await store.deliveries.prune(0, before=first_event_id(time.time() + 1)) == 2
    assert len(await store.deliveries.page(target, "pending")) == 1


async def test_append_claim_and_settle_at_once_lose_nothing_and_never_lock_crosswise(store: Store) -> None:
    """Four nodes deliver while ten instances write into shared lanes; some deliveries fail, some transactions too."""
    instances = [await owned(store) for _ in range(10)]
    for _ in range(3):
        await endpoint(store, URL)
    total, writing = 10 * 12 * 4, True
    other, stop = Ingest(store.pool), trio.Event()
    order: dict[tuple[str, str], list[str]] = {}

    async def write(number: int) -> None:
        instance = instances[number]
        for turn in range(12):
            events = [text_event(f"chat {(number + turn + n) % 3}") for n in range(3)]
            async with trio.open_nursery() as pair:
                pair.start_soon(instance.append, *events)
                pair.start_soon(aside, instance.key, number)

    async def aside(key: InstanceKey, number: int) -> None:
        instance = instances[number]
        await other.append(key, instance.node, instance.epoch, [instance.draft()])

    async def deliver(node: NodeId) -> None:
        attempted: list[Attempted] = []
        released: list[Released] = []
        turn = 0
        while True:
            lanes = await claim(store, attempted, released, node=node, free=5, per_lane=3)
            if not lanes and not writing and await rows(store, "select count(*) from bridge.lane") == [(0,)]:
                return
            attempted, released = [], []
            for lane in lanes:
                turn += 1
                for number, one in enumerate(lane.deliveries):
                    fails = (turn + number) % 7 == 0
                    attempted.append(outcome(lane, number, Fate.RETRY if fails else Fate.DELIVERED))
                    if fails:
                        break
                    order.setdefault((lane.destination.id, lane.key), []).append(one.body)
                released.append(release(lane))

    with trio.fail_after(60):
        async with trio.open_nursery() as outer:
            await outer.start(partial(other.run, stop=stop))
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(deliver, new_node_id())
                async with trio.open_nursery() as writers:
                    for number in range(10):
                        writers.start_soon(write, number)
                writing = False
            stop.set()
    assert await rows(store, "select state, count(*) from bridge.delivery group by 1") == [("delivered", total * 3)]
    for bodies in order.values():
        seqs = [json.loads(body)["seq"] for body in bodies]
        assert seqs == sorted(set(seqs))
    assert sum(map(len, order.values())) == total * 3
    await run(store, "select pg_stat_force_next_flush()")
    assert await rows(store, "select deadlocks from pg_stat_database where datname = current_database()") == [(0,)]


async def test_hot_statements_find_everything_by_index(store: Store) -> None:
    """With many rows, the plans of append, claim and settle read no table from end to end that can be long."""
    instances = [await owned(store) for _ in range(4)]
    target = await endpoint(store, URL)
    await instances[0].append(*(text_event(str(number)) for number in range(50)))
    for statement in (
        "insert into bridge.event (id, instance_key, seq, type, chat, dedup_key, body, owner, epoch)"
        " select 'evt_' || n, repeat('a', 32), n, 'message.received', n, n, repeat('x', 500), 'node', 1 from {} n",
        "insert into bridge.message"
        " select repeat('a', 32), n, n, n, false, 'text', null, 'sent', now(), 'x', 1 from {} n",
        f"insert into bridge.lane (endpoint_id, key, pending) select '{target}', n, 1 from {{}} n",
        "insert into bridge.delivery (event_id, endpoint_id, lane_key, seq)"
        f" select 'evt_' || n, '{target}', n, n from {{}} n",
    ):
        await run(store, statement.format("generate_series(1, 40000)"))
    await run(store, "analyze")
    lanes = await claim(store, free=10)
    head = lanes[0]
    params = {
        "append": [json.dumps([_as_row(instances[0].draft().head, instances[0])])],
        "claim": {
            "ids": [],
            "frees": [],
            "free": 16,
            "per_lane": 16,
            "node": NODE,
            "lease_s": 60.0,
            "replays": 4,
            "busy_replays": [],
        },
        "settle": {
            "node": NODE,
            "results": json.dumps(
                [{"endpoint_id": head.destination.id, "lane_key": head.key, "event_id": head.deliveries[0].event_id}]
            ),
            "lanes": json.dumps([{"endpoint_id": head.destination.id, "key": head.key, "release": True}]),
        },
    }
    long = {"event", "message", "delivery", "lane"}
    for name, values in params.items():
        sql = load("events" if name == "append" else "deliveries")[name]
        given = {"drafts": values[0]} if isinstance(values, list) else values
        async with store.connection() as conn:
            plan = await (await conn.execute("explain " + sql, given)).fetchall()
        text = "\n".join(str(row[0]) for row in plan)
        read_whole = set(re.findall(r"Seq Scan on (\w+)", text)) & long
        assert not read_whole, f"{name} reads {read_whole} from end to end:\n{text}"
        assert re.search(r"Index (Only )?Scan using (event|lane|delivery)_", text), text


def _as_row(head: str, instance: object) -> dict[str, object]:
    event = text_event()
    assert event.message is not None
    return {
        "ord": 0,
        "instance": getattr(instance, "key"),  # noqa: B009
        "owner": getattr(instance, "node"),  # noqa: B009
        "epoch": getattr(instance, "epoch"),  # noqa: B009
        "id": new_event_id(),
        "type": event.type,
        "name": event.name,
        "chat": event.chat,
        "dedup_key": event.dedup_key,
        "head": head,
        "tail": "}",
        "changed_ids": ["A"],
        "changed_to": "read",
    }
