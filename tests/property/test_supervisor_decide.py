"""The supervisor's decisions under arbitrary histories: what must hold whatever happens in whatever order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Backoff, Intensity, Parking, Restart, Strategy, decide
from supervisor.decide import LIVE, Child, End, Halt, Launch, Phase, Policy, Reason, Sleep, Target, Verdict

REASONS = st.sampled_from([Reason.NORMAL, Reason.SHUTDOWN, Reason.ABNORMAL])
POLICIES = st.builds(
    Policy,
    st.sampled_from(Strategy),
    st.builds(Intensity, st.integers(0, 4), st.floats(1, 60)),
    st.builds(Backoff, st.floats(0, 1), st.floats(1, 10), st.floats(1, 3), st.floats(0, 1)),
    st.none() | st.builds(Parking, st.floats(1, 100)),
)
RESTARTS = st.lists(st.sampled_from(Restart), min_size=1, max_size=5)


class World:
    """Children without tasks: carries steps out as the runner does, and checks each of them."""

    def __init__(self, policy: Policy, restarts: list[Restart]) -> None:
        self.policy = policy
        self.now = 0.0
        self.order = [f"c{number}" for number in range(len(restarts))]
        self.children = {
            child_id: Child(child_id, restart) for child_id, restart in zip(self.order, restarts, strict=True)
        }
        self.window: tuple[float, ...] = ()
        self.restarted_at: list[tuple[float, str]] = []
        self.over = False

    def lane(self, child_id: str) -> decide.Lane:
        if self.policy.strategy is Strategy.ONE_FOR_ONE:
            return (self.children[child_id],) if child_id in self.children else ()
        return tuple(self.children.values())

    def put(self, before: decide.Lane, after: decide.Lane) -> None:
        kept = [child.id for child in after]
        assert kept == [child.id for child in before if child.id in kept], "a decision changes no order and adds nobody"
        for child in before:
            if child.id not in kept:
                del self.children[child.id]
        self.children.update((child.id, child) for child in after)

    def advance(self) -> None:
        for child_id in self.order:
            while not self.over and (step := decide.step(lane := self.lane(child_id), self.now)) is not None:
                match step:
                    case Launch(one):
                        self.check_launch(lane, one)
                        self.put(lane, decide.launched(self.policy, lane, one, self.now))
                    case Halt(one):
                        self.check_halt(lane, one)
                        self.put(lane, decide.halted(lane, one))
                    case Sleep(until):
                        assert until > self.now
                        break

    def check_launch(self, lane: decide.Lane, child_id: str) -> None:
        child = decide.find(lane, child_id)
        assert child.phase in (Phase.WAITING, Phase.PARKED)
        assert child.due <= self.now
        assert child.target is Target.UP
        assert not any(other.phase in (Phase.STARTING, Phase.STOPPING) for other in lane), "one at a time"
        for other in lane[: lane.index(child)]:
            assert other.phase is not Phase.WAITING, "in order"
            assert other.phase not in LIVE or other.target is Target.UP, "what it depends on is up for good"

    def check_halt(self, lane: decide.Lane, child_id: str) -> None:
        child = decide.find(lane, child_id)
        assert child.phase in (Phase.STARTING, Phase.RUNNING)
        assert child.target is not Target.UP, "nobody is stopped without a reason"
        for other in lane[lane.index(child) + 1 :]:
            assert other.phase not in LIVE or other.target is Target.UP, "in reverse"

    def end(self, child_id: str, reason: Reason, random: float) -> None:
        lane = self.lane(child_id)
        before = decide.find(lane, child_id)
        outcome = decide.ended(self.policy, lane, End(child_id, reason, self.now, random), self.window)
        self.window = outcome.window
        self.put(lane, outcome.lane)
        after = self.children.get(child_id)
        match outcome.verdict:
            case Verdict.EXPECTED:
                assert before.target is not Target.UP
            case Verdict.RESTARTED:
                assert decide.is_restarted(before.restart, reason)
                assert after is not None
                assert after.phase is Phase.WAITING
                assert self.now <= after.due <= self.now + self.policy.backoff.max_s
                self.restarted_at.append((self.now, child_id))
                self.check_affected(lane, outcome.lane, child_id)
            case Verdict.PARKED:
                assert self.policy.parking is not None
                assert after is not None
                assert after.due == self.now + self.policy.parking.retry_after_s
                self.check_others_untouched(lane, outcome.lane, child_id)
            case Verdict.ESCALATED:
                assert self.policy.parking is None
                self.over = True
            case Verdict.LEFT:
                assert not decide.is_restarted(before.restart, reason)
                self.check_others_untouched(lane, outcome.lane, child_id)
            case Verdict.NOT_STARTED:
                assert not before.proven
                assert after is None
        if not self.over:
            self.advance()

    def check_affected(self, before: decide.Lane, after: decide.Lane, child_id: str) -> None:
        names = [child.id for child in before]
        first = {
            Strategy.ONE_FOR_ONE: len(names),
            Strategy.ONE_FOR_ALL: 0,
            Strategy.REST_FOR_ONE: names.index(child_id),
        }[self.policy.strategy]
        for old in before:
            if old.id == child_id:
                continue
            new = decide.find(after, old.id)
            if names.index(old.id) < first or old.target is Target.DOWN or old.phase is Phase.PARKED:
                assert new == old
            elif old.phase not in LIVE:
                assert new.phase is Phase.WAITING
            else:
                assert new.target is (Target.DOWN if old.restart is Restart.TEMPORARY else Target.AGAIN)

    def check_others_untouched(self, before: decide.Lane, after: decide.Lane, child_id: str) -> None:
        assert [child for child in before if child.id != child_id] == [child for child in after if child.id != child_id]

    def call(self, child_id: str, function) -> None:
        lane = self.lane(child_id)
        self.put(lane, function(lane, child_id))
        self.advance()

    def settle(self) -> None:
        """Let everything in motion finish well, and time pass until nothing is due."""
        for _ in range(200):
            if self.over:
                return
            moving = [child for child in self.children.values() if child.phase in (Phase.STARTING, Phase.STOPPING)]
            if moving:
                child = moving[0]
                if child.phase is Phase.STARTING:
                    self.call(child.id, decide.started)
                else:
                    self.end(child.id, Reason.NORMAL, 0.5)
                continue
            steps = [decide.step(self.lane(child_id), self.now) for child_id in self.children]
            if not any(steps):
                return
            self.now = min(step.until for step in steps if isinstance(step, Sleep))
            self.advance()
        raise AssertionError("it never settles")

    def check_intensity(self) -> None:
        """No more restarts within any period than allowed: over all children, or over each where they are parked."""
        names = self.order if self.policy.parking is not None else [None]
        for name in names:
            times = [at for at, child_id in self.restarted_at if name in (None, child_id)]
            for index, start in enumerate(times):
                near = [at for at in times[index:] if at < start + self.policy.intensity.period_s]
                assert len(near) <= self.policy.intensity.max_restarts


def play(world: World, data: st.DataObject, *, with_calls: bool) -> None:
    """One arbitrary thing that can happen now."""
    options: list[tuple[str, str]] = [("pass", "")]
    for child in world.children.values():
        if child.phase is Phase.STARTING:
            options.append(("up", child.id))
        if child.phase in LIVE:
            options.append(("end", child.id))
        if with_calls:
            options += [("stop", child.id), ("restart", child.id), ("forget", child.id)]
    what, child_id = data.draw(st.sampled_from(options))
    match what:
        case "pass":
            world.now += data.draw(st.floats(0, 30))
            world.advance()
        case "up":
            world.call(child_id, decide.started)
        case "end":
            starting = world.children[child_id].phase is Phase.STARTING
            reasons = REASONS | st.just(Reason.REFUSED) if starting else REASONS
            world.end(child_id, data.draw(reasons), data.draw(st.floats(0, 1)))
        case "stop":
            world.call(child_id, decide.stop)
        case "forget":
            world.call(child_id, decide.forget)
        case "restart":
            world.call(child_id, lambda lane, one: decide.restart(world.policy, lane, one, world.now))


@settings(max_examples=150, deadline=None)
@given(policy=POLICIES, restarts=RESTARTS, data=st.data())
def test_every_step_keeps_the_order_and_every_history_settles(policy, restarts, data):
    world = World(policy, restarts)
    world.advance()
    for _ in range(data.draw(st.integers(0, 25))):
        if world.over:
            break
        play(world, data, with_calls=True)
    world.settle()
    if world.over:
        return
    for child in world.children.values():
        if child.target is Target.DOWN:
            assert child.phase is Phase.STOPPED
        else:
            assert child.target is Target.UP
            assert child.phase in (Phase.RUNNING, Phase.STOPPED)
        if child.restart is Restart.PERMANENT and child.phase is Phase.STOPPED:
            assert child.target is Target.DOWN or child.proven, "only a stop or a refusal keeps it down"


@settings(max_examples=150, deadline=None)
@given(policy=POLICIES, restarts=RESTARTS, data=st.data())
def test_the_intensity_is_never_exceeded(policy, restarts, data):
    world = World(policy, restarts)
    world.advance()
    world.settle()
    for _ in range(data.draw(st.integers(0, 25))):
        if world.over:
            break
        play(world, data, with_calls=False)
    world.check_intensity()


@settings(max_examples=100, deadline=None)
@given(policy=POLICIES, restarts=RESTARTS, data=st.data())
def test_draining_wants_everybody_down_and_keeps_only_who_runs_or_is_known(policy, restarts, data):
    world = World(policy, restarts)
    world.advance()
    for _ in range(data.draw(st.integers(0, 15))):
        if not world.over:
            play(world, data, with_calls=True)
    before = tuple(world.children.values())
    after = decide.drain(before)
    for child in after:
        assert child.target is Target.DOWN
        assert child.phase in {*LIVE, Phase.STOPPED}
        assert child.restart is not Restart.TEMPORARY or child.phase in LIVE
    assert decide.drain(after) == after
    assert {child.id for child in before if child.phase in LIVE} <= {child.id for child in after}


@given(st.builds(Backoff, st.floats(0, 1), st.floats(1, 10), st.floats(1, 1e200), st.floats(0, 1)), st.floats(0, 1))
def test_a_backoff_grows_and_stays_within_its_bounds(backoff, random):
    full = [decide.delay_s(backoff, attempt, 1.0) for attempt in range(1, 40)]
    assert full[0] == backoff.first_s
    assert full == sorted(full)
    assert full[-1] <= backoff.max_s
    for attempt, most in enumerate(full, start=1):
        assert most * (1 - backoff.jitter) - 1e-9 <= decide.delay_s(backoff, attempt, random) <= most


@given(st.sampled_from(Strategy), st.lists(st.booleans(), max_size=8))
def test_everybody_is_stopped_once_and_the_first_ones_in_reverse(strategy, dynamic):
    ids = [f"c{number}" for number in range(len(dynamic))]
    added = [child_id for child_id, late in zip(ids, dynamic, strict=True) if late]
    order = decide.stop_order(strategy, ids, added)
    flat = [child_id for group in order for child_id in group]
    assert sorted(flat) == ids
    if strategy is Strategy.ONE_FOR_ONE:
        assert list(order[0]) == added
        assert flat[len(added) :] == [child_id for child_id in reversed(ids) if child_id not in added]
    else:
        assert flat == ids[::-1]


def test_who_is_restarted_is_otps_table():
    table = {
        (restart, reason)
        for restart in Restart
        for reason in (Reason.NORMAL, Reason.SHUTDOWN, Reason.ABNORMAL, Reason.REFUSED)
        if decide.is_restarted(restart, reason)
    }
    assert table == {
        (Restart.PERMANENT, Reason.NORMAL),
        (Restart.PERMANENT, Reason.SHUTDOWN),
        (Restart.PERMANENT, Reason.ABNORMAL),
        (Restart.TRANSIENT, Reason.ABNORMAL),
    }


def test_a_parked_child_is_not_tried_while_a_sibling_waits():
    parked = Child("a", phase=Phase.PARKED, due=1)
    waiting = Child("b", due=5)
    assert decide.step((parked, waiting), 2) == Sleep(5)
    assert decide.step((parked, replace(waiting, phase=Phase.RUNNING)), 2) == Launch("a")


def test_a_group_waits_for_the_longest_backoff_in_it():
    policy = Policy(Strategy.ONE_FOR_ALL, backoff=Backoff(1, 1, jitter=0))
    a, b, c = Child("a", due=2, proven=True), Child("b", phase=Phase.RUNNING, proven=True), Child("c", due=50)
    outcome = decide.ended(policy, (a, b, c), End("b", Reason.ABNORMAL, 10), ())
    assert [child.due for child in outcome.lane] == [11, 11, 50]
