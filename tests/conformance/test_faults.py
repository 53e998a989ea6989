"""Every fault of connections and sessions once: what the real client reports, and what the bridge understands.

Expected is the table in the docs (docs/sandbox.md, Faults): a client that can go on has lost and doubled nothing
afterwards. What ends a session for good has a client of its own. Those of messages are in test_message_faults.py.
"""

import time
from collections.abc import Callable

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
from tests.support.conformance import Client, Contact, Stage, until
from tests.support.conformance_faults import is_whole, struck
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


def heard(client: Client, since: int, *kinds: type[Signal], timeout_s: float = 60) -> list[Signal]:
    """Return the client's signals behind a place, once there are these kinds among them in this order."""

    def found() -> list[Signal] | None:
        told = signals(client, since)
        rest = iter(told)
        return told if all(any(isinstance(signal, kind) for signal in rest) for kind in kinds) else None

    return until(found, timeout_s)


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


def test_a_client_that_hears_nothing_notices_and_recovers(own: Stage, deaf: tuple[Client, int]) -> None:
    client, since = deaf
    told = heard(client, since, KeepAliveLost, KeepAliveRestored, timeout_s=2 * DEAF_S)
    noticed = next(place for place, signal in enumerate(told) if isinstance(signal, KeepAliveLost))
    assert state_after(told[: noticed + 1]).state is State.STALE
    assert state_after(told).state is State.ONLINE
