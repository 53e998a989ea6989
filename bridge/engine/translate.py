"""Turns what a session reports into the domain's signals and events. Pure: no clock, no I/O.

A record that says nothing to anybody gives nothing: keys on their way, protocol messages, codes that we do not know.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bridge.domain.events import Event
from bridge.domain.signals import (
    Banned,
    Connected,
    ConnectFailed,
    Disconnected,
    KeepAliveLost,
    KeepAliveRestored,
    LoggedOut,
    Outdated,
    PairFailed,
    PairSucceeded,
    PushNameKnown,
    QrExhausted,
    QrIssued,
    Replaced,
    Signal,
    StreamFailed,
)
from bridge.engine import happenings, history, jids, messages
from bridge.engine.codes import UNNAMED, Code
from bridge.engine.journal import Record
from bridge.protos import neonize_pb

FIRST_QR_S, NEXT_QR_S = 60.0, 20.0
"""How long a QR code can be scanned (whatsmeow's, the first one lives longer)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a record means depends on; begin a session with a new one and `advance` it after each record."""

    qr_codes: int = 0
    """Shown so far in this pairing."""
    jid: str | None = None
    lid: str | None = None


Output = Signal | Event


def translate(record: Record, context: Context) -> tuple[Output, ...]:
    """Return what `record` means: signals for the session, events for the endpoints."""
    reader = _READERS.get(record.code)
    return reader(record, context) if reader is not None else ()


def advance(record: Record, context: Context) -> Context:
    """Return the context for the record after this one."""
    if record.code == Code.QR:
        return replace(context, qr_codes=context.qr_codes + 1)
    if record.code == Code.DEVICE:
        device = neonize_pb.Device.FromString(record.payload)
        return replace(
            context,
            jid=jids.text(device.JID, device=True) if device.JID.User else None,
            lid=jids.text(device.LID) if device.LID.User else None,
        )
    return context


def _qr(record: Record, context: Context) -> tuple[Output, ...]:
    lives_s = NEXT_QR_S if context.qr_codes else FIRST_QR_S
    return (QrIssued(record.payload.decode(), record.at + lives_s),)


def _login_status(record: Record, _: Context) -> tuple[Output, ...]:
    status = record.payload.decode(errors="replace")
    match status:
        case "success" | "err-scanned-without-multidevice":  # after the latter the codes go on
            return ()
        case "timeout":
            return (QrExhausted(),)
        case "err-client-outdated":
            return (Outdated(),)
    return (PairFailed(status),)


def _pair_status(record: Record, context: Context) -> tuple[Output, ...]:
    pair = neonize_pb.PairStatus.FromString(record.payload)
    if pair.Status == neonize_pb.PairStatus.SUCCESS:
        return (PairSucceeded(jids.text(pair.ID, device=True), context.lid),)
    return (PairFailed(pair.Error),)


def _device(record: Record, _: Context) -> tuple[Output, ...]:
    name = neonize_pb.Device.FromString(record.payload).PushName
    return (PushNameKnown(name),) if name else ()


def _logged_out(record: Record, _: Context) -> tuple[Output, ...]:
    logged_out = neonize_pb.LoggedOut.FromString(record.payload)
    reason = _reason(logged_out) if logged_out.OnConnect else "removed_by_phone"
    return (LoggedOut(reason, logged_out.OnConnect),)


def _connect_failure(record: Record, _: Context) -> tuple[Output, ...]:
    failure = neonize_pb.ConnectFailure.FromString(record.payload)
    return (ConnectFailed(failure.Message or _reason(failure)),)


def _reason(report: "neonize_pb.LoggedOut | neonize_pb.ConnectFailure") -> str:
    if not report.HasField("Reason"):
        return "unknown"
    return str(neonize_pb.ConnectFailureReason.Name(report.Reason)).lower()


def _banned(record: Record, _: Context) -> tuple[Output, ...]:
    ban = neonize_pb.TemporaryBan.FromString(record.payload)
    code = neonize_pb.TemporaryBan.TempBanReason.Name(ban.Code).lower() if ban.HasField("Code") else "unknown"
    return (Banned(code, float(ban.Expire)),)


def _stream_error(record: Record, _: Context) -> tuple[Output, ...]:
    return (StreamFailed(neonize_pb.StreamError.FromString(record.payload).Code),)


def _ended(record: Record, _: Context) -> tuple[Output, ...]:
    return (ConnectFailed(record.payload.decode(errors="replace") or "the engine ended the session"),)


def _ignored(record: Record, context: Context) -> tuple[Output, ...]:
    users = (re.sub(r":\d+@", "@", jid) for jid in (context.jid, context.lid) if jid is not None)
    return messages.ignored(record, frozenset(users))


def _always(signal: Signal) -> Callable[[Record, Context], tuple[Output, ...]]:
    return lambda _record, _context: (signal,)


def _events(read: Callable[[Record], tuple[Event, ...]]) -> Callable[[Record, Context], tuple[Output, ...]]:
    return lambda record, _context: read(record)


_READERS: Mapping[int, Callable[[Record, Context], tuple[Output, ...]]] = {
    Code.QR: _qr,
    Code.LOGIN_STATUS: _login_status,
    Code.ENDED: _ended,
    Code.DEVICE: _device,
    Code.PAIR_STATUS: _pair_status,
    Code.CONNECTED: _always(Connected()),
    Code.DISCONNECTED: _always(Disconnected()),
    Code.STREAM_ERROR: _stream_error,
    Code.STREAM_REPLACED: _always(Replaced()),
    Code.LOGGED_OUT: _logged_out,
    Code.CONNECT_FAILURE: _connect_failure,
    Code.CLIENT_OUTDATED: _always(Outdated()),
    Code.TEMPORARY_BAN: _banned,
    Code.KEEPALIVE_TIMEOUT: _always(KeepAliveLost()),
    Code.KEEPALIVE_RESTORED: _always(KeepAliveRestored()),
    Code.HISTORY_SYNC: _events(history.history),
    Code.MESSAGE: _events(messages.message),
    Code.RECEIPT: _events(messages.receipt),
    Code.IGNORED: _ignored,
    Code.UNDECRYPTABLE: _events(messages.undecryptable),
    Code.PRESENCE: _events(happenings.presence),
    Code.CHAT_PRESENCE: _events(happenings.chat_presence),
    Code.GROUP_INFO: _events(happenings.group_info),
    Code.JOINED_GROUP: _events(happenings.joined_group),
    Code.PICTURE: _events(happenings.picture),
    Code.IDENTITY_CHANGE: _events(happenings.identity_change),
    Code.CALL_OFFER: _events(happenings.call_offer),
    Code.CALL_OFFER_NOTICE: _events(happenings.call_offer_notice),
    Code.CALL_TERMINATE: _events(happenings.call_terminate),
    **dict.fromkeys(UNNAMED, _events(happenings.unnamed)),
}
