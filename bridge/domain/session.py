"""The session of one instance as a state machine: a table, and one pure function that looks things up in it.

The actor around it (`bridge.instances.actor`) reads a signal, calls `decide`, stores the new state and carries out
the effects. States are those of the HTTP API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bridge.domain.effects import (
    Announce,
    AwaitAppState,
    CloseSession,
    Crash,
    Effect,
    ForgetDevice,
    OpenPairing,
    OpenSession,
    RetryAfter,
    SaveIdentity,
    SavePushName,
    ShowPairCode,
    ShowQr,
)
from bridge.domain.signals import (
    Banned,
    Booted,
    ConnectAsked,
    Connected,
    ConnectFailed,
    Disconnected,
    EngineLost,
    KeepAliveLost,
    KeepAliveRestored,
    LoggedOut,
    Outdated,
    PairCodeIssued,
    PairFailed,
    PairSucceeded,
    PauseAsked,
    PushNameKnown,
    QrExhausted,
    QrIssued,
    Replaced,
    RetryDue,
    SelfCheckFailed,
    SelfCheckPassed,
    Signal,
    StreamFailed,
)


class State(StrEnum):
    CREATED = "created"
    CONNECTING = "connecting"
    AWAITING_PAIRING = "awaiting_pairing"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    STALE = "stale"
    CONFLICT = "conflict"
    RESTRICTED = "restricted"
    PAUSED = "paused"
    LOGGED_OUT = "logged_out"
    FAILED = "failed"


class Needs(StrEnum):
    """What a person has to do before the instance can go on."""

    NONE = "none"
    SCAN_QR = "scan_qr"
    ENTER_CODE = "enter_code"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """What a decision depends on."""

    state: State = State.CREATED
    reason: str | None = None
    needs: Needs = Needs.NONE
    paired: bool = False
    wanted: bool = False
    """The desired state: whether it should run."""
    pairing: bool = False
    """Whether the engine session that is open now is a pairing one, in a host of its own."""
    attempts: int = 0
    """Connection attempts since the session was last online."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the session is next, and what to do about it."""

    session: Session
    effects: tuple[Effect, ...] = ()


class Unexpected(Exception):
    """The table has no row for this signal in this state: a defect, not an event."""


RETRY_FIRST_S, RETRY_MAX_S = 2.0, 300.0
WATCHDOG_S = 60.0
"""How long the engine may try by itself before the session is opened anew: its own delay grows without a limit."""


def retry_delay_s(attempts: int) -> float:
    """Return 2, 4, 8, ... seconds, 300 at the most, for the number of attempts so far."""
    return min(RETRY_FIRST_S * float(1 << min(attempts, 16)), RETRY_MAX_S)


def _open(session: Session, reason: str | None) -> Decision:
    """Connect a paired session, pair another one."""
    opened = replace(
        session, state=State.CONNECTING, reason=reason, needs=Needs.NONE, wanted=True, pairing=not session.paired
    )
    return Decision(opened, (OpenSession() if session.paired else OpenPairing(), RetryAfter(WATCHDOG_S)))


def _booted(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, Booted)
    if not session.wanted:
        state = State.PAUSED if session.paired else session.state
        return Decision(replace(session, state=state, pairing=False))
    if session.state is State.CONFLICT:
        return Decision(session)  # connecting would throw out whoever took over
    if session.state is State.RESTRICTED and session.paired and signal.restricted_for_s > 0:
        return Decision(session, (RetryAfter(signal.restricted_for_s),))
    if not session.paired:
        # nobody is looking at a QR code after a restart
        state = session.state if session.state in (State.LOGGED_OUT, State.FAILED) else State.CREATED
        return Decision(replace(session, state=state, needs=Needs.SCAN_QR, wanted=False, pairing=False))
    return _open(session, "started")


def _connect_asked(session: Session, _: Signal) -> Decision:
    opened = _open(replace(session, attempts=0), "asked")
    if not session.paired:
        return opened
    return Decision(opened.session, (*opened.effects, Announce("instance_manually_connected")))


def _running_already(session: Session, _: Signal) -> Decision:
    return Decision(replace(session, wanted=True))


def _pause_asked(session: Session, _: Signal) -> Decision:
    state = State.PAUSED if session.paired else State.CREATED
    paused = replace(session, state=state, reason="asked", needs=Needs.NONE, wanted=False, pairing=False, attempts=0)
    return Decision(paused, (CloseSession(), Announce("instance_manually_disconnected")))


