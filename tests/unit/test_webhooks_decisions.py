"""The pure decisions of delivery: when again, what becomes of a delivery and its lane, when an endpoint is held."""

import pytest

from bridge.domain.lanes import PARK_AFTER, Answer, Case, Decision, Fate, decide
from bridge.domain.schedule import wait_s
from bridge.webhooks.breaker import OPEN_AFTER_LANES, PROBE_MAX_S, Breaker

TWO_HOURS = 7_200.0
NOBODY = Answer(None, "Connection refused")


def case(attempts: int = 1, age_s: float = 0.0, *, well: bool = False) -> Case:
    return Case(attempts, age_s, 259_200.0, well)


def test_retries_follow_the_documented_table() -> None:
    planned = [wait_s(attempt, jitter=0.0) for attempt in range(1, 11)]
    assert planned == [2, 10, 30, 120, 600, 1_800, 3_600, TWO_HOURS, TWO_HOURS, TWO_HOURS]


def test_jitter_stays_within_a_fifth() -> None:
    assert wait_s(3, jitter=1.0) == pytest.approx(36)
    assert wait_s(3, jitter=-1.0) == pytest.approx(24)


def test_a_receiver_that_is_slow_or_asks_for_rest_is_given_it() -> None:
    assert wait_s(1, jitter=-1.0, slow=True) == 60
    assert wait_s(6, jitter=0.0, slow=True) == 1_800
    assert wait_s(1, jitter=-1.0, asked_s=900.0) >= 900
    assert wait_s(8, jitter=0.0, asked_s=5.0) == 5
    assert wait_s(1, jitter=1.0, asked_s=1e9) == 3_600
    assert wait_s(1, jitter=0.0, asked_s=0.0) == 1
    assert wait_s(1, jitter=0.0, asked_s=5.0, slow=True) == 60


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert decide(Answer(status), case(), jitter=0.0) == Decision(Fate.DELIVERED)


@pytest.mark.parametrize("status", [100, 199, 300, 302, 400, 401, 404, 413, 500, 503])
def test_anything_else_is_tried_again(status: int) -> None:
    assert decide(Answer(status), case(), jitter=0.0) == Decision(Fate.RETRY, 2.0)


def test_429_and_silence_wait_a_minute() -> None:
    assert decide(Answer(429), case(), jitter=0.0).wait_s == 60
    assert decide(Answer(None, timed_out=True), case(), jitter=0.0).wait_s == 60
    assert decide(NOBODY, case(), jitter=0.0).wait_s == 2


def test_gone_pauses_the_endpoint_and_gives_nothing_up() -> None:
    for age_s in (0.0, 1e9):
        decision = decide(Answer(410), case(9, age_s, well=True), jitter=0.0)
        assert decision.pause_endpoint and decision.fate is Fate.RETRY


def test_a_poisoned_event_is_parked_only_by_an_endpoint_that_is_well() -> None:
    assert decide(Answer(500), case(PARK_AFTER, well=True), jitter=0.0) == Decision(Fate.PARKED, 600.0)
    assert decide(Answer(500), case(PARK_AFTER - 1, well=True), jitter=0.0).fate is Fate.RETRY
    assert decide(Answer(500), case(PARK_AFTER + 9), jitter=0.0).fate is Fate.RETRY


def test_what_is_too_old_dies_at_a_failure_and_not_before() -> None:
    assert decide(Answer(500), case(age_s=259_200.0, well=True), jitter=0.0) == Decision(Fate.DEAD)
    assert decide(Answer(200), case(age_s=1e9), jitter=0.0).fate is Fate.DELIVERED


def held(now: float = 100.0, answer: Answer = NOBODY) -> Breaker:
    breaker = Breaker(16)
    turns = [breaker.failed(f"lane {number}", answer, now, jitter=0.0) for number in range(OPEN_AFTER_LANES)]
    assert turns == [False] * (OPEN_AFTER_LANES - 1) + [True]
    return breaker


def test_one_failing_lane_does_not_hold_an_endpoint() -> None:
    breaker = Breaker(16)
    for _ in range(50):
        assert not breaker.failed("lane", NOBODY, 100.0, jitter=0.0)
    assert breaker.free(100.0) == 16


def test_a_held_endpoint_is_probed_by_one_lane_at_a_time_and_less_and_less_often() -> None:
    breaker, now, waits = held(), 100.0, []
    for _ in range(9):
        assert breaker.probe_at is not None
        assert breaker.free(breaker.probe_at - 0.01) == 0
        waits.append(breaker.probe_at - now)
        now = breaker.probe_at
        assert breaker.free(now) == 1
        breaker.busy = 1
        assert breaker.free(now) == 0
        breaker.busy = 0
        assert not breaker.failed("probe", NOBODY, now, jitter=0.0)
    assert waits == sorted(waits) and waits[0] == 1 and waits[-1] == PROBE_MAX_S


def test_attempts_that_had_begun_before_do_not_put_the_probe_off() -> None:
    breaker = held()
    before = breaker.probe_at
    breaker.failed("late", NOBODY, 100.5, jitter=0.0)
    assert breaker.probe_at == before


def test_a_held_endpoint_that_hangs_is_left_alone_for_a_minute() -> None:
    assert held(100.0, Answer(None, timed_out=True)).probe_at == 160
    assert held(100.0, Answer(429, retry_after_s=300.0)).probe_at == 400


def test_a_success_lets_everything_go_on() -> None:
    breaker = held()
    assert breaker.succeeded("lane 1", 5.0) is None  # all lanes
    assert (breaker.free(100.0), breaker.succeeded_at) == (16, 5.0)


def test_a_success_hastens_lanes_that_found_nobody_but_not_those_that_were_refused() -> None:
    breaker = Breaker(16)
    breaker.failed("unreachable", NOBODY, 100.0, jitter=0.0)
    breaker.failed("refused", Answer(500), 100.0, jitter=0.0)
    assert breaker.succeeded("well", 5.0) == {"unreachable"}
    assert breaker.succeeded("well", 6.0) == frozenset()
