"""Starts that succeed, fail, hang and refuse, at first and later, and children that come and go at run time."""

from functools import partial

import pytest
import trio
from supervisor_puppets import Puppet, gone, reached, running

from supervisor import (
    BRUTAL_KILL,
    ChildExists,
    ChildSpec,
    Ignore,
    Intensity,
    IntensityExceeded,
    NoSuchChild,
    NotRunning,
    Parking,
    Restart,
    Shutdown,
    StartFailed,
    State,
    Strategy,
    Supervisor,
)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(
    ("how", "says"),
    [(OSError("no route"), "no route"), ("hang", "not within 30 s"), ("return", "returned before"), (Shutdown(), "")],
    ids=["raises", "hangs", "returns", "shuts down"],
)
async def test_a_first_start_that_fails_stops_what_was_started_and_is_raised(autojump_clock, strategy, how, says):
    diary = []
    first, second = Puppet("first", diary, stop_takes_s=1), Puppet("second", diary)
    second.on_start = [how]
    tree = Supervisor("tree", [first.spec(), second.spec()], strategy=strategy)
    with pytest.raises(StartFailed) as caught:
        await tree.run(stop=trio.Event())
    assert says in str(caught.value.__cause__)
    assert diary[:2] == ["+first", "+second"]
    assert diary[-1] == "-first"


async def test_a_child_that_refuses_is_kept_down_and_the_others_start(autojump_clock):
    shy, other = Puppet("shy", []), Puppet("other", [])
    shy.on_start = [Ignore()]
    async with running(tree := Supervisor("tree", [shy.spec(), other.spec()])):
        assert tree.child("shy").state is State.STOPPED
        assert tree.child("other").state is State.RUNNING
        await trio.sleep(100)
        assert len(shy.starts) == 1
        assert await tree.restart_child("shy") == 2
        assert tree.child("shy").state is State.RUNNING


async def test_a_child_that_refuses_its_restart_stays_down(autojump_clock):
    shy = Puppet("shy", [])
    async with running(tree := Supervisor("tree", [shy.spec()])):
        shy.on_start = [Ignore()]
        shy.end(ValueError("boom"))
        await reached(tree, "shy", State.STOPPED)
        assert len(shy.starts) == 2


async def test_ignore_after_the_start_is_a_crash(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        puppet.end(Ignore())
        await reached(tree, "a", State.RUNNING, restarts=1)


async def test_a_restart_that_fails_or_hangs_is_tried_again_and_counts(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec(start_timeout_s=3)], intensity=Intensity(3, 1000))
    with pytest.RaisesGroup(IntensityExceeded):
        async with running(tree):
            puppet.on_start = [OSError("no"), "hang"]
            puppet.end(ValueError("boom"))
            await reached(tree, "a", State.RUNNING, restarts=3)
            assert "not within 3 s" in tree.child("a").last_error
            puppet.end(ValueError("boom"))
            await trio.sleep_forever()


async def test_started_called_twice_is_told_to_the_child(autojump_clock):
    async def eager(*, stop, task_status):
        task_status.started()
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started()
        await stop.wait()

    async with running(Supervisor("tree", [ChildSpec("a", eager)])):
        pass


async def test_a_started_child_is_no_longer_bound_by_the_deadline_of_its_start(autojump_clock):
    puppet = Puppet("a", [], start_takes_s=2)
    async with running(Supervisor("tree", [puppet.spec(start_timeout_s=3)])):
        await trio.sleep(1000)
    assert puppet.diary == ["+a", "-a"]


async def test_start_child_returns_what_started_was_given(autojump_clock):
    async def child(*, stop, task_status):
        task_status.started("here I am")
        await stop.wait()

    async with running(tree := Supervisor("tree")):
        assert await tree.start_child(ChildSpec("a", child)) == "here I am"


async def test_start_child_that_fails_tells_the_caller_and_keeps_nothing(autojump_clock):
    puppet = Puppet("a", [])
    for parking in (None, Parking()):
        async with running(tree := Supervisor("tree", parking=parking)):
            puppet.on_start = [OSError("no route")]
            with pytest.raises(StartFailed) as caught:
                await tree.start_child(puppet.spec())
            assert isinstance(caught.value.__cause__, OSError)
            assert tree.child("a") is None
            await tree.start_child(puppet.spec())


