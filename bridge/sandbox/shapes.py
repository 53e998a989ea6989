"""The answers of the control API as types: what the client decodes, and what `/openapi.json` describes."""

from typing import Any

import msgspec


class Linked(msgspec.Struct, frozen=True):
    """A linked device of a phone."""

    device: int
    jid: str
    online: bool


class PhoneInfo(msgspec.Struct, frozen=True):
    """A simulated phone, with the real clients that are linked to it."""

    phone: str
    jid: str
    lid: str
    name: str
    devices: tuple[Linked, ...] = ()


class Pairing(msgspec.Struct, frozen=True):
    """A device that was linked: its JID with the device's number."""

    phone: str
    jid: str
    lid: str


class Text(msgspec.Struct, frozen=True):
    """A message in a phone's inbox. `kind` says which of the fields behind it there are."""

    cursor: int
    message_id: str
    sender: str = msgspec.field(name="from")
    text: str
    at: float
    chat: str = ""
    from_device: str = ""
    kind: str = "text"
    caption: str = ""
    target: str = ""
    """The id of the message that is edited, revoked, reacted to, pinned or voted on."""
    emoji: str = ""
    media: dict[str, Any] | None = None
    location: dict[str, Any] | None = None
    contacts: list[dict[str, Any]] = []
    link: dict[str, Any] | None = None
    quote: dict[str, Any] | None = None
    mentions: list[str] = []
    question: str = ""
    options: list[str] | None = []
    selectable: int = 0
    buttons: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    id: str = ""
    title: str = ""
    footer: str = ""
    view_once: bool = False
    forwarded: bool = False
    expiration_s: int = 0
    own: bool = False
    edited: bool = False
    revoked: bool = False


class Copy(msgspec.Struct, frozen=True):
    """When something happened to a message at one device."""

    device: str
    at: float


class Known(msgspec.Struct, frozen=True):
    """What the oracle knows of a message."""

    seq: int
    id: str
    sender: str = msgspec.field(name="from")
    recipient: str = msgspec.field(name="to")
    kind: str
    text: str | None
    hash: str | None
    sent_at: float
    relayed: tuple[Copy, ...]
    acknowledged: tuple[Copy, ...]


class Sent(msgspec.Struct, frozen=True):
    """The outcome of a burst of texts."""

    sent: int
    seconds: float
    message_ids: list[str]


class Health(msgspec.Struct, frozen=True):
    """How a sandbox is: `ok`, or `down` while it pretends to be."""

    status: str
    phones: int
    connections: int
    online: int
    messages: int


class TrustInfo(msgspec.Struct, frozen=True):
    """What a client elsewhere needs: the proxy, the root key in hex, the authority's certificate as PEM."""

    proxy: str
    root_key: str
    ca: str


class PhoneList(msgspec.Struct, frozen=True):
    phones: list[PhoneInfo]


class Texts(msgspec.Struct, frozen=True):
    messages: list[Text]
    next_after: int


class KnownPage(msgspec.Struct, frozen=True):
    messages: list[Known]
    next_after: int


class MessageId(msgspec.Struct, frozen=True):
    message_id: str


class Hit(msgspec.Struct, frozen=True):
    """A fault: its number, and how many connections it concerns."""

    kind: str
    number: int
    connections: int


class FaultInfo(msgspec.Struct, frozen=True):
    """A fault that is active or over, and how often it struck; of one phone, or of all."""

    number: int
    kind: str
    phone: str | None
    code: int | None
    struck: int


class StepInfo(msgspec.Struct, frozen=True):
    at_s: float
    fault: dict[str, str | float | None]


class ScheduleInfo(msgspec.Struct, frozen=True):
    """A schedule; `done` says of each step that was made how many connections it hit."""

    number: int
    seed: int | None
    steps: list[StepInfo]
    done: list[int]


class FaultList(msgspec.Struct, frozen=True):
    active: list[FaultInfo]
    over: list[FaultInfo]
    schedules: list[ScheduleInfo]


class Ended(msgspec.Struct, frozen=True):
    """How many were ended."""

    ended: int


class CodeInfo(msgspec.Struct, frozen=True):
    """A client that waits to be scanned; `qr` is empty until somebody has shown its code to the sandbox."""

    reference: str
    name: str
    since: float
    qr: str


