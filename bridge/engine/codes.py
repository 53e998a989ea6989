"""The numbers under which the engine reports events: neonize's own, and negative ones for what has no number there."""

from enum import IntEnum


class Code(IntEnum):
    """`neonize.events.EVENT_TO_INT` of 0.5.2, as far as we listen; the negative ones are ours."""

    IGNORED = -4
    """A message came again that was decrypted before, `id sender chat`; whether it was reported then is not known."""
    ENDED = -3
    """The session's blocking call returned by itself; the payload is its error text."""
    LOGIN_STATUS = -2
    """What ended the QR codes: `success`, `timeout` or `err-...`."""
    QR = -1
    """The text of a QR code."""
    DEVICE = 0
    PAIR_STATUS = 2
    CONNECTED = 3
    KEEPALIVE_TIMEOUT = 4
    KEEPALIVE_RESTORED = 5
    LOGGED_OUT = 6
    STREAM_REPLACED = 7
    TEMPORARY_BAN = 8
    CONNECT_FAILURE = 9
    CLIENT_OUTDATED = 10
    STREAM_ERROR = 11
    DISCONNECTED = 12
    HISTORY_SYNC = 13
    MESSAGE = 17
    RECEIPT = 18
    CHAT_PRESENCE = 19
    PRESENCE = 20
    JOINED_GROUP = 21
    GROUP_INFO = 22
    PICTURE = 23
    IDENTITY_CHANGE = 24
    PRIVACY_SETTINGS = 25
    BLOCKLIST = 30
    NEWSLETTER_JOIN = 32
    NEWSLETTER_LEAVE = 33
    NEWSLETTER_MUTE_CHANGE = 34
    CALL_OFFER = 36
    CALL_ACCEPT = 37
    CALL_OFFER_NOTICE = 40
    CALL_TERMINATE = 42
    UNKNOWN_CALL = 43
    UNDECRYPTABLE = 44


SUBSCRIBED = bytes(sorted(code for code in Code if code > Code.DEVICE and code != Code.HISTORY_SYNC))
"""What the library is told to forward; `DEVICE` comes unasked, `HISTORY_SYNC` is forwarded to who wants it."""

DURABLE = frozenset(
    {
        Code.IGNORED,
        Code.PAIR_STATUS,
        Code.LOGGED_OUT,
        Code.HISTORY_SYNC,
        Code.MESSAGE,
        Code.RECEIPT,
        Code.JOINED_GROUP,
        Code.GROUP_INFO,
        Code.PICTURE,
        Code.IDENTITY_CHANGE,
        Code.CALL_OFFER,
        Code.CALL_OFFER_NOTICE,
        Code.CALL_TERMINATE,
        Code.UNDECRYPTABLE,
    }
)
"""What WhatsApp does not report again, and what stays true after the process: it goes through the journal. The others
tell of a connection that dies with its process."""

UNNAMED = frozenset(
    {
        Code.PRIVACY_SETTINGS,
        Code.BLOCKLIST,
        Code.NEWSLETTER_JOIN,
        Code.NEWSLETTER_LEAVE,
        Code.NEWSLETTER_MUTE_CHANGE,
        Code.CALL_ACCEPT,
        Code.UNKNOWN_CALL,
    }
)
"""What the original bridge has no name for; it becomes `unknown_event`."""

DROPPABLE = frozenset({Code.CHAT_PRESENCE, Code.PRESENCE})
"""What may be left out when a consumer has fallen behind: the next one supersedes it."""
