"""What health and metrics can see of a tree."""

import json

import pytest
import trio
from supervisor_puppets import Puppet, reached, running

from supervisor import Backoff, Change, ChildSpec, Intensity, Kind, Parking, State, Supervisor


async def test_a_snapshot_shows_each_state(autojump_clock):
    puppet, slow = Puppet("a", [], stop_takes_s=1), Puppet("slow", [], start_takes_s=5)
    tree = Supervisor(
        "tree",
        [puppet.spec()],
        intensity=Intensity(1, 1000),
        backoff=Backoff(2, 2, jitter=0),
        parking=Parking(100),
    )
    assert tree.snapshot().state is State.STOPPED
    seen = []
    async with running(tree) as stop, trio.open_nursery() as nursery:
        assert (tree.snapshot().state, tree.child("a").state) == (State.RUNNING, State.RUNNING)
        nursery.start_soon(tree.start_child, slow.spec())
        await trio.sleep(1)
        assert tree.child("slow").state is State.STARTING
        puppet.end(ValueError("boom"))
        for state in (State.BACKOFF, State.RUNNING):
            await reached(tree, "a", state)
            seen.append((state, tree.child("a").restarts))
        puppet.end(ValueError("bang"))
        await reached(tree, "a", State.PARKED)
        await trio.sleep(7)
        assert tree.child("a").since_s == pytest.approx(7)
        assert tree.child("a").last_error == "ValueError: bang"
        await tree.restart_child("a")
        stop.set()
        await reached(tree, "a", State.STOPPING)
        assert tree.snapshot().state is State.STOPPING
    assert seen == [(State.BACKOFF, 0), (State.RUNNING, 1)]
    assert tree.child("a").state is State.STOPPED


async def test_nested_supervisors_and_details_appear_in_their_place(autojump_clock):
    worker = Puppet("worker", [])
    inner = Supervisor("inner", [worker.spec(inspect=lambda: {"pid": 7})])
    async with running(outer := Supervisor("outer", [inner.as_child()])):
        tree = outer.snapshot()
        assert [(path, node.kind) for path, node in tree.walk()] == [
            (("outer",), Kind.SUPERVISOR),
            (("outer", "inner"), Kind.SUPERVISOR),
            (("outer", "inner", "worker"), Kind.WORKER),
        ]
        assert tree.child("inner", "worker").detail == {"pid": 7}
        assert tree.child("inner", "nobody", "below") is None
        assert json.loads(json.dumps(tree.as_dict()))["children"][0]["children"][0]["state"] == "running"


async def test_a_nested_supervisor_shows_the_state_its_parent_sees(autojump_clock):
    worker = Puppet("worker", [])
    inner = Supervisor("inner", [worker.spec()], intensity=Intensity(0, 1))
    async with running(outer := Supervisor("outer", [inner.as_child()])):
        worker.end(ValueError("boom"))
        await reached(outer, "inner", State.BACKOFF)
        shown = outer.snapshot().child("inner")
        assert (shown.kind, shown.state) == (Kind.SUPERVISOR, State.BACKOFF)


async def test_a_child_that_cannot_be_inspected_does_not_break_the_snapshot(autojump_clock):
    def broken():
        raise KeyError("pid")

    async with running(tree := Supervisor("tree", [Puppet("a", []).spec(inspect=broken)])):
        assert tree.child("a").detail == {"inspect_error": "KeyError: 'pid'"}


async def test_a_snapshot_does_not_change_with_the_tree(autojump_clock):
    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()])):
        before = tree.snapshot()
        await tree.stop_child("a")
        assert before.child("a").state is State.RUNNING


async def test_on_change_hears_of_each_state_and_may_fail(autojump_clock, caplog):
    heard = []

    def hear(change: Change) -> None:
        heard.append((change.state, change.error))
        raise LookupError("a bad listener")

    puppet = Puppet("a", [])
    async with running(tree := Supervisor("tree", [puppet.spec()], on_change=hear)):
        puppet.end(ValueError("boom"))
        await reached(tree, "a", State.RUNNING, restarts=1)
    boom = "ValueError: boom"
    assert heard == [
        (State.STARTING, None),
        (State.RUNNING, None),
        (State.BACKOFF, boom),
        (State.STARTING, boom),
        (State.RUNNING, boom),
        (State.STOPPING, boom),
        (State.STOPPED, boom),
    ]
    assert "supervisor.on_change_failed" in {record.message for record in caplog.records}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Intensity(-1, 1),
        lambda: Intensity(1, 0),
        lambda: Backoff(2, 1),
        lambda: Backoff(jitter=2),
        lambda: Backoff(factor=0.5),
        lambda: Parking(0),
        lambda: ChildSpec("a", Puppet("a", []).run, shutdown_s=-1),
        lambda: ChildSpec("a", Puppet("a", []).run, start_timeout_s=0),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        wrong()
