"""Why a message could not be read or written."""

from bridge.errors import BridgeError


class SignalError(BridgeError):
    """The message cannot be handled."""

    code = "sandbox_signal"
    status = 400


class Undecryptable(SignalError):
    """The message does not fit any key we have: ask its sender for a new one with a retry receipt."""

    code = "sandbox_undecryptable"


class NoSession(Undecryptable):
    """There is no session with its sender, or no sender key of that number."""

    code = "sandbox_no_session"


class PreKeyGone(Undecryptable):
    """The message uses a prekey that we do not have (any more)."""

    code = "sandbox_prekey_gone"


class TooFarAhead(Undecryptable):
    """The message's number is further ahead than keys are kept for."""

    code = "sandbox_too_far_ahead"


class Duplicate(SignalError):
    """The message was read before: its key is gone. Nothing is to be done."""

    code = "sandbox_duplicate"
