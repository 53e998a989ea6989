"""The session's state table: each promise of the state machine, one by one, and that no signal meets a hole."""

import itertools

import pytest

from bridge.domain import effects as fx
from bridge.domain import signals as sig
from bridge.domain.session import (
    CLOSED,
    OPEN,
    TRANSITIONS,
    Decision,
    Needs,
    Session,
    State,
    Unexpected,
    decide,
    retry_delay_s,
)

PAIRED = Session(paired=True, wanted=True)
SIGNALS: tuple[sig.Signal, ...] = (
    sig.Booted(),
    sig.ConnectAsked(),
    sig.PauseAsked(),
    sig.RetryDue(),
    sig.QrIssued("ref", 1.0),
    sig.QrExhausted(),
    sig.PairCodeIssued("ABCD-1234", 1.0),
    sig.PairSucceeded("49151:1@s.whatsapp.net"),
    sig.PairFailed("bad hmac"),
    sig.Connected(),
    sig.Disconnected(),
    sig.StreamFailed("503"),
    sig.LoggedOut("401"),
    sig.Replaced(),
    sig.ConnectFailed("refused"),
    sig.Outdated(),
    sig.Banned("101", 60.0),
    sig.KeepAliveLost(),
    sig.KeepAliveRestored(),
    sig.SelfCheckFailed(),
    sig.SelfCheckPassed(),
    sig.PushNameKnown("Ann"),
    sig.EngineLost(),
)


def session(state: State, *, paired: bool = True, **fields: object) -> Session:
    return Session(state=state, paired=paired, wanted=True, **fields)  # type: ignore[arg-type]


def test_the_table_has_a_row_for_every_state_and_signal() -> None:
    assert {(state, type(signal)) for state in State for signal in SIGNALS} == set(TRANSITIONS)


@pytest.mark.parametrize(("state", "paired"), list(itertools.product(State, (True, False))))
def test_no_signal_in_any_state_breaks_the_decision(state: State, paired: bool) -> None:
    for signal in SIGNALS:
        decision = decide(session(state, paired=paired), signal)
        assert decision.session.state in State


def test_a_signal_without_a_row_is_refused_by_name() -> None:
    class Unknown(sig.Signal):
        pass

    with pytest.raises(Unexpected, match="Unknown in online"):
        decide(session(State.ONLINE), Unknown())


@pytest.mark.parametrize("state", [State.ONLINE, State.RECONNECTING, State.CONNECTING, State.STALE, State.RESTRICTED])
def test_a_paired_instance_that_should_run_is_opened_at_start_whatever_it_was(state: State) -> None:
    decision = decide(session(state), sig.Booted())
    assert decision.session.state is State.CONNECTING
    assert fx.OpenSession() in decision.effects


def test_a_paused_instance_stays_away_at_start() -> None:
    decision = decide(Session(state=State.ONLINE, paired=True, wanted=False), sig.Booted())
    assert (decision.session.state, decision.effects) == (State.PAUSED, ())


def test_an_unpaired_instance_does_not_show_a_qr_code_to_nobody_at_start() -> None:
    decision = decide(session(State.AWAITING_PAIRING, paired=False), sig.Booted())
    assert (decision.session.state, decision.session.wanted, decision.effects) == (State.CREATED, False, ())


def test_a_replaced_stream_is_never_answered_by_connecting() -> None:
    decision = decide(session(State.ONLINE), sig.Replaced())
    assert (decision.session.state, decision.session.needs) == (State.CONFLICT, Needs.OPERATOR)
    assert not any(isinstance(effect, fx.OpenSession | fx.RetryAfter) for effect in decision.effects)
    for later in (sig.Booted(), sig.RetryDue(), sig.Disconnected()):
        assert decide(decision.session, later).effects == ()


def test_a_logged_out_number_forgets_its_device_and_waits_for_a_new_scan() -> None:
    decision = decide(session(State.ONLINE), sig.LoggedOut("device_removed"))
    out = decision.session
    assert (out.state, out.paired, out.wanted, out.needs) == (State.LOGGED_OUT, False, False, Needs.SCAN_QR)
    assert fx.ForgetDevice() in decision.effects
    assert decide(out, sig.Booted()).session.state is State.LOGGED_OUT
    assert fx.OpenPairing() in decide(out, sig.ConnectAsked()).effects


def test_a_paired_session_is_online_only_after_it_left_the_pairing_host() -> None:
    pairing = decide(Session(), sig.ConnectAsked()).session
    assert pairing.pairing
    scanned = decide(decide(pairing, sig.QrIssued("ref", 1.0)).session, sig.PairSucceeded("1:2@s.whatsapp.net")).session
    assert decide(scanned, sig.Disconnected()).session == scanned  # stream error 515 belongs to pairing
    moving = decide(scanned, sig.Connected())
    assert moving.session.state is State.CONNECTING
    assert moving.effects[:3] == (fx.AwaitAppState(), fx.CloseSession(), fx.OpenSession())
    assert decide(moving.session, sig.Connected()).session.state is State.ONLINE


