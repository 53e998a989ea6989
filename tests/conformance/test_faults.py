"""Every fault once: what the real client reports of it, and what the bridge understands.

Expected is the table in the docs (docs/sandbox.md, Faults): a client that can go on has lost and doubled nothing
afterwards. What ends a session for good has a client of its own.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.domain.session import State
from bridge.domain.signals import (
    Banned,
    Connected,
    ConnectFailed,
    Disconnected,
    KeepAliveLost,
    KeepAliveRestored,
    LoggedOut,
    Outdated,
    Replaced,
    Signal,
    StreamFailed,
)
from bridge.engine.failures import is_certain
from tests.support.conformance import Client, Contact, Refused, Stage, data, until
from tests.support.conformance_signals import signals, state_after

pytestmark = pytest.mark.engine
DEAF_S = 45
"""Longer than the library needs to notice that its pings stay unanswered: 20 to 30 s, and 10 s for the answer."""


@pytest.fixture(scope="module")
def deaf(own: Stage) -> tuple[Client, int]:
    """Return a client that hears nothing for a while: it needs half a minute to notice, so others go on meanwhile."""
    client = own.worker.pair("deaf")
    since = client.mark()
    assert own.sandbox.post("/faults", kind="half_open", phone=client.phone, seconds=DEAF_S)["connections"] == 1
    return client, since


@pytest.fixture
def contact(own: Stage) -> Contact:
    return own.sandbox.contact()


@pytest.fixture
def broken(own: Stage) -> Iterator[Callable[..., int]]:
    """Return what breaks something for client a, and mends it afterwards; it returns the fault's number."""
    numbers: list[int] = []

    def fault(kind: str, **more: Any) -> int:
        more.setdefault("phone", own.a.phone)
        body = {name: value for name, value in more.items() if value is not None}
        numbers.append(own.sandbox.post("/faults", kind=kind, **body)["number"])
        return numbers[-1]

    yield fault
    for kind in ("slow", "unanswered", "ack_missing", "ack_delayed", "rate_limited", "reachout_locked"):
        own.sandbox.post("/faults", kind=kind, seconds=0)


def struck(stage: Stage, number: int) -> int:
    """Return how often a fault has struck."""
    listed = stage.sandbox.get("/faults")
    return next(entry["struck"] for entry in [*listed["active"], *listed["over"]] if entry["number"] == number)


def heard(client: Client, since: int, *kinds: type[Signal], timeout_s: float = 60) -> list[Signal]:
    """Return the client's signals behind a place, once there are these kinds among them in this order."""

    def found() -> list[Signal] | None:
        told = signals(client, since)
        rest = iter(told)
        return told if all(any(isinstance(signal, kind) for signal in rest) for kind in kinds) else None

    return until(found, timeout_s)


@contextmanager
def in_background(client: Client, method: str, *arguments: Any) -> Iterator[list[Any]]:
    """Make a call that takes its time; what it returns is put into the list."""
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(client.call(method, *arguments, timeout_s=60)))
    thread.start()
    yield answer
    thread.join(60)


def is_whole(client: Client, contact: Contact) -> None:
    """Check that texts pass in both directions, each once."""
    sent = contact.send(client.phone, text="still there?")
    client.message(sent)
    answer = client.send(contact.phone, "yes")
    assert contact.got(answer)["text"] == "yes"
    seen = [e for e in client.worker.events if e["event"] == "Message" and e["data"]["Info"]["ID"] == sent]
    assert len(seen) == 1


# --- connections --------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_for_a_while_is_found_again(
    own: Stage, contact: Contact, broken: Callable[..., int]
) -> None:
    since = own.a.mark()
    broken("server_down", phone=None, seconds=1.5)
    assert own.sandbox.get("/health")["status"] == "down"
    waiting = contact.send(own.a.phone, text="into the outage")
    heard(own.a, since, Disconnected, Connected)
    own.a.message(waiting, since)
    is_whole(own.a, contact)


def test_a_cut_connection_comes_back(
    own: Stage, contact: Contact, broken: Callable[..., int], deaf: tuple[Client, int]
) -> None:
    since = own.a.mark()
    broken("cut")
    told = heard(own.a, since, Disconnected, Connected)
    assert state_after(told).state is State.ONLINE
    is_whole(own.a, contact)


@pytest.mark.parametrize("code", [500, 516])
def test_a_stream_error_is_reported_and_followed_by_a_reconnect(
    own: Stage, contact: Contact, broken: Callable[..., int], code: int
) -> None:
    since = own.a.mark()
    broken("stream_error", code=code)
    told = heard(own.a, since, Disconnected, Connected)
    assert StreamFailed(str(code)) in told
    is_whole(own.a, contact)


