"""The search for the highest rate: it narrows down to a few percent, tells only what lasted, and comes to an end."""

from itertools import pairwise

import pytest

from ops.bench.figures import Latency, Load, Usage
from ops.bench.plan import quick
from ops.bench.results import of_texts
from ops.bench.search import Search, Tried, Try, next_try
from ops.bench.texts import Texts


def searched(search: Search, full_limit: float, probe_limit: float | None = None) -> list[Tried]:
    """Return the tries against a system that holds rates up to a limit, for a short time perhaps up to another one."""
    tried: list[Tried] = []
    while (ahead := next_try(search, tried)) is not None:
        limit = full_limit if ahead.full or probe_limit is None else probe_limit
        tried.append(Tried(ahead.rate, ahead.full, ahead.rate <= limit))
    return tried


def told(tried: list[Tried]) -> float:
    """Return the highest rate that held for the full time."""
    return max((one.rate for one in tried if one.full and one.held), default=0.0)


@pytest.mark.parametrize("limit", range(255, 1200, 5))
def test_what_held_and_what_did_not_are_within_four_percent(limit: int) -> None:
    tried = searched(Search(), limit)
    failed = min(one.rate for one in tried if not one.held)
    assert told(tried) <= limit < failed
    assert failed <= told(tried) * 1.04 or failed - told(tried) == 10
    assert sum(one.full for one in tried) <= 5


def test_a_rate_that_is_no_multiple_of_ten_is_never_tried() -> None:
    for limit in range(15, 1300, 7):
        assert all(one.rate % 10 == 0 for one in searched(Search(), limit, limit + 90))


def test_probes_go_upwards_until_one_fails() -> None:
    probes = [one for one in searched(Search(first=200, step=100), 450) if not one.full]
    assert [(one.rate, one.held) for one in probes] == [(200, True), (300, True), (400, True), (500, False)]


def test_a_rate_that_held_only_its_probe_is_tried_for_the_full_time() -> None:
    tried = searched(Search(), 405)
    assert Tried(400, full=False, held=True) in tried
    assert tried[-1] == Tried(400, full=True, held=True)


def test_below_a_probe_that_does_not_last_it_goes_on_downwards() -> None:
    tried = searched(Search(), 350, 440)
    assert Tried(400, full=True, held=False) in tried
    assert told(tried) == 350


def test_when_even_the_lowest_rate_fails_it_goes_down_until_one_holds() -> None:
    tried = searched(Search(first=200), 130)
    assert [one.rate for one in tried][:3] == [200, 170, 140]
    assert 110 <= told(tried) <= 130


def test_no_rate_is_tried_for_the_full_time_twice() -> None:
    for limit in range(5, 1300, 5):
        full = [one.rate for one in searched(Search(), limit, limit * 1.2) if one.full]
        assert len(full) == len(set(full))


def test_it_ends_when_nothing_holds() -> None:
    tried = searched(Search(), 0)
    assert told(tried) == 0
    assert [one.full for one in tried] == [False] + [True] * 8
    assert all(higher.rate > lower.rate for higher, lower in pairwise(tried))


def test_what_holds_everything_is_tried_at_the_last_rate() -> None:
    tried = searched(Search(last=500), 10_000)
    assert tried[-1] == Tried(500, full=True, held=True)
    assert sum(one.full for one in tried) == 1


def test_a_failure_that_lasts_longer_counts_more_than_a_probe_above_it() -> None:
    tried = [Tried(200, False, True), Tried(300, False, True), Tried(400, False, False), Tried(350, True, False)]
    assert next_try(Search(), [*tried, Tried(250, True, False)]) == Try(220, full=True)


def test_the_quick_plan_takes_two_runs_at_most() -> None:
    search = quick(("texts-in",)).search
    assert all(sum(one.full for one in searched(search, limit)) <= 2 for limit in range(0, 1300, 10))


def load(rate: float, *, held: bool) -> Load:
    usage = Usage(0.0, 30.0, 2, {"bridge": 20.0}, 0.0, 0.0)
    return Load(rate, 30, 1000, rate, 0.0, 1000, rate, Latency(5.0, 10.0 if held else 900.0, 1000.0), usage)


def found(*loads: Load) -> Texts:
    return Texts(load(100, held=True), max((one for one in loads if one.held(500)), key=lambda one: one.rate), [*loads])


def test_the_figure_names_the_next_rate_that_did_not_hold() -> None:
    bridge = found(load(400, held=True), load(500, held=False), load(450, held=False), load(420, held=True))
    bare = found(load(800, held=True))
    figure = next(one for one in of_texts(bridge, bare) if "highest rate held for 30 s" in one.name)
    assert (figure.bridge, figure.bare) == (420, 800)
    assert figure.details["next_not_held_per_s"] == {"bridge": 450, "bare": None}
    assert "next that did not hold: 450 (bare: none)" in figure.limit
