"""How a tree comes down: in reverse, each child with its grace, also when cancelled or when something is in the way."""

import logging
from functools import partial

import pytest
import trio
from supervisor_puppets import Puppet, reached, running

from supervisor import BRUTAL_KILL, INFINITY, ChildSpec, IntensityExceeded, State, Strategy, Supervisor
from supervisor.spec import Intensity


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_children_stop_in_reverse_one_after_the_other(autojump_clock, strategy):
    diary = []
    puppets = [Puppet(name, diary, stop_takes_s=2) for name in "abc"]
    async with running(Supervisor("tree", [puppet.spec() for puppet in puppets], strategy=strategy)):
        pass
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert trio.current_time() == 6


async def test_added_children_stop_side_by_side_before_the_first_ones(autojump_clock):
    diary = []
    base = Puppet("base", diary)
    async with running(tree := Supervisor("tree", [base.spec()])):
        for number in range(50):
            await tree.start_child(Puppet(f"{number}", diary, stop_takes_s=3).spec())
    assert trio.current_time() == 3
    assert diary[-1] == "-base"


async def test_infinity_waits_as_long_as_it_takes(autojump_clock):
    puppet = Puppet("a", [], stop_takes_s=5000)
    async with running(Supervisor("tree", [puppet.spec(shutdown_s=INFINITY)])):
        pass
    assert puppet.diary == ["+a", "-a"]


async def test_a_child_that_exceeds_its_grace_is_cancelled(autojump_clock, caplog):
    puppet = Puppet("a", [], stop_takes_s=5000)
    async with running(Supervisor("tree", [puppet.spec(shutdown_s=2)])):
        pass
    assert puppet.diary == ["+a", "!a"]
    assert trio.current_time() == 2
    assert [record.message for record in caplog.records] == ["child.grace_exceeded"]


async def test_brutal_kill_cancels_at_once(autojump_clock):
    puppet = Puppet("a", [], stop_takes_s=1)
    async with running(Supervisor("tree", [puppet.spec(shutdown_s=BRUTAL_KILL)])):
        pass
    assert puppet.diary == ["+a", "!a"]
    assert trio.current_time() == 0


async def test_a_child_that_crashes_while_stopping_does_not_keep_the_others_from_stopping(autojump_clock, caplog):
    async def clumsy(*, stop, task_status):
        task_status.started()
        await stop.wait()
        raise OSError("on the way out")

    puppet = Puppet("a", [])
    async with running(Supervisor("tree", [puppet.spec(), ChildSpec("b", clumsy)])):
        pass
    assert puppet.diary == ["+a", "-a"]
    assert [record.message for record in caplog.records] == ["child.stop_failed"]


@pytest.mark.parametrize("asked", [True, False], ids=["asked to stop", "cancelled from outside"])
async def test_a_child_that_ignores_cancellation_is_reported_and_waited_for(autojump_clock, caplog, asked):
    async def deaf(*, stop, task_status):
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    with trio.CancelScope() as scope:
        async with running(Supervisor("tree", [ChildSpec("a", deaf, shutdown_s=1)])):
            if not asked:
                scope.cancel()
    assert trio.current_time() == 60
    assert ("child.ignores_cancellation", logging.ERROR) in [(r.message, r.levelno) for r in caplog.records]


async def test_a_stop_during_the_start_stops_what_had_started(autojump_clock):
    diary = []
    first, slow = Puppet("first", diary), Puppet("slow", diary, start_takes_s=50)
    tree = Supervisor("tree", [first.spec(), slow.spec(shutdown_s=1), Puppet("never", diary).spec()])
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(tree.run, stop=stop))
        await trio.sleep(5)
        stop.set()
    assert diary == ["+first", "+slow", "!slow", "-first"]
    assert trio.current_time() == 6


async def test_a_supervisor_may_be_stopped_before_it_started(autojump_clock):
    puppet = Puppet("a", [])
    stop = trio.Event()
    stop.set()
    await Supervisor("tree", [puppet.spec()]).run(stop=stop)
    assert "~a" not in puppet.diary