def test_an_unanswered_keepalive_is_stale_and_is_recycled_when_it_lasts() -> None:
    stale = decide(session(State.ONLINE), sig.KeepAliveLost())
    assert stale.session.state is State.STALE
    again = decide(stale.session, sig.RetryDue())
    assert again.effects[:3] == (fx.Announce("disconnected"), fx.CloseSession(), fx.OpenSession())
    assert again.session.reason == "recycled: keepalive_unanswered"
    assert decide(stale.session, sig.KeepAliveRestored()).session.state is State.ONLINE


def test_a_ban_waits_for_its_end_and_then_connects() -> None:
    banned = decide(session(State.CONNECTING), sig.Banned("104", 3600))
    assert banned.session.state is State.RESTRICTED
    assert fx.RetryAfter(3600) in banned.effects
    assert fx.OpenSession() in decide(banned.session, sig.RetryDue()).effects


def test_a_ban_is_waited_for_across_a_restart() -> None:
    banned = session(State.RESTRICTED)
    assert decide(banned, sig.Booted(restricted_for_s=100)).effects == (fx.RetryAfter(100),)
    assert fx.OpenSession() in decide(banned, sig.Booted()).effects


def test_nobody_scanning_ends_the_pairing_with_a_reason() -> None:
    for signal in (sig.QrExhausted(), sig.RetryDue(), sig.PairFailed("bad hmac")):
        ended = decide(session(State.AWAITING_PAIRING, paired=False), signal)
        assert (ended.session.state, ended.session.wanted) == (State.CREATED, False)
        assert ended.session.reason is not None
        assert ended.effects[0] == fx.CloseSession()


def test_connection_failures_back_off_up_to_five_minutes() -> None:
    assert [retry_delay_s(n) for n in (0, 1, 2, 3)] == [2, 4, 8, 16]
    assert retry_delay_s(100) == 300
    failed = decide(session(State.CONNECTING, attempts=3), sig.ConnectFailed("refused"))
    assert fx.RetryAfter(16) in failed.effects
    assert decide(failed.session, sig.RetryDue()).session.attempts == 4


def test_a_dead_engine_crashes_the_actor_so_that_the_store_decides() -> None:
    lost = decide(session(State.ONLINE), sig.EngineLost())
    assert lost.session.state is State.RECONNECTING
    assert lost.effects[-1] == fx.Crash()


def test_a_closed_session_ignores_late_news_of_its_engine() -> None:
    for state in CLOSED:
        for signal in (sig.Connected(), sig.Disconnected(), sig.LoggedOut("401"), sig.QrIssued("r", 1.0)):
            before = session(state)
            assert decide(before, signal).session == before


def test_open_and_closed_states_are_all_states() -> None:
    assert set(OPEN) | set(CLOSED) == set(State)
    assert not set(OPEN) & set(CLOSED)


def test_a_pairing_code_is_what_a_person_is_needed_for_and_stays_so_while_qr_codes_change() -> None:
    waiting = decide(session(State.AWAITING_PAIRING, paired=False, pairing=True), sig.PairCodeIssued("ABCD-1234", 1.0))
    assert (waiting.session.needs, waiting.effects) == (Needs.ENTER_CODE, (fx.ShowPairCode("ABCD-1234", 1.0),))
    later = decide(waiting.session, sig.QrIssued("ref", 2.0))
    assert (later.session, later.effects[0]) == (waiting.session, fx.ShowQr("ref", 2.0))
    assert decide(later.session, sig.PairSucceeded("49151:1@s.whatsapp.net")).session.needs is Needs.NONE


def test_a_code_that_comes_too_late_is_not_shown() -> None:
    for state in (State.CREATED, State.PAUSED, State.ONLINE, State.CONNECTING):
        assert decide(session(state), sig.PairCodeIssued("ABCD-1234", 1.0)).effects == ()


def test_one_unanswered_question_makes_an_instance_stale_and_a_second_one_recycles_it() -> None:
    stale = decide(session(State.ONLINE), sig.SelfCheckFailed())
    assert (stale.session.state, stale.session.reason) == (State.STALE, "self_check_unanswered")
    assert fx.Announce("disconnected") in stale.effects
    again = decide(stale.session, sig.SelfCheckFailed())
    assert (again.session.state, again.session.reason) == (State.CONNECTING, "recycled: self_check_unanswered")
    kinds = [type(effect) for effect in again.effects]
    assert kinds == [fx.Announce, fx.CloseSession, fx.OpenSession, fx.RetryAfter]


def test_an_answer_makes_a_stale_instance_online_and_an_online_one_nothing_else() -> None:
    assert decide(session(State.STALE), sig.SelfCheckPassed()).session.state is State.ONLINE
    decision = decide(session(State.ONLINE), sig.SelfCheckPassed())
    assert (decision.session.state, decision.effects) == (State.ONLINE, ())


def test_late_news_that_the_last_device_was_logged_out_does_not_end_the_pairing_of_the_next_one() -> None:
    pairing = session(State.AWAITING_PAIRING, paired=False, pairing=True)
    assert decide(pairing, sig.LoggedOut("removed_by_phone")) == Decision(pairing)
