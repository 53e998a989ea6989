"""The sandbox's own load: the same for the same seed, at its rate, without a memory of what is done."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.sandbox.load import KINDS, BadLoad, Load, Plan
from bridge.sandbox.state import State
from bridge.sandbox.verdict import judge
from bridge.sandbox.world import World
from ops.bench.sandbox_rate import TARGET_PER_S, measure, pair

A, B = "4915700000001", "4915700000002"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State(tmp_path / "sandbox.db")
    yield World.load(state)
    state.close()


async def carried_out(world: World, *plans: Plan) -> list[Load]:
    """Carry loads out, one after the other, to clients that acknowledge."""
    loads = []
    async with trio.open_nursery() as nursery:
        await nursery.start(world.state.commit_always)
        await nursery.start(world.loads.run)
        for phone in (A, B):
            nursery.start_soon(pair(world, phone).run)
        for plan in plans:
            load = world.loads.begin(plan, world.oracle.last())
            await load.finished.wait()
            loads.append(load)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return loads


async def test_the_same_seed_sends_the_same_messages(world: World) -> None:
    plans = [Plan(2, 5, count=60, kind="mixed", seed=seed) for seed in (3, 3, 4)]
    loads = await carried_out(world, *plans)
    told = [[(m.sender, m.recipient, m.kind, m.text) for m in world.oracle.after(load.first_seq, 60)] for load in loads]
    assert told[0] == told[1]
    assert told[0] != told[2]
    assert {m[0] for m in told[0]} > {m[0] for m in told[0][:1]}
    assert {m[1] for m in told[0]} == {A, B}
    assert [(load.sent, load.done, load.error) for load in loads] == [(60, True, None)] * 3


async def test_a_load_keeps_its_rate(world: World, autojump_clock: trio.testing.MockClock) -> None:
    (load,) = await carried_out(world, Plan([A], 3, rate_per_s=100, count=300))
    assert load.seconds == pytest.approx(2.98, abs=0.05)
    assert {m.recipient for m in world.oracle.after(0, 300)} == {A}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_arrives(world: World, kind: str) -> None:
    await carried_out(world, Plan(1, 2, count=5, kind=kind))
    assert judge(world.oracle.all(0)).acknowledged == 5


async def test_a_load_can_be_ended(world: World, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(world.state.commit_always)
        await nursery.start(world.loads.run)
        nursery.start_soon(pair(world, A).run)
        load = world.loads.begin(Plan(1, 2, rate_per_s=10, count=1000), 0)
        await trio.sleep(5)
        assert world.loads.end_all() == 1
        await load.finished.wait()
        assert 40 < load.sent < 60
        assert world.loads.end_all() == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "plan",
    [Plan(1), Plan([]), Plan([], contacts=0), Plan(count=0), Plan(rate_per_s=0), Plan(kind="nothing"), Plan(0)],
    ids=str,
)
async def test_a_load_that_makes_no_sense_is_refused(world: World, plan: Plan) -> None:
    with pytest.raises(BadLoad):
        world.loads.begin(plan, 0)
    assert not world.loads.all
    assert world.oracle.count() == 0


async def test_what_is_done_is_not_remembered_in_memory(world: World) -> None:
    await carried_out(world, Plan(2, 10, count=1000))
    before = sys.getallocatedblocks()
    await carried_out(world, Plan(2, 10, count=3000, seed=2))
    grown = sys.getallocatedblocks() - before
    assert grown < 1500, f"{grown} blocks for 3000 messages"


async def test_one_core_makes_a_thousand_messages_a_second() -> None:
    rate = await measure(2000)
    print(f"the sandbox made {rate.per_cpu_s:.0f} messages per second of one core")
    assert rate.clean
    assert rate.per_cpu_s >= TARGET_PER_S
