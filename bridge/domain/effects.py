"""What a decision asks of the actor: it stores a changed state first, then carries these out in order."""

from dataclasses import dataclass


class Effect:
    """Something that the actor does."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class OpenPairing(Effect):
    """Start an unpaired session in an engine host of its own."""


@dataclass(frozen=True, slots=True)
class OpenSession(Effect):
    """Start the paired session in a shared engine host."""


@dataclass(frozen=True, slots=True)
class AwaitAppState(Effect):
    """Let the engine finish taking over what the phone shares with a device that was just linked.

    A session that is closed in the middle of it would not begin again: without a push name it cannot show presence.
    """


@dataclass(frozen=True, slots=True)
class CloseSession(Effect):
    """Leave WhatsApp in good order and give the slot back."""


@dataclass(frozen=True, slots=True)
class SaveIdentity(Effect):
    jid: str
    lid: str | None


@dataclass(frozen=True, slots=True)
class SavePushName(Effect):
    name: str


@dataclass(frozen=True, slots=True)
class ForgetDevice(Effect):
    """Delete the stored session: it can't be used again."""


@dataclass(frozen=True, slots=True)
class ShowQr(Effect):
    code: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class ShowPairCode(Effect):
    """Show the code that the phone's owner has to type, and emit `connection.pair_code`."""

    code: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class RetryAfter(Effect):
    """Send `RetryDue` after this time; the actor adds jitter, and a later one replaces it."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Announce(Effect):
    """Emit `connection.update` under the original's `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Crash(Effect):
    """End the actor, so that its supervisor starts it again from the store."""
