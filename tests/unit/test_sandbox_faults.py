"""Faults without a client: whom they strike, when they end, what is drawn from a seed, and the media host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.sandbox.fault_plan import Fault, Step, draw
from bridge.sandbox.faults import BadFault, Request, UnknownFault
from bridge.sandbox.interference import Interference
from bridge.sandbox.nodes import Node, decode, encode
from bridge.sandbox.state import State
from bridge.sandbox.world import World

A, B = "4915700000001", "4915700000002"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State(tmp_path / "sandbox.db")
    world = World.load(state)
    world.phones.create(A, "Ada")
    world.phones.create(B, "Bob")
    yield world
    state.close()


async def test_a_fault_of_one_phone_leaves_the_others_alone(world: World) -> None:
    a, b = world.accounts.by_phone(A), world.accounts.by_phone(B)
    world.faults.apply(Request("rate_limited", account=a))
    assert world.faults.strike("rate_limited", b) is None
    assert world.faults.strike("rate_limited", a) is not None


async def test_a_fault_ends_with_its_count(world: World) -> None:
    number, _ = world.faults.apply(Request("rate_limited", count=2))
    a = world.accounts.by_phone(A)
    assert [world.faults.strike("rate_limited", a) is not None for _ in range(3)] == [True, True, False]
    assert [(entry.number, entry.struck) for entry in world.faults.over] == [(number, 2)]


async def test_a_fault_ends_with_its_time(world: World, autojump_clock: trio.testing.MockClock) -> None:
    world.faults.apply(Request("half_open", seconds=5))
    began = trio.current_time()
    await world.faults.passage(None)
    assert trio.current_time() - began == pytest.approx(5)
    assert world.faults.list() == []


async def test_a_fault_that_is_ended_by_call_lets_everybody_pass(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    world.faults.apply(Request("half_open"))
    passed = []

    async def wait() -> None:
        await world.faults.passage(None)
        passed.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(100)
        assert not passed
        world.faults.apply(Request("half_open", seconds=0))
    assert passed


async def test_ending_the_faults_of_one_phone_leaves_those_of_another(world: World) -> None:
    a, b = world.accounts.by_phone(A), world.accounts.by_phone(B)
    world.faults.apply(Request("slow", account=a))
    world.faults.apply(Request("slow", account=b))
    world.faults.apply(Request("slow", account=a, seconds=0))
    assert [entry.request.account for entry in world.faults.list()] == [b]
    assert world.faults.clear() == 1


async def test_an_unanswered_query_is_one_of_its_kind(world: World) -> None:
    world.faults.apply(Request("unanswered", xmlns="w:g2", tag="query"))
    a = world.accounts.by_phone(A)
    meant = Node("iq", {"xmlns": "w:g2"}, [Node("query")])
    others = [Node("iq", {"xmlns": "w:g2"}, [Node("invite")]), Node("iq", {"xmlns": "usync"}, [Node("query")])]
    assert world.faults.strikes_query(a, meant)
    assert not any(world.faults.strikes_query(a, other) for other in others)


async def test_the_media_host_refuses_in_the_direction_that_is_asked_for(world: World) -> None:
    world.faults.apply(Request("media", code=410, direction="download", count=1))
    assert world.faults.media_status("upload") is None
    assert world.faults.media_status("download") == 410
    assert world.faults.media_status("download") is None


async def test_messages_that_are_held_back_come_behind_the_next(world: World) -> None:
    later: list[object] = []
    interference = Interference(world.faults, world.oracle, lambda *call: later.append(call))
    device = world.accounts.by_phone(A).devices[0]
    posted: list[bytes] = []
    texts = [encode(Node("message", {"id": str(index)})) for index in range(3)]
    world.faults.apply(Request("reordered", count=1))
    for text in texts:
        interference.outgoing(device, text, posted.append)
    assert posted == [texts[1], texts[0], texts[2]]
    assert len(later) == 1


@pytest.mark.parametrize("size", [9, 64, 200])
async def test_a_corrupted_message_differs_in_one_bit(world: World, size: int) -> None:
    interference = Interference(world.faults, world.oracle, lambda *_: None)
    posted: list[bytes] = []
    sent = Node("message", {"id": "1"}, [Node("enc", {"type": "msg"}, bytes(size))])
    world.faults.apply(Request("corrupted"))
    interference.outgoing(world.accounts.by_phone(A).devices[0], encode(sent), posted.append)
    (arrived,) = (decode(stanza).children()[0].data() for stanza in posted)
    assert [byte for byte in arrived if byte] == [1]
    assert len(arrived) == size


def test_the_same_seed_draws_the_same_faults() -> None:
    drawn = draw(5, 60, 50, phones=[A, B])
    assert drawn == draw(5, 60, 50, phones=[A, B])
    assert drawn != draw(6, 60, 50, phones=[A, B])
    assert [step.at_s for step in drawn] == sorted(step.at_s for step in drawn)
    assert all(0 <= step.at_s <= 60 for step in drawn)


async def test_whatever_is_drawn_makes_sense(world: World) -> None:
    for step in draw(1, 60, 500, phones=[A, B]):
        world.faults.check(world.schedules.request(step.fault))
    with pytest.raises(BadFault):
        draw(1, 60, 5, kinds=["logged_out"])


async def test_a_schedule_keeps_its_times_and_can_be_ended(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(world.schedules.run)
        steps = [Step(30, Fault("slow", seconds=1)), Step(10, Fault("cut")), Step(20, Fault("slow", seconds=5))]
        begun = world.schedules.begin(steps)
        await trio.sleep(21)
        assert len(begun.done) == 2
        assert [entry.request.kind for entry in world.faults.list()] == ["slow"]
        assert world.schedules.end_all() == 1
        await trio.sleep(60)
        assert len(begun.done) == 2
        nursery.cancel_scope.cancel()


async def test_a_schedule_with_one_bad_step_is_not_begun(world: World) -> None:
    for bad in (Step(1, Fault("earthquake")), Step(1e9, Fault("cut")), Step(1, Fault("cut", seconds=1))):
        with pytest.raises((BadFault, UnknownFault)):
            world.schedules.begin([Step(0, Fault("cut")), bad])
    assert not world.schedules.all
