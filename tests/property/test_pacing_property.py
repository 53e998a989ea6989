"""Random histories of sends: no limit is ever exceeded, and nobody waits longer than a limit asks for."""

import itertools
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bridge.api.schemas import PacingProfile
from bridge.domain.pacing import (
    DAY_S,
    LOCK_FIRST_S,
    LOCK_MAX_S,
    PROFILES,
    Ledger,
    Limits,
    Reason,
    decide,
    limits_of,
    refunded,
    spend,
    struck,
    under,
)

LIMITS = st.builds(
    Limits,
    per_minute=st.floats(0.1, 600),
    burst=st.integers(1, 20),
    chat_gap_s=st.floats(0, 60),
    chat_jitter_s=st.floats(0, 60),
    new_chats=st.integers(1, 5),
)
SENDS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.booleans(), st.floats(0, 7_200), st.floats(0, 1)), min_size=1, max_size=60
)
NEAR = 1e-3
"""Seconds: sums of floats of this size."""


@given(LIMITS, SENDS)
def test_what_goes_when_its_turn_has_come_keeps_every_limit(
    limits: Limits, sends: list[tuple[str, bool, float, float]]
) -> None:
    ledger, now = Ledger(), 1_700_000_000.0
    went: list[tuple[float, str, bool, float]] = []
    for chat, new, pause_s, jitter in sends:
        now += pause_s
        turn = decide(limits, ledger, chat, new=new, now=now)
        assert (turn.reason is None) == (turn.at == now)
        now = turn.at + NEAR
        assert decide(limits, ledger, chat, new=new, now=now).reason is None
        ledger = spend(limits, ledger, chat, new=new, at=now, jitter=jitter)
        went.append((now, chat, new, jitter))
    for first, (begin, chat, _, jitter) in enumerate(went):
        after = went[first + 1 :]
        for count, (at, *_) in enumerate(after, start=2):
            assert count <= limits.burst + (at - begin + NEAR) / limits.interval_s
        following = [at for at, other, *_ in after if other == chat]
        assert not following or following[0] - begin >= limits.chat_gap_s + jitter * limits.chat_jitter_s - NEAR
        assert sum(new for at, _, new, _ in went if begin <= at < begin + DAY_S) <= limits.new_chats


@given(LIMITS, SENDS, st.integers(0, 5), st.integers(0, 30), st.integers(0, 12))
def test_with_others_in_front_it_is_never_earlier(
    limits: Limits, sends: list[tuple[str, bool, float, float]], behind: int, ahead: int, chats: int
) -> None:
    ledger, now = Ledger(), 1_700_000_000.0
    for chat, new, pause_s, jitter in sends:
        now += pause_s
        ledger = spend(limits, ledger, chat, new=new, at=now, jitter=jitter)
    alone = decide(limits, ledger, "a", new=True, now=now)
    after = decide(limits, ledger, "a", new=True, now=now, ahead=ahead, behind=behind, chats_ahead=chats)
    later = decide(limits, ledger, "a", new=True, now=now, ahead=ahead + 1, behind=behind + 1, chats_ahead=chats + 1)
    assert alone.at <= after.at <= later.at


def test_without_limits_only_a_restriction_holds_and_only_new_chats() -> None:
    assert decide(None, Ledger(), "a", new=True, now=5).reason is None
    held = decide(None, Ledger(), "a", new=True, now=5, locked_until=9)
    assert (held.at, held.reason) == (9, Reason.NEW_CHATS_LIMITED)
    assert decide(None, Ledger(), "a", new=False, now=5, locked_until=9).reason is None


def test_more_than_was_allowed_empties_the_bucket_and_no_more() -> None:
    limits = Limits(per_minute=6, burst=3, chat_gap_s=0, chat_jitter_s=0, new_chats=5)
    ledger = Ledger()
    for _ in range(1000):  # sent while there was no pacing
        ledger = spend(limits, ledger, "a", new=False, at=100, jitter=0)
    assert decide(limits, ledger, "a", new=False, now=100).at == 110


def test_a_pause_that_is_over_is_forgotten_and_under_other_limits_none_is_longer_than_theirs() -> None:
    limits = Limits(per_minute=6000, burst=10, chat_gap_s=50, chat_jitter_s=10, new_chats=5)
    ledger = Ledger()
    for number in range(100):
        ledger = spend(limits, ledger, str(number), new=False, at=number * 30, jitter=1)
    assert set(ledger.chat_free_at) == {"98", "99"}
    shorter = replace(limits, chat_gap_s=2, chat_jitter_s=1)
    assert decide(shorter, under(shorter, ledger, 2980), "99", new=False, now=2980).at == 2983


def test_a_new_chat_that_was_not_begun_gives_its_place_back() -> None:
    limits = Limits(per_minute=6000, burst=10, chat_gap_s=0, chat_jitter_s=0, new_chats=1)
    ledger = spend(limits, Ledger(), "a", new=True, at=50, jitter=0)
    assert decide(limits, ledger, "b", new=True, now=60).reason is Reason.NEW_CHATS
    assert decide(limits, refunded(ledger, 50), "b", new=True, now=60).reason is None


def test_limits_of_a_fresh_number_grow_day_by_day_up_to_the_steady_ones() -> None:
    limits = [limits_of(PROFILES["warm_up"], paired_at=0, now=day * DAY_S) for day in range(20)]
    for before, after in itertools.pairwise(limits):
        assert before is not None
        assert after is not None
        assert (before.per_minute, before.burst, before.new_chats) <= (after.per_minute, after.burst, after.new_chats)
    assert limits[0] != limits[1]
    assert limits[-1] == limits_of(PROFILES["steady"], paired_at=0, now=0)
    assert limits_of(PROFILES["off"], paired_at=0, now=0) is None
    assert limits_of(PROFILES["warm_up"], paired_at=10, now=0) == limits[0]  # by a clock that went back


def test_a_restriction_is_doubled_by_each_attempt_and_not_by_what_was_under_way() -> None:
    first = struck(None, 100)
    assert (first.since, first.until) == (100, 100 + LOCK_FIRST_S)
    assert struck(first, 101) == first
    again = struck(first, first.until)
    assert (again.since, again.until - first.until) == (100, 2 * LOCK_FIRST_S)
    late = struck(replace(again, strikes=60), again.until)
    assert late.until - again.until == LOCK_MAX_S


def test_callers_can_choose_each_profile_and_no_other() -> None:
    assert set(get_args(PacingProfile)) == set(PROFILES)
