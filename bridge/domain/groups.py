"""Questions about groups: which there are, who is in them, and what an instance changes there."""

from dataclasses import dataclass
from typing import Literal

from bridge.domain.questions import Question

Role = Literal["superadmin", "admin", "member"]
"""As WhatsApp names them; the superadmin made the group."""
Action = Literal["add", "remove", "promote", "demote"]


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a group."""

    address: str
    """The JID under which the group lists this person: what a change of it has to name."""
    jid: str | None
    """With the phone number; None while WhatsApp has not told it."""
    lid: str | None
    role: Role = "member"

    def is_at(self, jid: str) -> bool:
        """Say whether this is who has that JID or LID."""
        return jid in (self.address, self.jid, self.lid)


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody for whom a change was not made."""

    member: Member
    error: int
    """WhatsApp's code for why."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as WhatsApp shows it to its members."""

    id: str
    subject: str
    description: str | None
    owner: str | None
    """Who made it; the JID with the number where it is known, else the LID."""
    announce: bool
    """Only admins send."""
    locked: bool
    """Only admins change subject, description, picture and timer."""
    expiration_s: int
    """After how many seconds messages disappear; 0: never."""
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Created:
    """A group that was made, and those whom WhatsApp did not take into it."""

    group: Group
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class FindGroups(Question[tuple[Group, ...]]):
    """The groups that the instance is in."""


@dataclass(frozen=True, slots=True)
class FindGroup(Question[Group]):
    """One group that the instance is in."""

    group: str


@dataclass(frozen=True, slots=True)
class CreateGroup(Question[Created]):
    """Make a group with these people in it, by their JIDs."""

    subject: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetSubject(Question[None]):
    """Rename a group."""

    group: str
    subject: str


@dataclass(frozen=True, slots=True)
class SetDescription(Question[None]):
    """Change a group's description; an empty one removes it."""

    group: str
    description: str


@dataclass(frozen=True, slots=True)
class SetAnnounce(Question[None]):
    """Let only admins send, or everybody."""

    group: str
    announce: bool


@dataclass(frozen=True, slots=True)
class SetLocked(Question[None]):
    """Let only admins change what the group is called and how it is set, or everybody."""

    group: str
    locked: bool


@dataclass(frozen=True, slots=True)
class SetTimer(Question[None]):
    """Let messages of a group disappear after so many seconds; 0: never."""

    group: str
    expiration_s: int


@dataclass(frozen=True, slots=True)
class ChangeMembers(Question[tuple[Refused | Member, ...]]):
    """Change who is in a group, or who is an admin of it: what became of each, in no particular order."""

    group: str
    action: Action
    addresses: tuple[str, ...]
    """JIDs; of members the ones under which the group lists them."""


@dataclass(frozen=True, slots=True)
class FindInvite(Question[str]):
    """The link by which anybody joins a group. With `reset` a new one, and the one before leads nowhere any more."""

    group: str
    reset: bool = False


@dataclass(frozen=True, slots=True)
class JoinGroup(Question[str]):
    """Join by the code of an invite link; the answer is the group's JID. An admin may have to agree first."""

    code: str


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody who waits for an admin to let them into a group."""

    address: str
    at: int
    """Since when, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FindRequests(Question[tuple[JoinRequest, ...]]):
    """Who waits to be let into a group. It can only be decided in the app: neonize has no call for it."""

    group: str


@dataclass(frozen=True, slots=True)
class LeaveGroup(Question[None]):
    """Leave a group."""

    group: str
