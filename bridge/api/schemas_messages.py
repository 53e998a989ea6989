"""The bodies of requests that send messages, and of the answers to them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

MessageId = Annotated[str, Meta(min_length=1, max_length=128)]


class Send(Struct, frozen=True, kw_only=True):
    """The common fields of all sends. `phone` is the original's name of `to`."""

    instance_key: str | None = None
    phone: str | None = None
    to: str | None = None
    reply_to: Annotated[str, Meta(max_length=128)] | None = None
    mode: Literal["sync", "queue"] = "sync"
    metadata: dict[str, Any] | None = None
    mentions: list[str] | None = None
    delay_ms: float | None = None
    typing: Any = None
    send_at: str | None = None
    ttl_s: float | None = None

    def unsupported(self) -> str | None:
        """Return a field that was given and would have to be ignored: a `send_at` that sends at once would be a lie."""
        later = ("mentions", "delay_ms", "typing", "send_at", "ttl_s", "link_preview")
        return next((name for name in later if getattr(self, name, None)), None)


class SendText(Send, frozen=True, kw_only=True):
    """Body of POST /message/send."""

    message: Annotated[str, Meta(min_length=1)]
    link_preview: Any = None


class SendFile(Send, frozen=True, kw_only=True):
    """A file to send, by exactly one of the first three: POST /message/send-sticker."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    base64: Annotated[str, Meta(min_length=1)] | None = None
    media_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class SendVoice(SendFile, frozen=True, kw_only=True):
    """Body of POST /message/send-voice."""

    view_once: bool = False


class SendMedia(SendFile, frozen=True, kw_only=True):
    """Body of POST /message/send-media."""

    type: Literal["image", "video", "audio", "file", "document"]
    caption: Annotated[str, Meta(max_length=4096)] | None = None
    filename: Annotated[str, Meta(max_length=255)] | None = None
    mime_type: Annotated[str, Meta(max_length=200)] | None = None
    is_ptt: bool = False
    view_once: bool = False
    gif: bool = False


class Message(Struct, frozen=True):
    """A reference to a message: how far it has come, and what to ask for it by."""

    status: str
    message_id: str | None
    to: str
    request_id: str
    instance_key: str
    command_id: str
    sent_at: datetime | UnsetType = UNSET
    queued_at: datetime | UnsetType = UNSET


def plain(value: Struct) -> dict[str, Any]:
    """Return a part of a request as plain JSON, without what was not given."""
    return {name: part for name, part in msgspec.to_builtins(value).items() if part is not None}
