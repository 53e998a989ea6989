"""What is decided about sends without WhatsApp: waiting, spellings, cards, buttons as text, the names of events."""

import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import CommandId
from bridge.domain.interactive import as_text
from bridge.domain.names import NAMES
from bridge.domain.questions import OnWhatsApp, PhoneFound
from bridge.domain.spelling import other_spelling
from bridge.domain.vcard import is_vcard, vcard
from bridge.engine.compose import Quote, compose
from bridge.instances.errors import Busy
from bridge.instances.outbox import Outbox, Outgoing
from bridge.instances.phonebook import BELIEVED_S, Phonebook, UnknownRecipient
from bridge.instances.waiting import Waiting
from bridge.protos import e2e

SHORT, LONG = "551187654321", "5511987654321"


def message(number: int, *, at: float = 0.0, expires: float = math.inf) -> Outgoing:
    command = CommandId(f"cmd_{number}")
    return Outgoing(command, "text", "1@s.whatsapp.net", {"text": "x"}, at, expires, queued=True)


def numbers(messages: list[Outgoing]) -> list[str]:
    return [one.command for one in messages]


def test_what_waits_goes_in_the_order_of_its_time_and_arrival_as_far_as_there_is_room() -> None:
    waiting = Waiting()
    for one in (message(1, at=50), message(2), message(3), message(4, at=20)):
        waiting.put(one)
    assert waiting.next_at(10) == 50 or waiting.next_at(10) == math.inf
    assert numbers(list(waiting.take_due(30, 2))) == ["cmd_2", "cmd_3"]
    assert waiting.next_at(10) == 20
    assert numbers(list(waiting.take_due(30, 2))) == ["cmd_4"]
    assert numbers(list(waiting.take_due(49, 9))) == []
    assert numbers(list(waiting.take_due(50, 9))) == ["cmd_1"]


def test_what_has_waited_too_long_is_given_once_and_what_is_taken_back_is_gone() -> None:
    waiting = Waiting()
    waiting.put(message(1, expires=5))
    waiting.put(message(2, expires=6))
    waiting.put(message(3))
    assert waiting.remove(CommandId("cmd_2")) is not None
    assert waiting.remove(CommandId("cmd_2")) is None
    assert numbers(list(waiting.take_expired(5))) == []
    assert numbers(list(waiting.take_expired(7))) == ["cmd_1"]
    assert numbers(list(waiting.take_due(7, 9))) == ["cmd_3"]
    assert len(waiting) == 0


def test_more_than_the_limit_is_refused_but_not_what_was_here_before() -> None:
    waiting = Waiting(limit=1)
    waiting.put(message(1))
    with pytest.raises(Busy):
        waiting.put(message(2))
    waiting.put(message(3), again=True)
    assert len(waiting) == 2


async def test_a_queued_message_can_be_taken_back_until_it_is_begun(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    sent: list[str] = []

    async def send(one: Outgoing) -> None:
        await trio.sleep(1)
        sent.append(one.command)

    outbox = Outbox(send)
    await nursery.start(outbox.run)
    for number in range(3):
        outbox.put(message(number))
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.remove(CommandId("cmd_0")) is None
    assert outbox.remove(CommandId("cmd_1")) is not None
    await outbox.drained()
    assert sent == ["cmd_0", "cmd_2"]


@pytest.mark.parametrize(
    ("phone", "other"),
    [(LONG, SHORT), (SHORT, LONG), ("551132654321", None), ("4915112345678", None), ("5511", None)],
)
def test_only_brazilian_mobile_numbers_have_two_spellings(phone: str, other: str | None) -> None:
    assert other_spelling(phone) == other


@given(st.from_regex(r"55[1-9][0-9]9?[6-9][0-9]{7}", fullmatch=True))
def test_the_other_spelling_of_the_other_spelling_is_the_first(phone: str) -> None:
    other = other_spelling(phone)
    assert other is not None
    assert other_spelling(other) == phone


async def test_a_number_is_tried_as_given_first_and_believed_until_a_send_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[tuple[str, ...]] = []

    async def ask(question: OnWhatsApp) -> tuple[PhoneFound, ...]:
        asked.append(question.phones)
        return tuple(
            PhoneFound(phone, phone == SHORT, f"{phone}@s.whatsapp.net" if phone == SHORT else None)
            for phone in question.phones
        )

    book = Phonebook(ask)
    assert await book.resolve(f"{LONG}@s.whatsapp.net") == f"{SHORT}@s.whatsapp.net"
    assert asked == [(LONG,), (SHORT,)]
    assert (await book.look_up([LONG]))[0].cached
    assert await book.resolve("123@g.us") == "123@g.us"
    assert len(asked) == 2
    book.forget(f"{SHORT}@s.whatsapp.net")
    await book.resolve(f"{LONG}@s.whatsapp.net")
    assert len(asked) == 4
    await trio.sleep(BELIEVED_S + 1)
    assert not (await book.look_up([LONG]))[0].cached
    with pytest.raises(UnknownRecipient):
        await book.resolve("4915199999999@s.whatsapp.net")


@given(st.text(max_size=40))
def test_a_card_is_one_whatever_the_name(name: str) -> None:
    card = vcard(name, SHORT)
    assert is_vcard(card)
    assert len(card.splitlines()) >= 6
    assert [line for line in card.split("\n") if line.startswith("TEL")] == [f"TEL;type=CELL;waid={SHORT}:+{SHORT}"]


@pytest.mark.parametrize("text", ["", "BEGIN:VCARD\nEND:VCARD", "BEGIN:VCARD\nVERSION:3.0\nFN:x"])
def test_what_phones_show_nothing_of_is_no_card(text: str) -> None:
    assert not is_vcard(text)


def test_buttons_become_numbered_lines() -> None:
    assert as_text("T", "B", "F", ["Yes", "No"]) == "*T*\n\nB\n\n1. Yes\n2. No\n\n_F_"
    assert as_text("", "B", None, ["Yes"]) == "B\n\n1. Yes"


def test_a_reply_with_mentions_keeps_both_and_a_place_at_zero_is_a_place() -> None:
    body = {"text": "@2 hi", "mentions": ["2@s.whatsapp.net"]}
    sent = e2e.Message.FromString(compose("text", body, Quote("3EB0", "1@lid", "when?"))).extendedTextMessage
    assert list(sent.contextInfo.mentionedJID) == ["2@s.whatsapp.net"]
    assert (sent.contextInfo.stanzaID, sent.contextInfo.quotedMessage.conversation) == ("3EB0", "when?")
    place = e2e.Message.FromString(compose("location", {"latitude": 0.0, "longitude": 0.0}))
    assert place.HasField("locationMessage")


def test_a_key_names_the_sender_in_groups_only() -> None:
    target = {"message_id": "3EB0", "chat": "1@g.us", "from_me": False, "sender": "7@lid"}
    body = {"target": target, "emoji": "x", "at_ms": 1}
    assert e2e.Message.FromString(compose("reaction", body)).reactionMessage.key.participant == "7@lid"
    direct = {**body, "target": {**target, "chat": "7@lid"}}
    assert not e2e.Message.FromString(compose("reaction", direct)).reactionMessage.key.participant


def test_a_name_is_emitted_for_some_type() -> None:
    assert [name.name for name in NAMES.values() if not name.types] == []
