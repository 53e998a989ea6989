"""An event as the bridge knows it before it is stored: what an endpoint will read, and what makes it unique."""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.domain.ids import CommandId
from bridge.domain.media import Media


@dataclass(frozen=True, slots=True)
class Flags:
    """How an event came to us."""

    offline: bool = False
    history: bool = False
    replayed: bool = False
    from_me: bool = False


@dataclass(frozen=True, slots=True)
class MessageRow:
    """The row of a message that goes into the store beside its event."""

    chat: str
    sender: str
    message_id: str
    from_me: bool
    kind: str
    status: str
    at: float
    """Seconds since 1970, by WhatsApp's clock."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A newer status of messages that we sent; a status never goes back (sent, delivered, read, played)."""

    message_ids: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; stored in the transaction of the event that tells of it, so neither is there alone."""

    command: CommandId
    state: str
    """sent, failed, unknown or cancelled."""
    message_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an instance.

    `type` is the canonical dotted name, `name` the original bridge's. `chat` is the lane it is ordered in, empty for
    what concerns the whole instance. `dedup_key` is equal for two reports of the same thing. `data` is plain JSON.
    """

    type: str
    name: str
    dedup_key: str
    at: float
    """Seconds since 1970: when WhatsApp says that it happened."""
    data: Mapping[str, object]
    chat: str = ""
    flags: Flags = Flags()
    message: MessageRow | None = None
    status: StatusChange | None = None
    outcome: Outcome | None = None
    media: Media | None = None
    """The file that its message carries; it is downloaded beside the event."""
