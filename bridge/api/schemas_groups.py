"""The bodies of requests and answers about groups."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from bridge.domain.groups import Action, Role
from bridge.domain.groups import Group as Found
from bridge.domain.groups import Member as Listed
from bridge.domain.identity import phone_of

SUBJECT_CHARS, DESCRIPTION_CHARS = 100, 2048
"""WhatsApp's own limits."""
AT_ONCE = 100
"""People that one call names. Ours: each number is looked up first. A group has up to 1024 members."""

Subject = Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARS)]
Participants = Annotated[list[str], Meta(min_length=1, max_length=AT_ONCE)]


class Member(Struct, frozen=True):
    """Somebody in a group; `jid` has the number where WhatsApp has told it, else it is the LID."""

    jid: str
    lid: str | None
    phone: str | None
    role: Role


class GroupSummary(Struct, frozen=True):
    """A group without its members. `own_role` is the instance's."""

    group_id: str
    subject: str
    description: str | None
    owner: str | None
    announce: bool
    locked: bool
    disappearing_s: int
    own_role: Role | None
    size: int


class Group(GroupSummary, frozen=True):
    """Answer of GET and PATCH /group/{key}/{id}."""

    participants: Sequence[Member]


class GroupList(Struct, frozen=True):
    """Answer of GET /group/{key}."""

    groups: Sequence[GroupSummary]
    count: int


class CreateGroup(Struct, frozen=True):
    """Body of POST /group/{key}: whom to invite, besides the instance itself."""

    subject: Subject
    participants: Participants


class ChangeGroup(Struct, frozen=True):
    """Body of PATCH /group/{key}/{id}: what is given is changed."""

    subject: Subject | None = None
    description: Annotated[str, Meta(max_length=DESCRIPTION_CHARS)] | None = None
    announce: bool | None = None
    locked: bool | None = None
    disappearing_s: Literal[0, 86400, 604800, 7776000] | None = None
    """Never, or a day, a week, 90 days: WhatsApp takes no other."""
    join_approval: Any = None
    picture_media_id: Any = None


class ChangeParticipants(Struct, frozen=True):
    """Body of POST /group/{key}/{id}/participants."""

    action: Action
    participants: Participants


class Result(Struct, frozen=True):
    """What became of one person; `participant` is how the request named them."""

    participant: str
    jid: str | None
    lid: str | None
    phone: str | None
    status: Literal["added", "removed", "promoted", "demoted", "failed"]
    error: str | None = None
    """Why it failed."""


class Results(Struct, frozen=True):
    """Answer of POST /group/{key}/{id}/participants, in the order of the request."""

    group_id: str
    results: Sequence[Result]


class GroupCreated(Group, frozen=True):
    """Answer of POST /group/{key}; `not_added` are those whom WhatsApp did not take in."""

    not_added: Sequence[Result]


class Invite(Struct, frozen=True):
    """Answer of GET and POST /group/{key}/{id}/invite."""

    group_id: str
    invite_link: str


class Join(Struct, frozen=True):
    """Body of POST /group/{key}/join: a link, or its code alone."""

    invite_link: Annotated[str, Meta(min_length=1, max_length=256)]


class Joined(Struct, frozen=True):
    """Answer of POST /group/{key}/join. `requested`: an admin has to agree first, and `group` is null."""

    status: Literal["joined", "requested"]
    group_id: str
    group: Group | None


class Request(Struct, frozen=True):
    """Somebody who waits to be let in; `jid` has the number where WhatsApp has told it, else it is the LID."""

    jid: str
    lid: str | None
    phone: str | None
    requested_at: int
    """Seconds since 1970."""


class Requests(Struct, frozen=True):
    """Answer of GET /group/{key}/{id}/requests."""

    group_id: str
    requests: Sequence[Request]


class Left(Struct, frozen=True):
    """Answer of POST /group/{key}/{id}/leave."""

    status: str
    instance_key: str
    group_id: str


def summary(found: Found, own: Listed | None) -> GroupSummary:
    return GroupSummary(**_fields(found, own))


def group(found: Found, own: Listed | None) -> Group:
    return Group(**_fields(found, own), participants=[_member(one) for one in found.members])


def created(found: Found, own: Listed | None, not_added: Sequence[Result]) -> GroupCreated:
    members = [_member(one) for one in found.members]
    return GroupCreated(**_fields(found, own), participants=members, not_added=not_added)


def _fields(found: Found, own: Listed | None) -> dict[str, Any]:
    return {
        "group_id": found.id,
        "subject": found.subject,
        "description": found.description,
        "owner": found.owner,
        "announce": found.announce,
        "locked": found.locked,
        "disappearing_s": found.expiration_s,
        "own_role": None if own is None else own.role,
        "size": len(found.members),
    }


def _member(one: Listed) -> Member:
    return Member(one.jid or one.address, one.lid, phone_of(one.jid), one.role)