def _qr_issued(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, QrIssued)
    if session.state is State.AWAITING_PAIRING and session.needs is Needs.ENTER_CODE:
        waiting = session  # a scan would do as well, but a person was asked for the code
    else:
        waiting = replace(session, state=State.AWAITING_PAIRING, reason="qr_issued", needs=Needs.SCAN_QR)
    return Decision(waiting, (ShowQr(signal.code, signal.expires_at), RetryAfter(2 * WATCHDOG_S)))


def _code_issued(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, PairCodeIssued)
    waiting = replace(session, reason="code_issued", needs=Needs.ENTER_CODE)
    return Decision(waiting, (ShowPairCode(signal.code, signal.expires_at),))


def _pairing_ended(session: Session, signal: Signal) -> Decision:
    reason = f"pairing_failed: {signal.reason}" if isinstance(signal, PairFailed) else "pairing_timeout"
    ended = replace(session, state=State.CREATED, reason=reason, needs=Needs.SCAN_QR, wanted=False, pairing=False)
    return Decision(ended, (CloseSession(), Announce("instance_disconnected")))


def _paired(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, PairSucceeded)
    paired = replace(session, state=State.CONNECTING, reason="paired", needs=Needs.NONE, paired=True)
    return Decision(paired, (SaveIdentity(signal.jid, signal.lid), Announce("pair_success"), RetryAfter(WATCHDOG_S)))


def _connected(session: Session, _: Signal) -> Decision:
    if session.pairing:
        # out of the host that paired it, into a shared one: it is online only there
        moving = replace(session, state=State.CONNECTING, reason="moving_to_shared_host", pairing=False)
        return Decision(moving, (AwaitAppState(), CloseSession(), OpenSession(), RetryAfter(WATCHDOG_S)))
    online = replace(session, state=State.ONLINE, reason=None, needs=Needs.NONE, attempts=0)
    # the original's two names: one for every connection, one for an instance that was not online before
    began = (Announce("instance_connected"),) if session.state is State.CONNECTING else ()
    return Decision(online, (Announce("connected"), *began))


def _still_online(session: Session, _: Signal) -> Decision:
    return Decision(session)


def _disconnected(session: Session, signal: Signal) -> Decision:
    reason = f"stream_error_{signal.code}" if isinstance(signal, StreamFailed) else "disconnected"
    away = replace(session, state=State.RECONNECTING, reason=reason)
    return Decision(away, (Announce("disconnected"), RetryAfter(WATCHDOG_S)))


def _still_away(session: Session, _: Signal) -> Decision:
    return Decision(session)


def _went_stale(session: Session, signal: Signal) -> Decision:
    reason = "self_check_unanswered" if isinstance(signal, SelfCheckFailed) else "keepalive_unanswered"
    stale = replace(session, state=State.STALE, reason=reason)
    return Decision(stale, (Announce("disconnected"), RetryAfter(WATCHDOG_S)))


def _retry(session: Session, _: Signal) -> Decision:
    """Close whatever is open and begin anew."""
    if not session.paired:
        return _pairing_ended(session, RetryDue())
    again = _open(replace(session, attempts=session.attempts + 1), session.reason)
    return Decision(again.session, (CloseSession(), *again.effects))


def _recycle(session: Session, _: Signal) -> Decision:
    """Leave a connection that is deaf, say why, and begin anew."""
    if not session.paired:
        return _pairing_ended(session, RetryDue())
    again = _open(replace(session, attempts=session.attempts + 1), f"recycled: {session.reason}")
    return Decision(again.session, (Announce("disconnected"), CloseSession(), *again.effects))


def _connect_failed(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, ConnectFailed)
    if not session.paired:
        return _pairing_ended(session, PairFailed(signal.reason))
    delay = retry_delay_s(session.attempts)
    away = replace(session, state=State.RECONNECTING, reason=f"connect_failed: {signal.reason}")
    return Decision(away, (CloseSession(), Announce("disconnected"), RetryAfter(delay)))


def _logged_out(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, LoggedOut)
    if not session.paired:
        return Decision(session)  # late news of the device before this one
    out = replace(
        session,
        state=State.LOGGED_OUT,
        reason=signal.reason,
        needs=Needs.SCAN_QR,
        paired=False,
        wanted=False,
        pairing=False,
    )
    return Decision(out, (CloseSession(), ForgetDevice(), Announce("logged_out")))


def _replaced(session: Session, _: Signal) -> Decision:
    conflict = replace(session, state=State.CONFLICT, reason="stream_replaced", needs=Needs.OPERATOR)
    return Decision(conflict, (CloseSession(), Announce("stream_replaced")))


def _outdated(session: Session, _: Signal) -> Decision:
    failed = replace(session, state=State.FAILED, reason="client_outdated", needs=Needs.OPERATOR, pairing=False)
    return Decision(failed, (CloseSession(), Announce("disconnected")))


