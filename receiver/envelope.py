"""Reads from a webhook's body what the store is searched by; everything else in it stays as it came."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from receiver.errors import BadBody

_MAX_CHARS = 255
"""Longer values are not indexed: an index row has an upper size, and none of ours is a fifth of it."""

_MAX_TIME_CHARS = 40


@dataclass(frozen=True, slots=True)
class Index:
    """The envelope's fields; None where the body has none of a fitting type and size."""

    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None
    received_at_s: float | None = None
    """When its sender had it, in seconds since 1970, to tell how long it took; not stored."""


class _Envelope(msgspec.Struct):
    instance: object = None
    type: object = None
    seq: object = None
    data: object = None
    received_at: object = None


_decoder = msgspec.json.Decoder(_Envelope)


def index(body: bytes) -> Index:
    """Return the searchable fields of `body`; raise `BadBody` unless it is a JSON object in UTF-8."""
    try:
        body.decode()  # the decoder does not look into strings that it skips
        envelope = _decoder.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise BadBody from None
    return Index(
        instance=_text(envelope.instance),
        type=_text(envelope.type),
        seq=_bigint(envelope.seq),
        chat=_chat(envelope.data),
        received_at_s=_time(envelope.received_at),
    )


def _time(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > _MAX_TIME_CHARS:
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _chat(data: object) -> str | None:
    if not isinstance(data, dict):
        return None
    chat = data.get("chat")
    return _text(chat.get("id") if isinstance(chat, dict) else data.get("chat_id"))


def _text(value: object) -> str | None:
    if isinstance(value, str) and len(value) <= _MAX_CHARS and "\0" not in value:  # PostgreSQL's text has no NUL
        return value
    return None


def _bigint(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    return None
