"""What a call on an instance can end with; `certain` says whether it is known that nothing was sent."""

from bridge.errors import BridgeError


class NotConnected(BridgeError):
    """The instance is not connected: connect it first, or wait until its state is online."""

    code, status, retryable = "not_connected", 400, True


class AlreadyConnected(BridgeError):
    """The instance is paired: it has no QR code."""

    code, status = "already_connected", 409


class Busy(BridgeError):
    """Too many messages of this instance are waiting: send again after a second."""

    code, status, retryable = "busy", 429, True


class Paced(BridgeError):
    """The pacing of this instance holds the message back, and it was not sent: send it later, or with `mode: queue`."""

    code, status, retryable = "paced", 429, True


class NewChatsLimited(BridgeError):
    """WhatsApp does not let this number begin new chats for now; the message was not sent: send it later."""

    code, status, retryable = "new_chats_limited", 429, True


class InstanceDown(BridgeError):
    """The instance is being restarted: try again in a few seconds."""

    code, status, retryable = "instance_down", 503, True


class SendFailed(BridgeError):
    """WhatsApp did not take the message:"""

    code, status, retryable = "send_failed", 502, True


class Expired(BridgeError):
    """The message was not begun within its `ttl_s`, and is not sent any more."""

    code, status = "expired", 410


class UnknownMessage(BridgeError):
    """This instance knows no such message; use the message_id or command_id that a send was answered with."""

    code, status = "unknown_message", 404


class TooLate(BridgeError):
    """The message is not waiting any more:"""

    code, status = "too_late", 409


class SendUnknown(BridgeError):
    """It is not known whether the message was sent: look at the recipient's chat before you send it again."""

    code, status, certain = "send_unknown", 504, False


class CommandInProgress(BridgeError):
    """The request with this Idempotency-Key is still running: ask again with the same key."""

    code, status, retryable = "in_progress", 409, True
