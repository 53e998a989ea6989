"""Questions about people: what WhatsApp shows of somebody or of the instance itself, who is blocked, presence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bridge.domain.questions import Question

PRIVACY: Mapping[str, tuple[str, ...]] = {
    "last_seen": ("all", "contacts", "none"),
    "online": ("all", "match_last_seen"),
    "profile": ("all", "contacts", "none"),
    "about": ("all", "contacts", "none"),
    "read_receipts": ("all", "none"),
    "groups": ("all", "contacts", "none"),
    "calls": ("all", "known"),
}
"""The privacy settings that can be changed, with their values (whatsmeow, `types/user.go`)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody shows of themselves."""

    jid: str
    about: str | None
    picture_id: str | None
    devices: int
    """The phone and its linked devices; 0 where WhatsApp knows nobody by this JID."""


@dataclass(frozen=True, slots=True)
class Look(Question[Shown | None]):
    """What the account behind a JID shows; None when WhatsApp says nothing about it."""

    jid: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a profile picture can be fetched; WhatsApp's URL lives for some days."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class FindPicture(Question[Picture | None]):
    """The profile picture behind a JID, small or in full; None when there is none or it is hidden."""

    jid: str
    preview: bool


@dataclass(frozen=True, slots=True)
class SetBlocked(Question[bool]):
    """Block or unblock an account; the answer is whether it is blocked now."""

    jid: str
    blocked: bool


@dataclass(frozen=True, slots=True)
class FindPrivacy(Question[Mapping[str, str]]):
    """The instance's own privacy settings."""


@dataclass(frozen=True, slots=True)
class SetPrivacy(Question[None]):
    """Change one privacy setting to one of its values."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SetName(Question[None]):
    """Change the name that the instance shows."""

    name: str


@dataclass(frozen=True, slots=True)
class SetAbout(Question[None]):
    """Change the instance's about text."""

    about: str


@dataclass(frozen=True, slots=True)
class SetPresence(Question[None]):
    """Be shown as available, or not. WhatsApp reports others' presence to who is available only."""

    available: bool


@dataclass(frozen=True, slots=True)
class FollowPresence(Question[None]):
    """Hear from now on when somebody comes or goes, as long as this connection to WhatsApp lasts.

    WhatsApp takes the wish without an answer, and tells only of whom it may: their privacy decides.
    """

    jid: str


ChatState = Literal["typing", "recording", "paused"]


@dataclass(frozen=True, slots=True)
class SetChatState(Question[None]):
    """Be shown as typing or recording in a chat, or as neither."""

    chat: str
    state: ChatState
