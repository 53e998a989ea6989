"""Faults of queries, messages and transfers, several at once, and those that are refused: as in test_faults.py."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from bridge.engine.failures import is_certain
from tests.support.conformance import Contact, Refused, Stage, data, until
from tests.support.conformance_faults import failure, in_background, is_whole, struck

pytestmark = pytest.mark.engine


@pytest.fixture
def contact(own: Stage) -> Contact:
    return own.sandbox.contact()


# --- queries and acknowledgements ---------------------------------------------------------------------------------


def test_a_query_without_an_answer_is_asked_again_on_the_next_connection(
    own: Stage, contact: Contact, broken: Callable[..., int]
) -> None:
    number = broken("unanswered", xmlns="usync", count=1)
    with in_background(own.a, "is_on_whatsapp", contact.phone) as answer:
        until(lambda: struck(own, number) == 1)
        assert not answer
        broken("cut")
        (found,) = until(lambda: answer)
    assert [entry["data"]["IsIn"] for entry in found] == [True]


def test_a_send_that_is_never_acknowledged_is_sent_once_all_the_same(
    own: Stage, contact: Contact, broken: Callable[..., int]
) -> None:
    own.a.send(contact.phone, "before")
    number = broken("ack_missing", count=1)
    with in_background(own.a, "send_message", {"jid": contact.jid}, "who heard this?") as answer:
        until(lambda: struck(own, number) == 1)
        assert not answer
        broken("cut")
        sent = until(lambda: answer)[0]["data"]["ID"]
    assert [m["message_id"] for m in contact.messages() if m["text"] == "who heard this?"] == [sent]


def test_a_late_acknowledgement_keeps_the_send_waiting(
    own: Stage, contact: Contact, broken: Callable[..., int]
) -> None:
    own.a.send(contact.phone, "before")
    broken("ack_delayed", delay_s=1, count=1)
    began = time.monotonic()
    sent = own.a.send(contact.phone, "patience")
    assert time.monotonic() - began >= 1
    contact.got(sent)


def test_a_rate_limit_refuses_sends_and_look_ups(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    own.a.send(contact.phone, "before")
    broken("rate_limited", count=2)
    error = failure(own.a, "send_message", {"jid": contact.jid}, "too many")
    assert "429" in error
    assert is_certain(error)
    assert "429" in failure(own.a, "is_on_whatsapp", own.b.phone)
    assert [m["text"] for m in contact.messages()] == ["before"]
    is_whole(own.a, contact)


def test_a_reach_out_lock_refuses_first_messages_only(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    known = own.sandbox.contact()
    own.a.message(known.send(own.a.phone, text="I wrote first"))
    broken("reachout_locked")
    error = failure(own.a, "send_message", {"jid": contact.jid}, "hello, stranger")
    assert "463" in error
    assert is_certain(error)
    assert contact.messages() == []
    known.got(own.a.send(known.phone, "hello, friend"))


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_doubled_message_is_reported_once(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    since = own.a.mark()
    number = broken("duplicated", count=1)
    sent = contact.send(own.a.phone, text="twice")
    last = contact.send(own.a.phone, text="behind it")
    own.a.message(last, since)
    assert struck(own, number) == 1
    seen = [e for e in own.worker.events[since:] if e["event"] == "Message" and e["client"] == "a"]
    assert [e["data"]["Info"]["ID"] for e in seen] == [sent, last]


def test_reordered_messages_are_all_read(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    own.a.message(contact.send(own.a.phone, text="before"))
    since = own.a.mark()
    broken("reordered", count=1, delay_s=20)
    first = contact.send(own.a.phone, text="first")
    second = contact.send(own.a.phone, text="second")
    own.a.message(first, since)
    seen = [e for e in own.worker.events[since:] if e["event"] == "Message" and e["client"] == "a"]
    assert [e["data"]["Info"]["ID"] for e in seen] == [second, first]


def test_a_message_that_waits_for_another_goes_out_by_itself_in_the_end(
    own: Stage, contact: Contact, broken: Callable[..., int]
) -> None:
    broken("reordered", count=1, delay_s=0.5)
    own.a.message(contact.send(own.a.phone, text="the only one"))


def test_a_corrupted_message_is_asked_for_again(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    own.a.message(contact.send(own.a.phone, text="before"))
    since = own.a.mark()
    broken("corrupted", count=1)
    sent = contact.send(own.a.phone, text="damaged on its way")
    own.a.event("UndecryptableMessage", lambda e: e["Info"]["ID"] == sent, since)
    assert own.a.message(sent, since)["data"]["Message"]["conversation"] == "damaged on its way"


def test_an_upload_that_the_media_host_refuses_fails_and_the_next_one_does_not(own: Stage) -> None:
    file, image = data(b"what is to be sent"), {"enum": ["MediaType", "MediaImage"]}
    own.sandbox.post("/faults", kind="media", code=500, direction="upload", count=1)
    assert "500" in failure(own.a, "upload", file, image)
    uploaded = own.a.call("upload", file, image)["data"]
    told = own.sandbox.get("/oracle/transfers")["transfers"]
    assert [(t["direction"], t["status"]) for t in told] == [("upload", 500), ("upload", 200)]
    assert told[1]["hash"] == base64.b64decode(uploaded["FileEncSHA256"]).hex()


# --- several ------------------------------------------------------------------------------------------------------


def test_a_schedule_drawn_from_a_seed_is_carried_out_and_can_be_repeated(own: Stage, contact: Contact) -> None:
    asked = {"seconds": 2, "count": 4, "kinds": ["cut", "stream_error", "duplicated"], "phones": [own.a.phone]}
    drawn = own.sandbox.post("/faults/schedule", seed=7, **asked)
    sent = [contact.send(own.a.phone, text=f"text {index}") for index in range(20)]

    def done() -> bool:
        (told,) = (s for s in own.sandbox.get("/faults")["schedules"] if s["number"] == drawn["number"])
        return len(told["done"]) == 4

    until(done)
    again = own.sandbox.post("/faults/schedule", seed=7, **asked)
    assert again["steps"] == drawn["steps"]
    own.sandbox.delete("/faults/schedule")
    for message_id in sent:
        own.a.message(message_id)
    ids = [e["data"]["Info"]["ID"] for e in own.worker.events if e["event"] == "Message" and e["client"] == "a"]
    assert [i for i in ids if i in sent] == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "earthquake"},
        {"kind": "cut", "seconds": 5},
        {"kind": "slow", "delay_s": -1},
        {"kind": "stream_error", "code": 404},
        {"kind": "logged_out"},
        {"kind": "server_down", "seconds": 5, "phone": "a"},
        {"kind": "slow", "count": 0},
        {"kind": "media", "direction": "sideways"},
        {"kind": "slow", "seconds": 1e9},
        {"kind": "cut", "colour": "red"},
    ],
    ids=json.dumps,
)
def test_a_fault_that_makes_no_sense_is_refused_and_changes_nothing(own: Stage, wrong: dict[str, Any]) -> None:
    before = own.sandbox.get("/faults")
    body = wrong | ({"phone": own.a.phone} if "phone" in wrong else {})
    with pytest.raises(Refused) as refused:
        own.sandbox.post("/faults", **body)
    assert refused.value.status == 400
    with pytest.raises(Refused):
        own.sandbox.post("/faults/schedule", steps=[{"at_s": 0, "fault": body}])
    assert own.sandbox.get("/faults") == before
