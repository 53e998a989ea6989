"""Which ends lead to a restart, when it comes, and what follows when there are too many."""

import logging

import pytest
import trio
from supervisor_puppets import Puppet, gone, reached, running

from supervisor import (
    Backoff,
    ChildSpec,
    Intensity,
    IntensityExceeded,
    Parking,
    Restart,
    Shutdown,
    State,
    Supervisor,
)

STEADY = Backoff(first_s=1, max_s=8, factor=2, jitter=0)


@pytest.mark.parametrize("error", [None, Shutdown(), ValueError("boom")], ids=["normal", "shutdown", "abnormal"])
async def test_a_permanent_child_is_restarted_whatever_its_end(autojump_clock, error):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        puppet.end(error)
        await reached(tree, "a", State.RUNNING, restarts=1)
    assert len(puppet.starts) == 2


@pytest.mark.parametrize("error", [None, Shutdown()], ids=["normal", "shutdown"])
async def test_a_transient_child_that_ended_as_it_should_stays_known_and_down(autojump_clock, error):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec(restart=Restart.TRANSIENT)])):
        puppet.end(error)
        await reached(tree, "a", State.STOPPED)
        await trio.sleep(100)
        assert tree.child("a").last_error is None
        await tree.restart_child("a")
    assert len(puppet.starts) == 2


async def test_a_transient_child_that_crashed_is_restarted(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec(restart=Restart.TRANSIENT)])):
        puppet.end(ValueError("boom"))
        await reached(tree, "a", State.RUNNING, restarts=1)
        assert tree.child("a").last_error == "ValueError: boom"


@pytest.mark.parametrize("error", [None, Shutdown(), ValueError("boom")], ids=["normal", "shutdown", "abnormal"])
async def test_a_temporary_child_is_forgotten_whatever_its_end(autojump_clock, error):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec(restart=Restart.TEMPORARY)])):
        puppet.end(error)
        await gone(tree, "a")
        await trio.sleep(100)
    assert len(puppet.starts) == 1


async def test_an_error_group_from_a_childs_nursery_is_one_crash_and_shutdown_inside_it_still_is_one(autojump_clock):
    async def grouped(*, stop, task_status):
        task_status.started()
        async with trio.open_nursery():
            raise errors.pop(0)

    errors = [ValueError("boom"), Shutdown()]
    spec = ChildSpec("a", grouped, Restart.TRANSIENT)
    async with running(tree := Supervisor("tree", [spec])):
        await reached(tree, "a", State.STOPPED, restarts=1)
        assert tree.child("a").last_error == "ValueError: boom"


async def test_restarts_back_off_and_each_gets_a_fresh_stop_event(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()], backoff=STEADY)):
        for restarts in range(1, 5):
            puppet.end(ValueError("boom"))
            await reached(tree, "a", State.BACKOFF)
            await reached(tree, "a", State.RUNNING, restarts=restarts)
    gaps = [later - earlier for earlier, later in zip(puppet.starts, puppet.starts[1:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4, 8])
    assert len(set(map(id, puppet.stops))) == 5


async def test_a_calm_period_resets_the_backoff(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec()], backoff=STEADY, intensity=Intensity(5, 30))
    async with running(tree):
        for restarts in range(1, 4):
            puppet.end(ValueError("boom"))
            await reached(tree, "a", State.RUNNING, restarts=restarts)
            await trio.sleep(60)
    gaps = [later - earlier for earlier, later in zip(puppet.starts, puppet.starts[1:], strict=False)]
    assert gaps == pytest.approx([1, 61, 61])


async def test_jitter_takes_its_share_of_the_delay(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec()], backoff=Backoff(10, 10, jitter=0.5), rng=lambda: 0.2)
    async with running(tree):
        puppet.end()
        await reached(tree, "a", State.RUNNING, restarts=1)
    assert puppet.starts[1] - puppet.starts[0] == pytest.approx(6)


async def test_too_many_restarts_stop_the_siblings_and_escalate(autojump_clock):
    diary = []
    bad, good = Puppet("bad", diary), Puppet("good", diary, stop_takes_s=1)
    tree = Supervisor("tree", [good.spec(), bad.spec()], intensity=Intensity(2, 60))

    async def crash_on():
        for restarts in range(3):
            await reached(tree, "bad", State.RUNNING, restarts=restarts)
            bad.end(ValueError(f"crash {restarts}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_on)
        with pytest.raises(IntensityExceeded) as caught:
            await tree.run(stop=trio.Event())
    assert str(caught.value.__cause__) == "crash 2"
    assert caught.value.fields == {"supervisor": "tree", "child": "bad"}
    assert diary[-1] == "-good"
    assert tree.snapshot().state is State.STOPPED
    assert tree.snapshot().last_error.startswith("IntensityExceeded")


async def test_the_intensity_without_parking_counts_over_all_children(autojump_clock):
    puppets = [Puppet(name, []) for name in "abc"]
    tree = Supervisor("tree", [puppet.spec() for puppet in puppets], intensity=Intensity(2, 60))
    third = pytest.RaisesExc(IntensityExceeded, check=lambda error: error.fields["child"] == "c")
    with pytest.RaisesGroup(third):
        async with running(tree):
            for puppet in puppets:
                puppet.end(ValueError("boom"))
                await reached(tree, puppet.name, State.RUNNING, restarts=1)


async def test_restarts_spread_wider_than_the_period_never_escalate(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()], intensity=Intensity(1, 10))):
        for restarts in range(1, 20):
            puppet.end(ValueError("boom"))
            await reached(tree, "a", State.RUNNING, restarts=restarts)
            await trio.sleep(11)


