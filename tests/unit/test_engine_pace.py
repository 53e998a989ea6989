"""Starts of sessions are spread so that their database connections do not add up; in virtual time."""

from itertools import pairwise

import trio
import trio.testing

from bridge.engine.pace import Pace


async def starts(pace: Pace, count: int) -> list[float]:
    """Return when each of so many starts that are wanted at once may begin."""
    began, times = trio.current_time(), []

    async def start() -> None:
        await pace.wait()
        times.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(start)
    return times


async def test_starts_that_fit_begin_at_once(autojump_clock: trio.testing.MockClock) -> None:
    assert await starts(Pace(20, 45), 10) == [0] * 10


async def test_no_window_holds_more_starts_than_there_are_connections(autojump_clock: trio.testing.MockClock) -> None:
    times = await starts(Pace(20, 45), 35)
    assert times == sorted(times)
    assert times[-1] == 135
    assert all(later - earlier >= 45 for earlier, later in pairwise(times[::10]))


async def test_later_starts_find_the_room_that_earlier_ones_gave_back(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(4, 45)
    await starts(pace, 2)
    await trio.sleep(50)
    assert await starts(pace, 2) == [0, 0]


async def test_a_tiny_budget_still_lets_one_start_at_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await starts(Pace(0, 10), 3) == [0, 10, 20]
