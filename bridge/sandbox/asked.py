"""What is asked for when a simulated contact is to send something: the fields of a message of any kind.

And `Found`, what the message refers to, once somebody has looked it up.
"""

import time
from dataclasses import dataclass, field

import msgspec

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox.media_files import Attachment
from bridge.sandbox.nodes import Jid


class BadMessage(BridgeError):
    """A message of this kind cannot be written from these fields."""

    code = "bad_message"
    status = 400


class Link(msgspec.Struct):
    """The preview of a link; `thumbnail` is a JPEG in base64."""

    url: str
    title: str = ""
    description: str = ""
    thumbnail: str = ""


class File(msgspec.Struct):
    """A file: its bytes as base64, the id that `POST /files` gave it, or a `size` of made-up bytes."""

    data: str | None = None
    id: str | None = None
    size: int | None = None
    mime: str = ""
    name: str = ""
    seconds: int = 0
    width: int = 0
    height: int = 0
    thumbnail: str = ""
    animated: bool = False


class Card(msgspec.Struct):
    """A contact card: `vcard`, or one made from name and number."""

    name: str
    phone: str = ""
    vcard: str = ""


class Button(msgspec.Struct):
    id: str
    text: str


class Row(msgspec.Struct):
    id: str
    title: str
    description: str = ""


class Section(msgspec.Struct):
    title: str
    rows: list[Row]


class Send(msgspec.Struct):
    """A message from a phone to a number, a LID or a group. Which fields count depends on `kind`."""

    to: str
    kind: str = "text"
    text: str | None = None
    caption: str = ""
    quote: str | None = None
    """The id of the message that this one answers."""
    mentions: list[str] = []
    link: Link | None = None
    file: File | None = None
    target: str | None = None
    """The id of the message that is reacted to, edited, revoked, pinned, voted on, or answered by a choice."""
    emoji: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    name: str = ""
    address: str = ""
    accuracy_m: int = 0
    sequence: int = 0
    contacts: list[Card] = []
    question: str = ""
    options: list[str] = []
    selectable: int = 1
    title: str = ""
    footer: str = ""
    button: str = ""
    buttons: list[Button] = []
    sections: list[Section] = []
    id: str = ""
    """The id of the button or row that is chosen."""
    params: str = "{}"
    """Of an interactive message's response: JSON as text."""
    view_once: bool = False
    forwarded: bool = False
    expiration_s: int = 0
    message: str | None = None
    """A whole `waE2E.Message` in base64, for kind `raw`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that a phone sent or received. `author` and `chat` are LIDs or a group."""

    id: str
    chat: Jid
    author: Jid
    mine: bool
    message: "e2e.Message"


@dataclass(frozen=True, slots=True)
class Found:
    """What a message refers to."""

    me: Jid
    quoted: Kept | None = None
    target: Kept | None = None
    mentioned: tuple[Jid, ...] = ()
    attachment: Attachment | None = None
    now_s: int = field(default_factory=lambda: int(time.time()))
