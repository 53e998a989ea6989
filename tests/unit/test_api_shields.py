"""Shields: they protect, they end, and they can all be ended at once."""

import math

import trio

from bridge.api.shields import Shields


async def test_a_shield_outlasts_a_cancelled_caller(autojump_clock: trio.testing.MockClock) -> None:
    shields, done = Shields(), trio.Event()
    with trio.move_on_after(1), shields.hold(10):
        await trio.sleep(5)
        done.set()
    assert done.is_set()
    assert trio.current_time() == 5


async def test_a_shield_ends_after_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    with Shields().hold(3) as shield:
        await trio.sleep_forever()
    assert shield.cancelled_caught
    assert trio.current_time() == 3


async def test_expiry_ends_open_and_later_shields(autojump_clock: trio.testing.MockClock) -> None:
    shields = Shields()
    shields_ended: list[float] = []

    async def hold() -> None:
        with shields.hold(math.inf):
            await trio.sleep_forever()
        shields_ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        shields.expire_at(trio.current_time() + 2)
        nursery.start_soon(hold)
    assert shields_ended == [2, 2]
    assert len(shields) == 0


async def test_expiry_can_be_taken_back(autojump_clock: trio.testing.MockClock) -> None:
    shields = Shields()
    shields.expire_at(-math.inf)
    shields.expire_at(math.inf)
    with shields.hold(4) as shield:
        await trio.sleep(3)
    assert not shield.cancelled_caught
