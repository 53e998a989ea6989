"""What a session has to react to: wishes of the operator, the clock, and what the engine reports."""

from dataclasses import dataclass

# from the operator and the clock


class Signal:
    """Something that the session has to react to."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Booted(Signal):
    """The actor has started: the bridge was started, or the actor crashed and came back."""

    restricted_for_s: float = 0.0
    """What is left of a restriction that was known before."""


@dataclass(frozen=True, slots=True)
class ConnectAsked(Signal):
    """A caller wants the instance to run, and pairs it when it is not paired."""


@dataclass(frozen=True, slots=True)
class PauseAsked(Signal):
    """A caller wants the instance to be away; it stays paired."""


@dataclass(frozen=True, slots=True)
class RetryDue(Signal):
    """The time that a decision named in `RetryAfter` has passed."""


# from the engine


@dataclass(frozen=True, slots=True)
class QrIssued(Signal):
    code: str
    expires_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class QrExhausted(Signal):
    """The engine has shown its last code and nobody scanned it."""


@dataclass(frozen=True, slots=True)
class PairCodeIssued(Signal):
    """WhatsApp expects the owner of a phone to type this code."""

    code: str
    expires_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class PairSucceeded(Signal):
    jid: str
    """With the device: `4915100000001:3@s.whatsapp.net`."""
    lid: str | None = None


@dataclass(frozen=True, slots=True)
class PairFailed(Signal):
    reason: str


@dataclass(frozen=True, slots=True)
class Connected(Signal):
    """Logged in, and WhatsApp delivers."""


@dataclass(frozen=True, slots=True)
class Disconnected(Signal):
    """The connection ended; the engine tries again by itself."""


@dataclass(frozen=True, slots=True)
class StreamFailed(Signal):
    """A stream error that the engine follows with a reconnect (500, 516)."""

    code: str


@dataclass(frozen=True, slots=True)
class LoggedOut(Signal):
    """The phone removed the device, or the login was refused (401, 403, 406): the stored session is worthless."""

    reason: str
    on_connect: bool = False


@dataclass(frozen=True, slots=True)
class Replaced(Signal):
    """Another connection of the same device took over; the engine stays down."""


@dataclass(frozen=True, slots=True)
class ConnectFailed(Signal):
    """A connection attempt ended for good: the engine does not try again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Outdated(Signal):
    """WhatsApp refuses this version of the engine (405)."""


@dataclass(frozen=True, slots=True)
class Banned(Signal):
    """A temporary ban (402)."""

    code: str
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class KeepAliveLost(Signal):
    """Pings go unanswered: connected, but deaf."""


@dataclass(frozen=True, slots=True)
class KeepAliveRestored(Signal):
    pass


@dataclass(frozen=True, slots=True)
class SelfCheckFailed(Signal):
    """WhatsApp did not answer a question that was asked to see whether it does."""


@dataclass(frozen=True, slots=True)
class SelfCheckPassed(Signal):
    """WhatsApp answered such a question."""


@dataclass(frozen=True, slots=True)
class PushNameKnown(Signal):
    name: str


@dataclass(frozen=True, slots=True)
class EngineLost(Signal):
    """The engine's process died under the session."""
