"""The outbox: order within a chat, several chats at once, a limit, and the truth for whoever waits."""

from functools import partial

import pytest
import trio
import trio.testing

from bridge.domain.ids import CommandId
from bridge.engine.session import Sent
from bridge.instances.errors import Busy, SendUnknown
from bridge.instances.outbox import Outbox, Outgoing


def text(number: int, chat: str = "1@s.whatsapp.net") -> Outgoing:
    return Outgoing(CommandId(f"cmd_{number}"), "text", chat, {"text": f"text {number}"})


class Recorder:
    """Takes a second for each send and remembers them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def send(self, text: Outgoing) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.sleep(1)
        self.at_once -= 1
        self.sent.append(str(text.body["text"]))
        text.reply.set(Sent("3EB0", 0.0))


async def test_texts_of_one_chat_go_out_in_order_one_at_a_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    recorder = Recorder()
    outbox = Outbox(recorder.send)
    await nursery.start(outbox.run)
    for number in range(5):
        outbox.put(text(number))
    await outbox.drained()
    assert recorder.sent == [f"text {number}" for number in range(5)]
    assert recorder.most_at_once == 1
    assert trio.current_time() == pytest.approx(5)


async def test_a_slow_chat_does_not_hold_up_another(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    recorder = Recorder()
    outbox = Outbox(recorder.send, chats_at_once=2)
    await nursery.start(outbox.run)
    for number in range(10):
        outbox.put(text(number, "slow@s.whatsapp.net"))
    other = text(99, "other@s.whatsapp.net")
    outbox.put(other)
    await other.reply.done.wait()
    assert trio.current_time() == pytest.approx(1)
    assert recorder.most_at_once == 2


async def test_more_than_the_limit_is_refused_and_nothing_else_changes(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    recorder = Recorder()
    outbox = Outbox(recorder.send, waiting_limit=3)
    await nursery.start(outbox.run)
    for number in range(3):
        outbox.put(text(number))
    with pytest.raises(Busy):
        outbox.put(text(3))
    await outbox.drained()
    assert len(recorder.sent) == 3
    outbox.put(text(4))
    await outbox.drained()
    assert recorder.sent[-1] == "text 4"


async def test_whoever_waits_when_the_actor_ends_hears_that_the_outcome_is_unknown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outbox = Outbox(Recorder().send)
    waiting = [text(1), text(2), text(3, "2@s.whatsapp.net")]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(outbox.run))
        for one in waiting:
            outbox.put(one)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(isinstance(one.reply.outcome, SendUnknown) for one in waiting)


async def test_an_idle_outbox_is_drained() -> None:
    with trio.fail_after(1):
        await Outbox(Recorder().send).drained()