@pytest.mark.parametrize("code", [503, 515])
def test_a_stream_error_that_means_come_again_looks_like_a_cut(
    own: Stage, contact: Contact, broken: Callable[..., int], code: int
) -> None:
    since = own.a.mark()
    broken("stream_error", code=code)
    told = heard(own.a, since, Connected)
    assert not [signal for signal in told if isinstance(signal, StreamFailed | LoggedOut)]
    is_whole(own.a, contact)


def test_a_slow_server_loses_nothing(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    number = broken("slow", delay_s=0.3)
    began = time.monotonic()
    is_whole(own.a, contact)
    assert time.monotonic() - began > 0.9
    assert struck(own, number) >= 3


# --- the end of a session -----------------------------------------------------------------------------------------


def test_a_replaced_client_stays_away(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    since = own.a.mark()
    broken("replaced")
    told = heard(own.a, since, Replaced)
    assert not [signal for signal in told if isinstance(signal, Disconnected)]
    assert state_after(told).state is State.CONFLICT
    back_again(own.a)
    is_whole(own.a, contact)


def back_again(client: Client) -> None:
    """Start a client again that its server has sent away."""
    since = client.mark()
    client.call("stop")
    client.call("start", client.jid)
    heard(client, since, Connected)


def test_a_phone_that_removes_the_device_logs_it_out(own: Stage) -> None:
    client = own.worker.pair("removed")
    since = client.mark()
    assert own.sandbox.post("/faults", kind="logged_out", phone=client.phone)["connections"] == 1
    told = heard(client, since, LoggedOut)
    assert LoggedOut("removed_by_phone", on_connect=False) in told
    assert state_after(told).state is State.LOGGED_OUT
    assert own.sandbox.get(f"/phones/{client.phone}")["devices"] == []


@pytest.mark.parametrize("code", [401, 403, 406])
def test_a_login_that_is_refused_for_good_logs_out(own: Stage, code: int) -> None:
    client = own.worker.pair(f"refused {code}")
    since = client.mark()
    own.sandbox.post("/faults", kind="login_refused", phone=client.phone, code=code, count=1)
    told = heard(client, since, LoggedOut)
    (out,) = (signal for signal in told if isinstance(signal, LoggedOut))
    assert out.on_connect
    assert state_after(told).state is State.LOGGED_OUT


def test_a_ban_says_how_long_it_lasts(own: Stage, contact: Contact, broken: Callable[..., int]) -> None:
    since = own.a.mark()
    broken("login_refused", code=402, expires_s=1234, count=1)
    told = heard(own.a, since, Banned)
    (ban,) = (signal for signal in told if isinstance(signal, Banned))
    assert ban.expires_in_s == 1234
    assert state_after(told).state is State.RESTRICTED
    back_again(own.a)
    is_whole(own.a, contact)


def test_an_outdated_client_is_told_so(own: Stage, broken: Callable[..., int]) -> None:
    since = own.a.mark()
    broken("login_refused", code=405, count=1)
    assert state_after(heard(own.a, since, Outdated)).state is State.FAILED
    back_again(own.a)


def test_a_login_that_conflicts_fails(own: Stage, broken: Callable[..., int]) -> None:
    since = own.a.mark()
    broken("login_refused", code=409, count=1)
    told = heard(own.a, since, ConnectFailed)
    assert not [signal for signal in told if isinstance(signal, LoggedOut)]
    assert state_after(told).state is State.RECONNECTING
    back_again(own.a)


@pytest.mark.parametrize(("code", "times"), [(500, 2), (503, 1)])
def test_a_login_that_the_server_could_not_serve_is_tried_again(
    own: Stage, contact: Contact, broken: Callable[..., int], code: int, times: int
) -> None:
    since = own.a.mark()
    number = broken("login_refused", code=code, count=times)
    heard(own.a, since, *[Disconnected] * times, Connected)
    assert struck(own, number) == times
    is_whole(own.a, contact)


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


def test_a_client_that_hears_nothing_notices_and_recovers(own: Stage, deaf: tuple[Client, int]) -> None:
    client, since = deaf
    told = heard(client, since, KeepAliveLost, KeepAliveRestored, timeout_s=2 * DEAF_S)
    noticed = next(place for place, signal in enumerate(told) if isinstance(signal, KeepAliveLost))
    assert state_after(told[: noticed + 1]).state is State.STALE
    assert state_after(told).state is State.ONLINE


def failure(client: Client, method: str, *arguments: Any) -> str:
    """Return the error of a call that has to fail."""
    with pytest.raises(RuntimeError) as error:
        client.call(method, *arguments)
    return str(error.value)
