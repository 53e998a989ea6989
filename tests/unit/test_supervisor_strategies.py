"""one_for_one, one_for_all and rest_for_one: who is restarted with whom, in which order, also when more goes wrong."""

import pytest
import trio
from supervisor_puppets import Puppet, gone, reached, running

from supervisor import Backoff, Intensity, IntensityExceeded, Parking, Restart, State, Strategy, Supervisor

SLOW = Backoff(first_s=1, max_s=1, jitter=0)


def family(names="abc", **fields):
    diary = []
    puppets = {name: Puppet(name, diary, **fields) for name in names}
    return diary, puppets


def tree_of(puppets, strategy, specs=None, **fields):
    children = [puppet.spec(**(specs or {}).get(name, {})) for name, puppet in puppets.items()]
    return Supervisor("tree", children, strategy=strategy, backoff=SLOW, **fields)


@pytest.mark.parametrize(
    ("strategy", "then"),
    [
        (Strategy.ONE_FOR_ONE, ["~b", "+b"]),
        (Strategy.ONE_FOR_ALL, ["~b", "-c", "-a", "+a", "+b", "+c"]),
        (Strategy.REST_FOR_ONE, ["~b", "-c", "+b", "+c"]),
    ],
)
async def test_a_crash_restarts_who_the_strategy_names_stopped_in_reverse_started_in_order(
    autojump_clock, strategy, then
):
    diary, puppets = family(stop_takes_s=0.1, start_takes_s=0.1)
    async with running(tree := tree_of(puppets, strategy)):
        assert diary == ["+a", "+b", "+c"]
        diary.clear()
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "b", State.RUNNING, restarts=1)
        await reached(tree, "c", State.RUNNING)
        assert diary == then


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_each_strategy_escalates_and_stops_in_reverse(autojump_clock, strategy):
    diary, puppets = family()
    tree = tree_of(puppets, strategy, intensity=Intensity(1, 100))
    with pytest.RaisesGroup(IntensityExceeded):
        async with running(tree):
            for restarts in range(2):
                await reached(
                    tree, "c", State.RUNNING, restarts=restarts if strategy is not Strategy.ONE_FOR_ONE else 0
                )
                await reached(tree, "b", State.RUNNING, restarts=restarts)
                diary.clear()
                puppets["b"].end(ValueError("boom"))
            await trio.sleep_forever()
    assert diary == ["~b", "-c", "-a"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_sibling_that_fails_to_start_during_a_restart_makes_it_begin_again(autojump_clock, strategy):
    diary, puppets = family()
    async with running(tree := tree_of(puppets, strategy)):
        diary.clear()
        puppets["b"].on_start = [OSError("not yet")]
        puppets["a"].end(ValueError("boom"))
        await reached(tree, "c", State.RUNNING, restarts=1)
        again = ["+b", "+c"] if strategy is Strategy.REST_FOR_ONE else ["-a", "+a", "+b", "+c"]
        assert diary == ["~a", "-c", "-b", "+a", "+b", *again]


async def test_an_earlier_child_that_crashes_during_a_restart_takes_the_rest_down_with_it(autojump_clock):
    diary, puppets = family("abcd")
    async with running(tree := tree_of(puppets, Strategy.REST_FOR_ONE)):
        diary.clear()
        puppets["c"].on_start = ["hang"]
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "c", State.STARTING, restarts=1)
        await trio.sleep(1)
        puppets["a"].end(ValueError("me too"))
        await reached(tree, "d", State.RUNNING, restarts=1)
        assert diary == ["~b", "-d", "-c", "+b", "+c", "~a", "!c", "-b", "+a", "+b", "+c", "+d"]


async def test_a_sibling_that_crashes_while_it_waits_to_be_stopped_counts_once(autojump_clock):
    diary, puppets = family(stop_takes_s=1)
    async with running(tree := tree_of(puppets, Strategy.ONE_FOR_ALL, intensity=Intensity(1, 100))):
        diary.clear()
        puppets["a"].end(ValueError("boom"))
        await reached(tree, "c", State.STOPPING)
        puppets["b"].end(ValueError("as well"))
        await reached(tree, "c", State.RUNNING, restarts=1)
        assert diary == ["~a", "~b", "-c", "+a", "+b", "+c"]


async def test_failing_again_and_again_during_a_group_restart_escalates(autojump_clock):
    _, puppets = family()
    with pytest.RaisesGroup(IntensityExceeded):
        async with running(tree_of(puppets, Strategy.ONE_FOR_ALL, intensity=Intensity(2, 100))):
            puppets["b"].on_start = [OSError("no")] * 10
            puppets["a"].end(ValueError("boom"))
            await trio.sleep_forever()
    assert len(puppets["b"].starts) == 3


