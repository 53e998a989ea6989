"""Work that several want at the same time is done once, and by somebody else when who began is gone."""

import pytest
import trio
import trio.testing

from bridge.media.flights import Flights


class Work:
    """Notes how often it was begun; goes on when it is let go, and fails if it is to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.go = trio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go.wait()
        if self._error is not None:
            raise self._error
        return number


async def test_who_comes_meanwhile_gets_the_same_and_who_comes_later_a_new_one() -> None:
    flights, work, got = Flights[str, int](), Work(), []

    async def join(key: str) -> None:
        got.append((key, await flights.join(key, work)))

    async with trio.open_nursery() as nursery:
        for key in ("a", "a", "b", "a"):
            nursery.start_soon(join, key)
        await trio.testing.wait_all_tasks_blocked()
        assert work.begun == 2
        work.go.set()
    assert len({number for key, number in got if key == "a"}) == 1
    await join("a")
    assert (len(got), work.begun) == (5, 3)


async def test_all_hear_of_the_failure_and_the_next_one_tries_anew() -> None:
    flights, failing, errors = Flights[str, int](), Work(ValueError("no")), []

    async def join() -> None:
        with pytest.raises(ValueError, match="no") as failed:
            await flights.join("a", failing)
        errors.append(failed.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(join)
        nursery.start_soon(join)
        await trio.testing.wait_all_tasks_blocked()
        failing.go.set()
    assert (len(errors), failing.begun) == (2, 1)
    good = Work()
    good.go.set()
    assert await flights.join("a", good) == 1


async def test_when_who_began_is_cancelled_who_waits_begins_anew() -> None:
    flights, work, got = Flights[str, int](), Work(), []
    scope = trio.CancelScope()

    async def leader() -> None:
        with scope:
            await flights.join("a", work)

    async def follower() -> None:
        got.append(await flights.join("a", work))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(follower)
        nursery.start_soon(follower)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert work.begun == 2
        work.go.set()
    assert got == [2, 2]