async def test_start_child_that_refuses_returns_none_and_is_kept(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree")):
        puppet.on_start = [Ignore()]
        assert await tree.start_child(puppet.spec()) is None
        assert tree.child("a").state is State.STOPPED
        brief = Puppet("b", [])
        brief.on_start = [Ignore()]
        assert await tree.start_child(brief.spec(restart=Restart.TEMPORARY)) is None
        assert tree.child("b") is None


async def test_a_start_that_hangs_does_not_hold_up_another(autojump_clock):
    slow, quick = Puppet("slow", [], start_takes_s=20), Puppet("quick", [])
    async with running(tree := Supervisor("tree")), trio.open_nursery() as nursery:
        nursery.start_soon(tree.start_child, slow.spec())
        await tree.start_child(quick.spec())
        assert trio.current_time() < 1


async def test_a_cancelled_start_child_leaves_no_child(autojump_clock):
    puppet = Puppet("a", [], start_takes_s=20)
    async with running(tree := Supervisor("tree")):
        with trio.move_on_after(5):
            await tree.start_child(puppet.spec(shutdown_s=BRUTAL_KILL))
        await gone(tree, "a")
        assert puppet.diary == ["+a", "!a"]


async def test_stop_child_stops_for_good_and_restart_child_starts_again(autojump_clock):
    puppet = Puppet("a", [], stop_takes_s=2)
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        await tree.stop_child("a")
        assert trio.current_time() == 2
        assert tree.child("a").state is State.STOPPED
        await tree.stop_child("a")
        await trio.sleep(100)
        assert await tree.restart_child("a") == 2
        assert puppet.diary == ["+a", "-a", "+a"]


async def test_stop_child_in_backoff_ends_the_wait(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        puppet.end()
        await reached(tree, "a", State.BACKOFF)
        await tree.stop_child("a")
        await trio.sleep(100)
        assert len(puppet.starts) == 1


async def test_a_stop_that_was_begun_is_finished_without_its_caller(autojump_clock):
    puppet = Puppet("a", [], stop_takes_s=4)
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        with trio.move_on_after(1):
            await tree.stop_child("a")
        await reached(tree, "a", State.STOPPED)
        assert puppet.diary == ["+a", "-a"]


async def test_restart_child_that_fails_tells_the_caller_and_stays_supervised(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        await tree.stop_child("a")
        puppet.on_start = [OSError("no route")]
        with pytest.raises(StartFailed):
            await tree.restart_child("a")
        await reached(tree, "a", State.RUNNING)


async def test_a_child_stopped_in_its_first_start_can_be_restarted_and_is_supervised_then(autojump_clock):
    puppet = Puppet("a", [], start_takes_s=3)
    async with running(tree := Supervisor("tree")):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _start():
                with pytest.raises(StartFailed, match="was stopped"):
                    await tree.start_child(puppet.spec(shutdown_s=BRUTAL_KILL))

            await trio.sleep(1)
            await tree.stop_child("a")
        puppet.on_start = [OSError("no route")]
        with pytest.raises(StartFailed):
            await tree.restart_child("a")
        await reached(tree, "a", State.RUNNING)


async def test_a_restart_ended_by_a_stop_tells_its_caller(autojump_clock):
    puppet = Puppet("a", [], start_takes_s=3)
    async with running(tree := Supervisor("tree", [puppet.spec()])), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _restart():
            with pytest.raises(StartFailed, match="was stopped"):
                await tree.restart_child("a")

        await reached(tree, "a", State.STARTING)
        await tree.stop_child("a")


async def test_callers_of_restart_child_at_the_same_time_all_hear_of_the_start(autojump_clock):
    puppet = Puppet("a", [], start_takes_s=1)
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(tree.restart_child, "a")
        assert tree.child("a").state is State.RUNNING


async def test_delete_child_stops_and_forgets(autojump_clock):
    puppet = Puppet("a", [], stop_takes_s=1)
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        await tree.delete_child("a")
        assert tree.child("a") is None
        assert puppet.diary == ["+a", "-a"]
        await tree.start_child(puppet.spec())
        await tree.stop_child("a")
        await tree.delete_child("a")
        assert tree.child("a") is None


async def test_wrong_ids_and_moments_are_refused(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec()])
    with pytest.raises(NotRunning):
        await tree.start_child(puppet.spec())
    with pytest.raises(NoSuchChild):
        await tree.stop_child("a")
    async with running(tree):
        with pytest.raises(ChildExists):
            await tree.start_child(puppet.spec())
        for call in (tree.stop_child, tree.restart_child, tree.delete_child):
            with pytest.raises(NoSuchChild):
                await call("nobody")
        with pytest.raises(RuntimeError, match="already running"):
            await tree.run(stop=trio.Event())
    with pytest.raises(NotRunning):
        await tree.start_child(Puppet("b", []).spec())
    with pytest.raises(NotRunning):
        await tree.restart_child("a")
    with pytest.raises(ValueError, match="differ"):
        Supervisor("tree", [puppet.spec(), puppet.spec()])


async def test_many_temporary_children_come_and_go_and_leave_nothing(autojump_clock):
    ended = 0

    async def brief(number, *, stop, task_status):
        nonlocal ended
        task_status.started(number)
        await trio.sleep(number % 7)
        ended += 1
        if number % 3 == 0:
            raise ValueError(number)

    async with running(tree := Supervisor("tree", intensity=Intensity(0, 1))):
        for number in range(1000):
            spec = ChildSpec(f"job {number}", partial(brief, number), Restart.TEMPORARY)
            assert await tree.start_child(spec) == number
        await trio.sleep(10)
        assert ended == 1000
        assert tree.snapshot().children == ()


async def test_a_supervisor_run_again_begins_with_its_first_children(autojump_clock):
    first, added = Puppet("first", []), Puppet("added", [])
    tree = Supervisor("tree", [first.spec()])
    for _ in range(2):
        async with running(tree):
            assert [child.name for child in tree.snapshot().children] == ["first"]
            await tree.start_child(added.spec())
    assert len(first.starts) == 2