async def test_cancelling_from_outside_still_stops_in_reverse_with_grace(autojump_clock):
    diary = []
    puppets = [Puppet(name, diary, stop_takes_s=3) for name in "ab"]
    tree = Supervisor("tree", [puppet.spec() for puppet in puppets])
    with trio.move_on_after(10) as scope:
        await tree.run(stop=trio.Event())
    assert scope.cancelled_caught
    assert diary == ["+a", "+b", "-b", "-a"]
    assert trio.current_time() == 16
    assert tree.snapshot().state is State.STOPPED


async def test_the_grace_of_a_tree_cancelled_from_outside_is_bounded(autojump_clock):
    diary = []
    puppets = [Puppet(name, diary, stop_takes_s=1000) for name in "ab"]
    specs = [puppet.spec(shutdown_s=INFINITY) for puppet in puppets]
    with trio.move_on_after(10):
        await Supervisor("tree", specs, cancel_grace_s=20).run(stop=trio.Event())
    assert sorted(diary) == ["!a", "!b", "+a", "+b"]
    assert trio.current_time() == 30


async def test_a_tree_cancelled_while_it_stops_is_cancelled_at_once(autojump_clock):
    diary = []
    specs = [Puppet(name, diary, stop_takes_s=1000).spec(shutdown_s=INFINITY) for name in "ab"]
    stop = trio.Event()
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(Supervisor("tree", specs).run, stop=stop))
            await trio.sleep(5)
            stop.set()
    assert sorted(diary) == ["!a", "!b", "+a", "+b"]
    assert trio.current_time() == 10


def nested(diary, **below):
    inner = Supervisor("inner", [Puppet(name, diary, **below).spec(shutdown_s=4) for name in "bc"])
    specs = [Puppet("a", diary).spec(), inner.as_child(), Puppet("d", diary).spec()]
    return inner, Supervisor("outer", specs, strategy=Strategy.REST_FOR_ONE)


async def test_a_nested_tree_comes_down_in_reverse(autojump_clock):
    diary = []
    _, outer = nested(diary, stop_takes_s=3)
    async with running(outer):
        assert diary == ["+a", "+b", "+c", "+d"]
    assert diary[4:] == ["-d", "-c", "-b", "-a"]
    assert trio.current_time() == 6


async def test_a_nested_tree_cancelled_from_outside_comes_down_in_reverse_too(autojump_clock):
    diary = []
    _, outer = nested(diary, stop_takes_s=3)
    with trio.move_on_after(10):
        await outer.run(stop=trio.Event())
    assert diary[4:] == ["-d", "-c", "-b", "-a"]
    assert trio.current_time() == 16


async def test_a_supervisor_killed_by_its_parent_cancels_its_children_at_once(autojump_clock):
    diary = []
    inner = Supervisor("inner", [Puppet("a", diary, stop_takes_s=50).spec(shutdown_s=INFINITY)])
    async with running(Supervisor("outer", [ChildSpec("inner", inner.run, shutdown_s=2)])):
        pass
    assert diary == ["+a", "!a"]
    assert trio.current_time() == 2


async def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent(autojump_clock):
    puppet = Puppet("a", [])
    inner = Supervisor("inner", [puppet.spec()], intensity=Intensity(0, 1))
    async with running(outer := Supervisor("outer", [inner.as_child()])):
        puppet.end(ValueError("boom"))
        await reached(outer, "inner", State.RUNNING, restarts=1)
        assert inner.child("a").state is State.RUNNING
        assert outer.child("inner").last_error.startswith("IntensityExceeded: ")
    assert puppet.diary == ["+a", "~a", "+a", "-a"]


async def test_escalation_climbs_to_the_top(autojump_clock):
    puppet = Puppet("a", [])
    inner = Supervisor("inner", [puppet.spec()], intensity=Intensity(0, 1))
    with pytest.RaisesGroup(IntensityExceeded):
        async with running(Supervisor("outer", [inner.as_child()], intensity=Intensity(0, 1))):
            puppet.end(ValueError("boom"))
            await trio.sleep_forever()