async def test_zero_restarts_escalates_at_the_first_end(autojump_clock):
    puppet = Puppet("a", [])
    with pytest.RaisesGroup(IntensityExceeded):
        async with running(Supervisor("tree", [puppet.spec()], intensity=Intensity(0, 10))):
            puppet.end()
            await trio.sleep_forever()
    assert len(puppet.starts) == 1


async def crash_until_parked(tree, puppet):
    while tree.child(puppet.name).state is not State.PARKED:
        if tree.child(puppet.name).state is State.RUNNING:
            puppet.end(ValueError("boom"))
        await tree.changed()


async def test_parking_counts_each_child_alone_and_leaves_the_siblings_alone(autojump_clock):
    bad, other, good = (Puppet(name, []) for name in ("bad", "other", "good"))
    tree = Supervisor("tree", [bad.spec(), other.spec(), good.spec()], intensity=Intensity(2, 60), parking=Parking(300))
    async with running(tree):
        await crash_until_parked(tree, bad)
        for restarts in (1, 2):
            other.end(ValueError("boom"))
            await reached(tree, "other", State.RUNNING, restarts=restarts)
        assert tree.child("bad").state is State.PARKED
        assert len(bad.starts) == 3
        assert len(good.starts) == 1


async def test_a_parked_child_is_tried_again_later_and_parked_at_once_when_that_fails(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec()], intensity=Intensity(2, 60), parking=Parking(300))
    async with running(tree):
        await crash_until_parked(tree, puppet)
        parked_at = trio.current_time()
        await reached(tree, "a", State.RUNNING)
        assert trio.current_time() - parked_at == pytest.approx(300)
        tries = len(puppet.starts)
        await crash_until_parked(tree, puppet)
        assert len(puppet.starts) == tries
        await reached(tree, "a", State.RUNNING)
        await trio.sleep(61)  # it held for a period: its past is forgotten
        puppet.end(ValueError("boom"))
        await reached(tree, "a", State.BACKOFF)


async def test_a_parked_child_restarted_by_a_call_starts_at_once_with_a_clean_past(autojump_clock):
    puppet = Puppet("a", [])
    tree = Supervisor("tree", [puppet.spec()], intensity=Intensity(2, 60), parking=Parking(300))
    async with running(tree):
        await crash_until_parked(tree, puppet)
        before = trio.current_time()
        assert await tree.restart_child("a") == 4
        assert trio.current_time() == before
        puppet.end(ValueError("boom"))
        await reached(tree, "a", State.BACKOFF)


async def test_a_stop_wakes_backoff_and_parking_at_once(autojump_clock):
    slow, parked = Puppet("slow", []), Puppet("parked", [])
    tree = Supervisor(
        "tree",
        [slow.spec(), parked.spec()],
        intensity=Intensity(1, 1000),
        backoff=Backoff(500, 500, jitter=0),
        parking=Parking(300),
    )
    async with running(tree) as stop:
        await crash_until_parked(tree, parked)
        slow.end(ValueError("boom"))
        await reached(tree, "slow", State.BACKOFF)
        before = trio.current_time()
        stop.set()
        while tree.snapshot().state is not State.STOPPED:
            await tree.changed()
        assert trio.current_time() == before


async def test_a_crash_is_logged_with_its_traceback_and_names(autojump_clock, caplog):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        puppet.end(ValueError("boom"))
        await reached(tree, "a", State.RUNNING, restarts=1)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.message, record.supervisor, record.child, record.verdict) == (
        "child.crashed",
        "tree",
        "a",
        "restarted",
    )
    assert isinstance(record.exc_info[1], ValueError)


async def test_keyboard_interrupt_in_a_child_is_not_its_crash_and_the_siblings_still_stop(autojump_clock):
    diary = []
    bad, good = Puppet("bad", diary), Puppet("good", diary, stop_takes_s=1)
    with pytest.RaisesGroup(pytest.RaisesGroup(KeyboardInterrupt)):
        async with running(Supervisor("tree", [good.spec(), bad.spec()])):
            bad.end(KeyboardInterrupt())
            await trio.sleep_forever()
    assert len(bad.starts) == 1
    assert diary[-1] == "-good"
