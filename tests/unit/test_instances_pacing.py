"""What pacing does with messages, in virtual time: who waits, for whom nobody waits, and what is never forgotten."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from bridge.domain.events import Event, MessageRow
from bridge.domain.ids import CommandId
from bridge.domain.pacing import DAY_S, LOCK_FIRST_S, Limits, Reason, Turn, decide
from bridge.engine.session import Sent
from bridge.instances import pacing
from bridge.instances.errors import Busy, InstanceDown, NewChatsLimited, Paced, SendFailed
from bridge.instances.outbox import Outgoing
from bridge.instances.pacing import PATIENCE_S, Pacer
from bridge.store.messages import KnownChat

EASY = Limits(per_minute=6000, burst=100, chat_gap_s=0, chat_jitter_s=0, new_chats=100)
SLOW = Limits(per_minute=1, burst=1, chat_gap_s=0, chat_jitter_s=0, new_chats=100)
GAP = Limits(per_minute=6000, burst=100, chat_gap_s=100, chat_jitter_s=0, new_chats=100)
ONE_NEW = Limits(per_minute=6000, burst=100, chat_gap_s=0, chat_jitter_s=0, new_chats=1)


def person(number: int) -> str:
    return f"{number}@s.whatsapp.net"


def queued(number: int, chat: str | None = None, expires: float = math.inf) -> Outgoing:
    command = CommandId(f"cmd_{number}")
    return Outgoing(command, "text", chat or person(number), {"text": "x"}, expires_at=expires, queued=True)


def at_once(number: int, chat: str | None = None) -> Outgoing:
    return Outgoing(CommandId(f"cmd_{number}"), "text", chat or person(number), {"text": "x"})


class World:
    """A pacer, and what it let go when."""

    def __init__(self, limits: Limits | None, *, known: tuple[str, ...] = (), room: float = math.inf) -> None:
        self.went: list[tuple[str, float]] = []
        self.expired: list[str] = []
        self.room = room
        self.pacer = Pacer(clock=trio.current_time, draw=lambda: 0.0, limit=1000)
        self.pacer.begin([KnownChat(chat, None, -math.inf, ()) for chat in known], None)
        self.pacer.pace(None if limits is None else ((0, limits),), 0.0)

    def release(self, message: Outgoing) -> bool:
        if self.room <= 0:
            return False
        self.room -= 1
        self.went.append((message.command, trio.current_time()))
        return True

    async def expire(self, message: Outgoing) -> None:
        self.expired.append(message.command)

    async def run(self) -> None:
        await self.pacer.run(self.release, self.expire)

    def order(self) -> list[str]:
        return [command for command, _ in self.went]


Begin = Callable[[World], World]


@pytest.fixture
def begin(nursery: trio.Nursery) -> Begin:
    def started(world: World) -> World:
        nursery.start_soon(world.run)
        return world

    return started


async def test_what_is_more_than_the_rate_goes_one_by_one_chats_in_turn(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(SLOW))
    for number, chat in enumerate("aaabc"):
        world.pacer.admit(queued(number, chat + "@g.us"))
    await trio.sleep(250)
    assert world.order() == ["cmd_0", "cmd_3", "cmd_4", "cmd_1", "cmd_2"]
    assert [at for _, at in world.went] == pytest.approx([0, 60, 120, 180, 240])


async def test_a_chat_that_has_to_pause_keeps_its_order_and_holds_up_nobody(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(GAP))
    for number, chat in enumerate("aaab"):
        world.pacer.admit(queued(number, chat + "@g.us"))
    await trio.sleep(1)
    assert world.order() == ["cmd_0", "cmd_3"]
    turns = world.pacer.turns()
    assert [(turn.at, turn.reason) for turn in turns.values()] == [(100, Reason.CHAT_GAP), (200, Reason.CHAT_GAP)]
    assert world.pacer.counts() == {"chat_gap": 2}
    await trio.sleep(250)
    assert world.order() == ["cmd_0", "cmd_3", "cmd_1", "cmd_2"]


async def test_new_chats_beyond_the_budget_wait_a_day_and_others_do_not(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(ONE_NEW, known=(person(7),)))
    for number in (1, 2, 3, 7):
        world.pacer.admit(queued(number))
    world.pacer.admit(queued(8, "1-2@g.us"))
    await trio.sleep(1)
    assert world.order() == ["cmd_1", "cmd_7", "cmd_8"]
    turns = world.pacer.turns()
    assert turns[CommandId("cmd_2")].at == pytest.approx(DAY_S)
    assert turns[CommandId("cmd_3")].at == pytest.approx(2 * DAY_S)
    await trio.sleep(DAY_S)
    assert world.order()[3:] == ["cmd_2"]


async def test_one_who_writes_is_answered_without_a_place_among_the_new_chats(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(ONE_NEW))
    for number in (1, 2, 3):
        world.pacer.admit(queued(number))
    await trio.sleep(1)
    assert world.order() == ["cmd_1"]
    row = MessageRow("99@lid", "99@lid", "3A", False, "text", "received", 1.0)
    sender = {"jid": person(3), "lid": "99@lid"}
    world.pacer.noted([Event("message.received", "message_received", "m", 1.0, {"sender": sender}, message=row)])
    await trio.sleep(1)
    assert world.order() == ["cmd_1", "cmd_3"]


async def test_what_is_taken_back_gives_its_place_to_the_next(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(SLOW))
    for number in range(4):
        world.pacer.admit(queued(number))
    await trio.sleep(1)
    assert world.pacer.remove(CommandId("cmd_1")) is not None
    assert world.pacer.remove(CommandId("cmd_1")) is None
    assert world.pacer.turns()[CommandId("cmd_2")].at == pytest.approx(60)
    await trio.sleep(130)
    assert world.order() == ["cmd_0", "cmd_2", "cmd_3"]


async def test_other_limits_count_at_once_for_what_waits(begin: Begin, autojump_clock: trio.testing.MockClock) -> None:
    world = begin(World(SLOW))
    for number in range(5):
        world.pacer.admit(queued(number))
    await trio.sleep(1)
    assert len(world.went) == 1
    world.pacer.pace(((0, EASY),), 0.0)
    await trio.sleep(0.1)
    assert world.order() == [f"cmd_{number}" for number in range(5)]
    world.pacer.admit(queued(9))
    world.pacer.pace(None, 0.0)
    await trio.sleep(0.1)
    assert not world.pacer.active


async def test_who_waits_for_the_outcome_gets_a_turn_that_comes_soon_and_a_time_otherwise(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(Limits(per_minute=20, burst=1, chat_gap_s=0, chat_jitter_s=0, new_chats=100)))
    for number in range(2):
        world.pacer.admit(at_once(number))
    with pytest.raises(Paced) as refused:
        world.pacer.admit(at_once(2))
    assert refused.value.fields["reason"] == "rate"
    assert refused.value.fields["retry_after_s"] == pytest.approx(6)
    assert refused.value.fields["not_before"].startswith("1970-01-01T00:00:0")
    await trio.sleep(20)
    assert world.order() == ["cmd_0", "cmd_1"]


async def test_who_waits_in_vain_is_told_after_a_while_that_nothing_was_begun(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(EASY, room=0))
    waiting = at_once(1)
    world.pacer.admit(waiting)
    await trio.sleep(PATIENCE_S + 1)
    assert isinstance(waiting.reply.outcome, InstanceDown)
    assert not waiting.reply.begun
    world.room = 5
    world.pacer.wake()
    await trio.sleep(1)
    assert world.went == []


async def test_what_expires_while_it_is_held_is_given_back_at_its_time(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(SLOW))
    world.pacer.admit(queued(1))
    world.pacer.admit(queued(2, expires=30))
    await trio.sleep(31)
    assert world.expired == ["cmd_2"]
    await trio.sleep(60)
    assert world.order() == ["cmd_1"]


async def test_budgets_go_on_where_the_store_says_they_were(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(None)
    now = trio.current_time()
    limits = Limits(per_minute=1, burst=2, chat_gap_s=0, chat_jitter_s=0, new_chats=1)
    world.pacer.pace(((0, limits),), 0.0)
    chats = [KnownChat(person(1), now - 10, None, (now - 10,)), KnownChat(person(2), now, now - 50, (now - 5,))]
    world.pacer.begin(chats, None)
    begin(world)
    world.pacer.admit(queued(1))
    world.pacer.admit(queued(3))
    await trio.sleep(49)
    assert world.went == []  # two were sent, of which the first is ten seconds ago
    await trio.sleep(100)
    assert world.order() == ["cmd_1"]
    turn = world.pacer.turns()[CommandId("cmd_3")]
    assert (turn.reason, turn.at) == (Reason.NEW_CHATS, pytest.approx(now - 10 + DAY_S))


async def test_after_a_refusal_new_chats_wait_one_is_tried_and_its_success_frees_the_others(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(None))
    world.pacer.begin([KnownChat(person(7), None, 0.0, ())], None)
    restriction = world.pacer.locked()
    assert restriction.until == pytest.approx(LOCK_FIRST_S)
    first, second = queued(1), queued(2)
    for message in (first, second, queued(7)):
        world.pacer.admit(message)
    with pytest.raises(NewChatsLimited):
        world.pacer.check(person(4))
    await trio.sleep(1)
    assert world.order() == ["cmd_7"]
    await trio.sleep(LOCK_FIRST_S + 60)
    assert world.order() == ["cmd_7", "cmd_1"]
    first.reply.set(NewChatsLimited())
    again = world.pacer.locked()
    assert not world.pacer.sent(first)
    assert (again.strikes, again.until - again.since > 2 * LOCK_FIRST_S) == (2, True)
    assert world.pacer.is_new(person(1))
    await trio.sleep(2 * LOCK_FIRST_S + 60)
    assert world.order() == ["cmd_7", "cmd_1", "cmd_2"]
    second.reply.set(Sent("3EB0", 0.0))
    assert world.pacer.sent(second)
    assert not world.pacer.active
    world.pacer.check(person(5))


async def test_a_new_chat_that_was_not_begun_is_still_new_and_gives_its_place_back(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(ONE_NEW))
    failed, second = queued(1), queued(2)
    world.pacer.admit(failed)
    world.pacer.admit(second)
    await trio.sleep(1)
    assert world.order() == ["cmd_1"]
    failed.reply.set(SendFailed())
    world.pacer.sent(failed)
    await trio.sleep(1)
    assert world.order() == ["cmd_1", "cmd_2"]
    assert world.pacer.is_new(person(1))


async def test_a_new_chat_that_whatsapp_refused_was_an_attempt_and_keeps_its_place(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(ONE_NEW))
    refused, second = queued(1), queued(2)
    world.pacer.admit(refused)
    world.pacer.admit(second)
    await trio.sleep(1)
    world.pacer.locked()
    refused.reply.set(NewChatsLimited())
    world.pacer.sent(refused)
    turn = world.pacer.turns()[second.command]
    assert (turn.reason, turn.at) == (Reason.NEW_CHATS, pytest.approx(DAY_S))


async def test_a_chat_is_known_once_any_message_to_it_was_sent(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(EASY))
    failed, second = queued(1), queued(2, person(1))
    world.pacer.admit(failed)
    world.pacer.admit(second)
    await trio.sleep(1)
    failed.reply.set(SendFailed())
    world.pacer.sent(failed)
    second.reply.set(Sent("3EB0", 0.0))
    world.pacer.sent(second)
    assert not world.pacer.is_new(person(1))


async def test_what_the_phone_sends_counts_as_well(begin: Begin, autojump_clock: trio.testing.MockClock) -> None:
    world = begin(World(SLOW))
    row = MessageRow(person(1), "me@lid", "3A", True, "text", "sent", trio.current_time())
    world.pacer.noted([Event("message.sent", "message_sent", "m", 0.0, {}, message=row)])
    world.pacer.admit(queued(1))
    assert world.pacer.turns()[CommandId("cmd_1")].at == pytest.approx(60)


async def test_chats_that_have_to_pause_longer_do_not_make_a_caller_wait(
    begin: Begin, autojump_clock: trio.testing.MockClock
) -> None:
    world = begin(World(Limits(per_minute=10, burst=3, chat_gap_s=100, chat_jitter_s=0, new_chats=100)))
    for number, chat in enumerate("abab"):
        world.pacer.admit(queued(number, chat + "@g.us"))
    await trio.sleep(0.5)
    assert len(world.went) == 2
    world.pacer.admit(at_once(7, "c@g.us"))
    await trio.sleep(0.5)
    assert world.order()[2:] == ["cmd_7"]


async def test_at_the_end_nothing_goes_and_only_those_who_wait_are_told(autojump_clock: trio.testing.MockClock) -> None:
    world = World(Limits(per_minute=20, burst=1, chat_gap_s=0, chat_jitter_s=0, new_chats=9))
    kept, waiting = queued(2), at_once(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.pacer.admit(at_once(1))
        world.pacer.admit(waiting)
        world.pacer.admit(kept)
        await trio.sleep(0.1)
        world.pacer.stop()
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert world.order() == ["cmd_1"]
    assert isinstance(waiting.reply.outcome, InstanceDown)
    assert not waiting.reply.begun
    assert kept.reply.outcome is None


async def test_ten_thousand_held_ones_are_not_looked_at_whenever_another_comes(
    begin: Begin, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = begin(World(ONE_NEW))
    world.pacer._limit = 10_000
    decided = 0

    def counting(*args: Any, **more: Any) -> Turn:
        nonlocal decided
        decided += 1
        return decide(*args, **more)

    monkeypatch.setattr(pacing, "decide", counting)
    for number in range(10_001):
        world.pacer.admit(queued(number))
        await trio.testing.wait_all_tasks_blocked()
    assert (len(world.went), world.pacer.room) == (1, 0)
    assert decided < 3 * 10_001
    with pytest.raises(Busy):
        world.pacer.admit(queued(10_001))
