"""When the sandbox's state is written: at once for who waits, soon for what nobody waits for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.sandbox.oracle import Oracle
from bridge.sandbox.state import COMMIT_WITHIN_S, State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "sandbox.db")
    yield state
    state.close()


async def test_what_somebody_waits_for_is_committed_at_once(
    state: State, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)
        began = trio.current_time()
        for number in range(1, 4):
            state.put("name", b"x")
            await state.settled()
            assert state.commits == number
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_what_nobody_waits_for_shares_a_commit(state: State, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)
        for number in range(4):
            state.put(str(number), b"x")
            await trio.sleep(COMMIT_WITHIN_S / 5)
        assert state.commits == 0
        await trio.sleep(COMMIT_WITHIN_S / 2)
        assert state.commits == 1
        nursery.cancel_scope.cancel()


async def test_who_waits_while_others_need_not_is_served_at_once(
    state: State, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(state.commit_always)
        state.put("name", b"x")
        await trio.sleep(COMMIT_WITHIN_S / 4)
        began = trio.current_time()
        await state.settled()
        assert (trio.current_time(), state.commits) == (began, 1)
        nursery.cancel_scope.cancel()


def test_the_text_of_a_message_that_comes_again_after_all_were_forgotten_is_known(state: State) -> None:
    oracle = Oracle(state)
    for text in ("before", "after"):
        oracle.sent("id", device="1", sender="1", recipient="2", kind="text", text=None)
        oracle.read("id", "1", text)
        oracle.read("id", "1", "too late")
        assert [message.text for message in oracle.all(0)] == [text]
        oracle.trim()