def _banned(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, Banned)
    restricted = replace(session, state=State.RESTRICTED, reason=f"temporary_ban_{signal.code}", pairing=False)
    delay = max(signal.expires_in_s, RETRY_FIRST_S)
    return Decision(restricted, (CloseSession(), Announce("disconnected"), RetryAfter(delay)))


def _engine_lost(session: Session, _: Signal) -> Decision:
    if not session.paired:
        lost = replace(session, state=State.CREATED, reason="engine_down", needs=Needs.SCAN_QR, wanted=False)
        return Decision(lost, (Announce("instance_disconnected"), Crash()))
    lost = replace(session, state=State.RECONNECTING, reason="engine_down", pairing=False)
    return Decision(lost, (Announce("disconnected"), Crash()))


def _push_name(session: Session, signal: Signal) -> Decision:
    assert isinstance(signal, PushNameKnown)
    return Decision(session, (SavePushName(signal.name),))


def _ignored(session: Session, _: Signal) -> Decision:
    return Decision(session)


Rule = Callable[[Session, Signal], Decision]

OPEN = (State.CONNECTING, State.AWAITING_PAIRING, State.ONLINE, State.RECONNECTING, State.STALE)
"""States with a session in an engine."""
CLOSED = (State.CREATED, State.CONFLICT, State.RESTRICTED, State.PAUSED, State.LOGGED_OUT, State.FAILED)
ENGINE_SIGNALS: tuple[type[Signal], ...] = (
    QrIssued, QrExhausted, PairCodeIssued, PairSucceeded, PairFailed, Connected, Disconnected, StreamFailed, LoggedOut,
    Replaced, ConnectFailed, Outdated, Banned, KeepAliveLost, KeepAliveRestored, SelfCheckFailed, SelfCheckPassed,
    PushNameKnown, EngineLost,
)  # fmt: skip


def _rows() -> dict[tuple[State, type[Signal]], Rule]:
    rows: dict[tuple[State, type[Signal]], Rule] = {}
    for state in State:
        rows[state, Booted] = _booted
        rows[state, PauseAsked] = _pause_asked
        rows[state, PushNameKnown] = _push_name
        rows[state, ConnectAsked] = _connect_asked if state in CLOSED else _running_already
    for state in CLOSED:
        # what an engine says while it is being closed is late news
        rows |= {(state, signal): _ignored for signal in ENGINE_SIGNALS if signal is not PushNameKnown}
        rows[state, RetryDue] = _ignored
    rows[State.RESTRICTED, RetryDue] = _retry
    for state in OPEN:
        rows |= {
            (state, LoggedOut): _logged_out,
            (state, Replaced): _replaced,
            (state, ConnectFailed): _connect_failed,
            (state, Outdated): _outdated,
            (state, Banned): _banned,
            (state, EngineLost): _engine_lost,
            (state, QrExhausted): _pairing_ended,
            (state, PairFailed): _pairing_ended,
            (state, PairSucceeded): _paired,
            (state, QrIssued): _qr_issued,
            (state, Connected): _connected,
            (state, Disconnected): _still_away,
            (state, StreamFailed): _still_away,
            (state, KeepAliveLost): _still_away,
            (state, KeepAliveRestored): _still_away,
            (state, SelfCheckFailed): _still_away,
            (state, SelfCheckPassed): _still_away,
            (state, PairCodeIssued): _still_away,
            (state, RetryDue): _retry,
        }
    return rows | {
        (State.ONLINE, Connected): _still_online,
        (State.ONLINE, RetryDue): _still_online,
        (State.ONLINE, Disconnected): _disconnected,
        (State.ONLINE, StreamFailed): _disconnected,
        (State.ONLINE, KeepAliveLost): _went_stale,
        (State.ONLINE, SelfCheckFailed): _went_stale,
        (State.STALE, Disconnected): _disconnected,
        (State.STALE, StreamFailed): _disconnected,
        (State.STALE, KeepAliveRestored): _connected,
        (State.STALE, SelfCheckPassed): _connected,
        (State.STALE, SelfCheckFailed): _recycle,
        (State.STALE, RetryDue): _recycle,
        (State.AWAITING_PAIRING, PairCodeIssued): _code_issued,
    }


TRANSITIONS: Mapping[tuple[State, type[Signal]], Rule] = _rows()


def decide(session: Session, signal: Signal) -> Decision:
    """Return the next session and the effects of `signal`; raise `Unexpected` where the table has no row."""
    rule = TRANSITIONS.get((session.state, type(signal)))
    if rule is None:
        raise Unexpected(f"{type(signal).__name__} in {session.state}")
    return rule(session, signal)