async def test_a_sibling_deaf_to_stop_is_cancelled_before_the_group_starts_again(autojump_clock):
    diary, puppets = family("ab", stop_takes_s=100)
    specs = {"b": {"shutdown_s": 2}}
    async with running(tree := tree_of(puppets, Strategy.ONE_FOR_ALL, specs)):
        diary.clear()
        puppets["a"].end(ValueError("boom"))
        await reached(tree, "b", State.RUNNING, restarts=1)
        assert diary == ["~a", "!b", "+a", "+b"]


async def test_a_temporary_sibling_ends_with_the_group_and_is_not_started_again(autojump_clock):
    diary, puppets = family()
    specs = {"b": {"restart": Restart.TEMPORARY}}
    async with running(tree := tree_of(puppets, Strategy.ONE_FOR_ALL, specs)):
        diary.clear()
        puppets["a"].end(ValueError("boom"))
        await gone(tree, "b")
        await reached(tree, "c", State.RUNNING, restarts=1)
        assert diary == ["~a", "-c", "-b", "+a", "+c"]


async def test_a_temporary_childs_crash_leaves_its_group_alone(autojump_clock):
    diary, puppets = family()
    specs = {"b": {"restart": Restart.TEMPORARY}}
    async with running(tree := tree_of(puppets, Strategy.ONE_FOR_ALL, specs)):
        diary.clear()
        puppets["b"].end(ValueError("boom"))
        await gone(tree, "b")
        assert diary == ["~b"]


async def test_a_transient_sibling_that_had_ended_is_started_with_its_group_but_a_stopped_one_is_not(autojump_clock):
    diary, puppets = family()
    specs = {"b": {"restart": Restart.TRANSIENT}}
    async with running(tree := tree_of(puppets, Strategy.ONE_FOR_ALL, specs)):
        puppets["b"].end()
        await reached(tree, "b", State.STOPPED)
        await tree.stop_child("c")
        diary.clear()
        puppets["a"].end(ValueError("boom"))
        await reached(tree, "b", State.RUNNING, restarts=1)
        await trio.sleep(100)
        assert diary == ["~a", "+a", "+b"]
        assert tree.child("c").state is State.STOPPED


async def test_restart_child_takes_the_siblings_along_as_a_crash_would(autojump_clock):
    diary, puppets = family()
    async with running(tree := tree_of(puppets, Strategy.REST_FOR_ONE, intensity=Intensity(0, 1))):
        diary.clear()
        await tree.restart_child("b")
        await reached(tree, "c", State.RUNNING, restarts=1)
        assert diary == ["-c", "-b", "+b", "+c"]


async def test_a_parked_child_leaves_its_group_running(autojump_clock):
    _, puppets = family()
    tree = tree_of(puppets, Strategy.ONE_FOR_ALL, intensity=Intensity(0, 100), parking=Parking(300))
    async with running(tree):
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "b", State.PARKED)
        await reached(tree, "b", State.RUNNING)
        assert len(puppets["a"].starts) == len(puppets["c"].starts) == 1


async def test_a_parked_child_is_not_started_with_its_group(autojump_clock):
    _, puppets = family()
    tree = tree_of(puppets, Strategy.ONE_FOR_ALL, intensity=Intensity(1, 100), parking=Parking(300))
    async with running(tree):
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "c", State.RUNNING, restarts=1)
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "b", State.PARKED)
        puppets["a"].end(ValueError("boom"))
        await reached(tree, "c", State.RUNNING, restarts=2)
        assert tree.child("b").state is State.PARKED
        assert len(puppets["b"].starts) == 2


async def test_children_are_started_in_order_each_when_the_one_before_is_up(autojump_clock):
    _, puppets = family(start_takes_s=2)
    async with running(tree_of(puppets, Strategy.ONE_FOR_ONE)):
        assert [puppet.starts for puppet in puppets.values()] == [[0], [2], [4]]


async def test_a_child_added_to_a_group_is_its_last(autojump_clock):
    diary, puppets = family("ab")
    added = Puppet("z", diary)
    async with running(tree := tree_of(puppets, Strategy.REST_FOR_ONE)):
        assert await tree.start_child(added.spec()) == 1
        diary.clear()
        puppets["b"].end(ValueError("boom"))
        await reached(tree, "z", State.RUNNING, restarts=1)
        assert diary == ["~b", "-z", "+b", "+z"]
        diary.clear()
    assert diary == ["-z", "-b", "-a"]
