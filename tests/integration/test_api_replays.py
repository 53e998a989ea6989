"""Deliveries by call: looked at, tried again, replayed; beside the live ones, with the same id and the same bytes."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio

from bridge.store import replays
from bridge.store.replays import Selection
from bridge.store.store import Store
from bridge.webhooks.replayer import Replayer
from tests.support.bridge import Bridge, add_key, bridge_on
from tests.support.hooks import DEADLINE_S, Hook, Received, Reply, endpoint, hook, owned, rows, run, text_event


async def made(bridge: Bridge, receiver: Hook, **fields: object) -> str:
    body = {"url": receiver.url, "instance_key": "*", **fields}
    return str((await bridge.call("POST", "/webhooks", body, expect=201))["id"])


async def delivered(store: Store, count: int) -> None:
    with trio.fail_after(DEADLINE_S):
        while (await rows(store, "select count(*) from bridge.delivery where state = 'delivered'"))[0][0] != count:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def done(bridge: Bridge, replay: Any) -> Any:
    with trio.fail_after(DEADLINE_S):
        while (shown := await bridge.call("GET", f"/replays/{replay['id']}"))["state"] == "running":  # noqa: ASYNC110
            await trio.sleep(0.02)
    return shown


def seqs(requests: list[Received]) -> list[int]:
    return [json.loads(request.body)["seq"] for request in requests]


async def test_deliveries_are_shown_with_their_attempts(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        receiver.script = lambda request: (
            Reply(500, body=b"no") if "fails" in str(request.body) else Reply(200, body=b"ok")
        )
        await bridge.instance.append(text_event("a"), text_event("fails"), text_event("b"))
        with trio.fail_after(DEADLINE_S):
            while len((await bridge.call("GET", f"/webhooks/{id}/deliveries?state=failed"))["items"]) != 1:  # noqa: ASYNC110
                await trio.sleep(0.02)
        await delivered(store, 2)
        first = await bridge.call("GET", f"/webhooks/{id}/deliveries?limit=2")
        second = await bridge.call("GET", f"/webhooks/{id}/deliveries?limit=2&cursor={first['next_cursor']}")
        everything = first["items"] + second["items"]
        assert sorted(one["seq"] for one in everything) == [1, 2, 3] and second["next_cursor"] is None
        [failed] = [one for one in everything if one["seq"] == 2]
        assert (failed["state"], failed["attempts"], failed["last_status"]) == ("failed", 1, 500)
        assert failed["next_at"] is not None
        [attempt] = failed["history"]
        assert (attempt["number"], attempt["status"], attempt["answer"]) == (1, 500, "no")
        [good] = [one for one in everything if one["seq"] == 1]
        assert (good["state"], good["answer"], good["history"]) == ("delivered", "ok", [])
        assert good["duration_ms"] is not None
        assert (await bridge.call("GET", f"/webhooks/{id}/deliveries?state=dead"))["items"] == []
        for query, code in (("state=lost", "invalid_field"), ("cursor=x", "invalid_cursor")):
            assert (await bridge.call("GET", f"/webhooks/{id}/deliveries?{query}", expect=400))["code"] == code


async def test_a_pending_delivery_is_tried_at_once_and_one_that_is_over_is_replayed(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        receiver.script = lambda _: Reply(500)
        await bridge.instance.append(text_event())
        with trio.fail_after(DEADLINE_S):
            while not (items := (await bridge.call("GET", f"/webhooks/{id}/deliveries?state=failed"))["items"]):  # noqa: ASYNC110
                await trio.sleep(0.02)
        await run(store, "update bridge.lane set next_at = now() + interval '1 hour'")
        receiver.script = lambda _: Reply()
        path = f"/deliveries/{items[0]['id']}/retry"
        assert await bridge.call("POST", path, expect=202) == {
            "id": items[0]["id"],
            "was": "pending",
            "replay_id": None,
        }
        await delivered(store, 1)
        again = await bridge.call("POST", path, expect=202)
        assert again["was"] == "delivered"
        shown = await done(bridge, {"id": again["replay_id"]})
        assert (shown["count"], shown["delivered"], shown["progress"]) == (1, 1, 1.0)
        first, last = receiver.received[0], receiver.received[-1]
        assert (first.id, first.body) == (last.id, last.body)
        assert last.headers["x-webhook-replay"] == again["replay_id"] and "x-webhook-replay" not in first.headers
        for unknown in ("dlv_x", f"dlv_{'0' * 26}_{id.removeprefix('whk_')}"):
            assert (await bridge.call("POST", f"/deliveries/{unknown}/retry", expect=404))["code"] == "unknown_delivery"


async def test_ranges_of_seq_and_time_types_and_single_events_are_replayed_in_order(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        other = await owned(store)
        for number in range(6):
            await bridge.instance.append(text_event(f"chat {number % 2}"))
            await other.append(text_event())
        middle = datetime.now(UTC) + timedelta(milliseconds=2)  # ids, and so ranges of time, count milliseconds
        while datetime.now(UTC) < middle:  # noqa: ASYNC110 -- the clock tells nobody
            await trio.lowlevel.checkpoint()
        await bridge.instance.append(text_event("late"))
        id = await made(bridge, receiver)  # it was made after all of this: nothing was delivered to it

        async def replayed(**body: object) -> list[Received]:
            receiver.received.clear()
            replay = await bridge.call("POST", f"/webhooks/{id}/replay", body, expect=202)
            shown = await done(bridge, replay)
            assert shown["delivered"] == shown["count"] == len(receiver.received)
            return list(receiver.received)

        mine = bridge.instance.key
        found = await replayed(instance_key=mine, from_seq=2, to_seq=5)
        assert sorted(seqs(found)) == [2, 3, 4, 5]
        for chat in (0, 1):
            ours = [seq for seq in seqs(found) if seq % 2 == chat]
            assert ours == sorted(ours)
        assert {request.headers["x-instance-key"] for request in found} == {mine}
        assert seqs(await replayed(from_time=middle.isoformat())) == [7]
        before = await replayed(to_time=middle.isoformat(), from_time=(middle - timedelta(hours=1)).isoformat())
        assert len(before) == 12
        assert await replayed(from_time=middle.isoformat(), events=["message.sent"]) == []
        assert len(await replayed(from_time=middle.isoformat(), events=["message_received"])) == 1
        assert seqs(await replayed(event_id=found[0].id)) == [seqs(found)[0]]
        assert (await bridge.call("GET", f"/webhooks/{id}/replays"))["replays"][-1]["count"] == 4


async def test_dead_deliveries_are_replayed_once_each(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        await bridge.instance.append(*(text_event(f"chat {number % 3}") for number in range(9)))
        await delivered(store, 9)
        await run(store, "update bridge.delivery set state = 'dead' where seq %% 3 = 0")
        assert (await bridge.call("GET", f"/webhooks/{id}"))["dead_events"] == 3
        receiver.received.clear()
        first = await bridge.call(
            "POST", f"/webhooks/{id}/replay", {"dead": True}, expect=202, **{"Idempotency-Key": "k"}
        )
        again = await bridge.call(
            "POST", f"/webhooks/{id}/replay", {"dead": True}, expect=202, **{"Idempotency-Key": "k"}
        )
        assert first["id"] == again["id"]
        changed = await bridge.call(
            "POST",
            f"/webhooks/{id}/replay",
            {"from_seq": 1, "instance_key": bridge.instance.key},
            expect=422,
            **{"Idempotency-Key": "k"},
        )
        assert changed["code"] == "idempotency_mismatch"
        assert (await done(bridge, first))["count"] == 3
        assert sorted(seqs(receiver.received)) == [3, 6, 9]
        assert await rows(store, "select count(*) from bridge.lane") == [(0,)]


async def test_what_is_on_its_way_is_not_replayed(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        await bridge.call("POST", f"/webhooks/{id}/pause")
        await bridge.instance.append(text_event(), text_event())
        body = {"from_seq": 1, "instance_key": bridge.instance.key}
        replay = await bridge.call("POST", f"/webhooks/{id}/replay", body, expect=202)
        assert (await done(bridge, replay))["count"] == 0
        await bridge.call("POST", f"/webhooks/{id}/resume")
        await delivered(store, 2)
        assert len(receiver.received) == 2


async def test_a_replay_never_takes_the_place_of_a_live_event(store: Store) -> None:
    """Replayed deliveries hang, more of them than there are places; a live one passes them by."""
    async with hook() as receiver, bridge_on(store) as bridge:
        await bridge.instance.append(*(text_event(f"old {number}") for number in range(40)))
        id = await made(bridge, receiver)
        released = trio.Event()

        async def script(request: Received) -> Reply:
            if "x-webhook-replay" in request.headers:
                await released.wait()
            return Reply()

        receiver.script = script
        body = {"from_seq": 1, "instance_key": bridge.instance.key}
        replay = await bridge.call("POST", f"/webhooks/{id}/replay", body, expect=202)
        await receiver.until(lambda: len(receiver.received) == 2)  # the places that replays have
        await bridge.instance.append(*(text_event(f"new {number}") for number in range(20)))
        await receiver.until(lambda: len(receiver.received) == 22)
        assert sum("x-webhook-replay" in request.headers for request in receiver.received) == 2
        released.set()
        assert (await done(bridge, replay))["delivered"] == 40


async def test_a_cancelled_replay_leaves_everything_as_it_was(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        await bridge.instance.append(*(text_event(f"chat {number}") for number in range(4)))
        await delivered(store, 4)
        await run(store, "update bridge.delivery set state = 'dead' where seq = 2")
        await run(store, "delete from bridge.delivery where seq = 3")
        receiver.script = lambda _: Reply(500)
        body = {"from_seq": 1, "instance_key": bridge.instance.key}
        replay = await bridge.call("POST", f"/webhooks/{id}/replay", body, expect=202)
        with trio.fail_after(DEADLINE_S):
            while (await bridge.call("GET", f"/replays/{replay['id']}"))["pending"] != 4:  # noqa: ASYNC110
                await trio.sleep(0.02)
        cancelled = await bridge.call("DELETE", f"/replays/{replay['id']}")
        assert (cancelled["state"], cancelled["pending"]) == ("cancelled", 0)
        states = await rows(store, "select seq, state from bridge.delivery order by seq")
        assert states == [(1, "delivered"), (2, "dead"), (4, "delivered")]
        assert await rows(store, "select count(*) from bridge.lane") == [(0,)]
        assert (await bridge.call("DELETE", f"/replays/{replay['id']}"))["state"] == "cancelled"


async def test_a_replay_goes_on_after_a_restart_and_never_floods_the_lanes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "BATCH", 10)
    monkeypatch.setattr(replays, "BACKLOG", 20)
    instance = await owned(store)
    await instance.append(*(text_event(f"chat {number}") for number in range(75)))
    id = await endpoint(store, "http://127.0.0.1:9/")
    await store.replays.insert("rpl_" + "0" * 26, id, Selection(instance=instance.key, seqs=(0, 100)), b"")
    waiting = 0

    async def lives(until: int) -> None:
        """Run a replayer until so many are in lanes; then it is gone, as after a kill."""
        replayer, stop = Replayer(store, wake=lambda: None), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(replayer.run, stop=stop))
            with trio.fail_after(DEADLINE_S):
                while (await rows(store, "select count(*) from bridge.delivery"))[0][0] < until:  # type: ignore[operator]  # noqa: ASYNC110
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    for until in (20, 40, 60, 75):
        await lives(until)
        [(waiting,)] = await rows(store, "select count(*) from bridge.delivery where state = 'pending'")  # type: ignore[assignment]
        assert waiting <= 30
        await run(store, "update bridge.delivery set state = 'delivered', finished_at = now() where state = 'pending'")
    assert await rows(store, "select count(distinct event_id), count(*) from bridge.delivery") == [(75, 75)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"dead": True, "from_seq": 1}, "body"),
        ({"from_seq": 1}, "instance_key"),
        ({"from_time": "2026-01-01T00:00:00"}, "from_time"),
        ({"from_time": "yesterday"}, "from_time"),
        ({"event_id": "evt_1"}, "event_id"),
        ({"from_seq": -1}, "from_seq"),
    ],
)
async def test_a_replay_of_nothing_clear_is_refused(store: Store, body: dict[str, object], field: str) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        answer = await bridge.call("POST", f"/webhooks/{id}/replay", body, expect=400)
        assert answer["details"]["field"] == field
        assert await rows(store, "select from bridge.replay") == []


async def test_a_key_of_one_instance_replays_to_its_own_endpoints_only(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = await made(bridge, receiver)
        await bridge.instance.append(text_event())
        await delivered(store, 1)
        [item] = (await bridge.call("GET", f"/webhooks/{id}/deliveries"))["items"]
        replay = await bridge.call("POST", f"/deliveries/{item['id']}/retry", expect=202)
        await add_key(store, "a tenant's key", role="operator", instances=[bridge.instance.key])
        bridge.client.headers["X-Api-Key"] = "a tenant's key"
        for method, path in (
            ("GET", f"/webhooks/{id}/deliveries"),
            ("GET", f"/webhooks/{id}/replays"),
            ("POST", f"/webhooks/{id}/replay"),
            ("POST", f"/deliveries/{item['id']}/retry"),
            ("GET", f"/replays/{replay['replay_id']}"),
            ("DELETE", f"/replays/{replay['replay_id']}"),
        ):
            assert (await bridge.call(method, path, expect=404))["code"] == "unknown_webhook"
