"""The bodies of requests that send messages, or change, read and look at them, and of the answers to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

MessageId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^\S+$")]
Line = Annotated[str, Meta(min_length=1, max_length=1024)]


class Common(Struct, frozen=True, kw_only=True):
    """The common fields of all that is sent. `phone` is the original's name of `to`."""

    instance_key: str | None = None
    phone: str | None = None
    to: str | None = None
    mode: Literal["sync", "queue"] = "sync"
    send_at: Annotated[datetime, Meta(tz=True)] | None = None
    """Not before this time; answered 202, like `mode: queue`."""
    ttl_s: Annotated[float, Meta(ge=1, le=31_622_400)] | None = None
    """Seconds after the call, or after `send_at`, beyond which it is not begun any more."""
    delay_ms: Annotated[int, Meta(ge=0, le=30_000)] = 0
    """Wait so long when its turn has come."""
    typing: bool = False
    """Show that we type during `delay_ms`."""
    metadata: dict[str, Any] | None = None
    """The caller's own; comes back in the events about this message."""


class Send(Common, frozen=True, kw_only=True):
    """The common fields of the messages that stand for themselves."""

    reply_to: Annotated[str, Meta(max_length=128)] | None = None
    mentions: Annotated[list[str], Meta(max_length=1024)] = []


class LinkPreview(Struct, frozen=True):
    """What the recipient's phone shows of a link in the text. Nothing is fetched: give it all."""

    url: Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"^https?://\S+$")]
    title: Annotated[str, Meta(max_length=300)]
    description: Annotated[str, Meta(max_length=1000)] | None = None
    thumbnail_base64: Annotated[str, Meta(max_length=140_000)] | None = None
    """A JPEG."""


class SendText(Send, frozen=True, kw_only=True):
    """Body of POST /message/send."""

    message: Annotated[str, Meta(min_length=1)]
    link_preview: LinkPreview | bool | None = None


class SendLocation(Send, frozen=True, kw_only=True):
    """Body of POST /message/send-location; 0 is a valid coordinate."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Annotated[str, Meta(max_length=1000)] | None = None
    address: Annotated[str, Meta(max_length=1000)] | None = None


class ContactCard(Struct, frozen=True):
    """One contact. Its card is made of name and phone unless a `vcard` is given."""

    name: Line
    phone: str | None = None
    vcard: Annotated[str, Meta(max_length=65_536)] | None = None


class SendContact(Send, frozen=True, kw_only=True):
    """Body of POST /message/send-contact: the original's two fields, or up to 50 `contacts`."""

    contact_name: Line | None = None
    contact_phone: str | None = None
    contacts: Annotated[list[ContactCard], Meta(max_length=50)] = []


class Button(Struct, frozen=True):
    """One choice."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    title: Annotated[str, Meta(min_length=1, max_length=256)]


class ListRow(Struct, frozen=True):
    """One choice of a list."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    title: Annotated[str, Meta(min_length=1, max_length=256)]
    description: Annotated[str, Meta(max_length=1024)] | None = None


class SendInteractive(Send, frozen=True, kw_only=True):
    """Body of POST /message/send-interactive. `fallback: none` refuses to send text in the place of buttons."""

    title: Annotated[str, Meta(max_length=1024)] = ""
    body: Annotated[str, Meta(min_length=1, max_length=16_384)]
    footer: Annotated[str, Meta(max_length=1024)] | None = None
    buttons: Annotated[list[Button], Meta(max_length=3)] = []
    rows: Annotated[list[ListRow], Meta(max_length=10)] = msgspec.field(name="list", default_factory=list)
    fallback: Literal["text", "none"] = "text"


class SendPoll(Send, frozen=True, kw_only=True):
    """Body of POST /message/send-poll; `max_choices` 0 lets people choose any number."""

    question: Annotated[str, Meta(min_length=1, max_length=255)]
    options: Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=2, max_length=12)]
    max_choices: Annotated[int, Meta(ge=0, le=12)] = 1


class About(Common, frozen=True, kw_only=True):
    """The fields of what is sent about an earlier message. `chat` is the same as `to`."""

    chat: str | None = None
    message_id: MessageId


class React(About, frozen=True, kw_only=True):
    """Body of POST /message/react; the empty emoji takes the reaction back."""

    emoji: Annotated[str, Meta(max_length=64)]


class Edit(About, frozen=True, kw_only=True):
    """Body of POST /message/edit."""

    message: Annotated[str, Meta(min_length=1)]


class Revoke(About, frozen=True, kw_only=True):
    """Body of POST /message/revoke."""


class Forward(Common, frozen=True, kw_only=True):
    """Body of POST /message/forward."""

    from_chat: str | None = None
    message_id: MessageId


class Read(Struct, frozen=True, kw_only=True):
    """Body of POST /message/read. `sender` is needed in groups for messages that the bridge does not know."""

    instance_key: str | None = None
    chat: str | None = None
    to: str | None = None
    phone: str | None = None
    message_ids: Annotated[list[MessageId], Meta(min_length=1, max_length=100)]
    sender: str | None = None


class ReadDone(Struct, frozen=True):
    """Answer of POST /message/read."""

    status: str
    count: int


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
    send_at: datetime | UnsetType = UNSET
    rendered_as: str | UnsetType = UNSET
    """Of an interactive message: text, where no buttons can be sent."""
    error: str | UnsetType = UNSET
    """Of an interactive message, as in the original: that it was sent as text."""


class Step(Struct, frozen=True):
    """When a message got a status."""

    status: str
    at: datetime


class KnownMessage(Struct, frozen=True):
    """Answer of GET /message/{key}/{message_id}."""

    instance_key: str
    message_id: str | None
    command_id: str | None
    to: str
    sender: str | None
    from_me: bool
    kind: str
    text: str | None
    status: str
    history: Sequence[Step]
    error: str | None
    metadata: Any


class Waiting(Struct, frozen=True):
    """A message in the outbox; `command_id` is what takes it back."""

    command_id: str
    message_id: str | None
    to: str
    kind: str
    status: str
    queued_at: datetime
    send_at: datetime | None
    hold_reason: str | None
    held_until: datetime | None
    """When it can go at the earliest, as things stand; of messages that pacing holds."""
    metadata: Any


class Outbox(Struct, frozen=True):
    """Answer of GET /message/{key}/outbox."""

    items: Sequence[Waiting]
    next_cursor: str | None


class Cancelled(Struct, frozen=True):
    """Answer of DELETE /message/{key}/outbox/{command_id}."""

    status: str
    command_id: str


def plain(value: Struct) -> dict[str, Any]:
    """Return a part of a request as plain JSON, without what was not given."""
    return {name: part for name, part in msgspec.to_builtins(value).items() if part is not None}