class CodeList(msgspec.Struct, frozen=True):
    waiting: list[CodeInfo]


class LoadInfo(msgspec.Struct, frozen=True):
    """A load: its plan, how much is out, in how many seconds. `first_seq` is the oracle's place in front of it."""

    number: int
    plan: dict[str, int | float | str | list[str] | None]
    sent: int
    seconds: float
    done: bool
    error: str | None
    first_seq: int


class LoadList(msgspec.Struct, frozen=True):
    loads: list[LoadInfo]


class Trimmed(msgspec.Struct, frozen=True):
    trimmed: int


class Unlinked(msgspec.Struct, frozen=True):
    """The JID of the device that is no longer linked."""

    unlinked: str


class ProfileInfo(msgspec.Struct, frozen=True):
    """What an account has set about itself. `code_for` names the client that waits for its phone to enter a code."""

    phone: str
    name: str
    about: str
    picture: str | None
    verified_name: str
    privacy: dict[str, str]
    blocked: list[str]
    disappearing_s: int
    code_for: str | None
    code_notified: bool


class AppStateValue(msgspec.Struct, frozen=True):
    """A value of the account's app state. `index` is a list as JSON: the kind of setting, then what it concerns."""

    collection: str
    index: str
    value: dict[str, Any]


class AppStateValues(msgspec.Struct, frozen=True):
    values: list[AppStateValue]


class PostInfo(msgspec.Struct, frozen=True):
    """A post of a newsletter: its number there, its message id, and what followers made of it."""

    server_id: int
    id: str
    text: str
    at: int
    views: int
    reactions: dict[str, int]


class NewsletterInfo(msgspec.Struct, frozen=True):
    """A newsletter. `followers` are phone numbers, its owner included."""

    id: str
    name: str
    description: str
    invite: str
    followers: list[str]
    posts: list[PostInfo]


class NewsletterList(msgspec.Struct, frozen=True):
    newsletters: list[NewsletterInfo]


class MessageIds(msgspec.Struct, frozen=True):
    message_ids: list[str]


class ReceiptInfo(msgspec.Struct, frozen=True):
    """A receipt: `delivered`, `inactive` (delivered to a client that is not online), `read`, `played`."""

    cursor: int
    message_id: str
    sender: str = msgspec.field(name="from")
    from_device: str
    chat: str
    type: str
    at: float


class ReceiptList(msgspec.Struct, frozen=True):
    receipts: list[ReceiptInfo]
    next_after: int


class Ringing(msgspec.Struct, frozen=True):
    call_id: str


class MomentInfo(msgspec.Struct, frozen=True):
    """`presence` (`available`, `unavailable`), `typing` (`composing`, `recording`, `paused`) or `call` (`rejected`)."""

    cursor: int
    kind: str
    sender: str = msgspec.field(name="from")
    chat: str
    state: str
    last_seen: int | None
    at: float
    call_id: str | None


class MomentList(msgspec.Struct, frozen=True):
    moments: list[MomentInfo]
    next_after: int


class FileInfo(msgspec.Struct, frozen=True):
    """A message's file as the media host has it, after it was opened and found right; `sha256` in hex."""

    sha256: str
    size: int
    mime: str


class AddedFile(msgspec.Struct, frozen=True):
    id: str
    size: int
    sha256: str


class Done(msgspec.Struct, frozen=True):
    done: bool


class Judged(msgspec.Struct, frozen=True):
    """What became of messages. The lists of ids are cut at 1000; the counts are of all."""

    clean: bool
    checked: int
    acknowledged: int
    lost_count: int
    unrelayed_count: int
    doubled_count: int
    out_of_order_count: int
    lost: list[str]
    unrelayed: list[str]
    doubled: list[str]
    out_of_order: list[str]


class TransferInfo(msgspec.Struct, frozen=True):
    """An upload to the media host or a download from it; `hash` is of the file as it is stored."""

    seq: int
    direction: str
    hash: str
    kind: str
    size_bytes: int
    status: int
    at: float


class TransferPage(msgspec.Struct, frozen=True):
    transfers: list[TransferInfo]
    next_after: int
