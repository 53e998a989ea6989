"""The calls by which simulated contacts make groups, change them, join and leave."""

import base64
from typing import Final

import msgspec

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account
from bridge.sandbox.calls import BadRequest, Route, body
from bridge.sandbox.group_changes import Asked, Told, UnknownLink
from bridge.sandbox.group_notices import announce_new, carry_out
from bridge.sandbox.groups import MEMBER, Group
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.nodes import GROUP_SERVER, LID_SERVER, Jid
from bridge.sandbox.world import World

_INVITE_LINK: Final = "https://chat.whatsapp.com/"


class UnknownGroup(BridgeError):
    """There is no such group in the sandbox."""

    code = "unknown_group"
    status = 404


class MemberInfo(msgspec.Struct, frozen=True):
    """A member; `role` is `superadmin`, `admin` or `member`."""

    phone: str
    lid: str
    role: str


class GroupInfo(msgspec.Struct, frozen=True):
    """A group. `refused` has the numbers that a change was not made for, with WhatsApp's code for why."""

    group: str
    subject: str
    description: str
    picture: str
    announce: bool
    locked: bool
    expiration_s: int
    approval: bool
    requests: list[str]
    """Numbers of those who wait to be let in."""
    invite_link: str
    members: list[MemberInfo]
    refused: dict[str, int] = {}


class GroupList(msgspec.Struct, frozen=True):
    groups: list[GroupInfo]


class CreateGroup(msgspec.Struct):
    """`phone` makes the group and owns it; `members` are numbers."""

    phone: str
    subject: str
    members: list[str] = []


class ChangeGroup(msgspec.Struct):
    """What `phone` changes; `picture` is a JPEG in base64, empty removes it."""

    phone: str
    subject: str | None = None
    description: str | None = None
    picture: str | None = None
    announce: bool | None = None
    locked: bool | None = None
    expiration_s: int | None = None
    approval: bool | None = None


class Participants(msgspec.Struct):
    """`add`, `remove`, `promote` or `demote`."""

    phone: str
    action: str
    members: list[str]


class Who(msgspec.Struct):
    phone: str


class Join(msgspec.Struct):
    """`link` is an invite link, or its code alone."""

    phone: str
    link: str


async def list_groups(world: World, request: Request) -> Response:
    """List all groups."""
    return json_response(200, {"groups": [_shown(world, group) for group in world.groups]})


async def create_group(world: World, request: Request) -> Response:
    """Make a group; all members' clients hear of it."""
    asked = body(request, CreateGroup)
    creator = world.accounts.by_phone(asked.phone)
    group = world.groups.create(creator, asked.subject, _accounts(world, asked.members))
    announce_new(world, group, creator)
    return json_response(201, _shown(world, group))


async def get_group(world: World, request: Request, group: str) -> Response:
    """Show a group."""
    return json_response(200, _shown(world, _find(world, group)))


async def change_group(world: World, request: Request, group: str) -> Response:
    """Change subject, description, picture, who may send, change or join, or the timer, as a member."""
    asked, found = body(request, ChangeGroup), _find(world, group)
    actor = world.accounts.by_phone(asked.phone)
    changes = {
        "subject": None if asked.subject is None else Asked(actor, text=asked.subject),
        "description": None if asked.description is None else Asked(actor, text=asked.description),
        "picture": None if asked.picture is None else Asked(actor, id=_picture(world, asked.picture)),
        "announce": None if asked.announce is None else Asked(actor, seconds=int(asked.announce)),
        "locked": None if asked.locked is None else Asked(actor, seconds=int(asked.locked)),
        "approval": None if asked.approval is None else Asked(actor, seconds=int(asked.approval)),
        "ephemeral": None if asked.expiration_s is None else Asked(actor, seconds=asked.expiration_s),
    }
    for name, change in changes.items():
        if change is not None:
            carry_out(world, found, name, change)
    return json_response(200, _shown(world, found))


async def change_participants(world: World, request: Request, group: str) -> Response:
    """Add, remove, promote or demote members, as a member."""
    asked, found = body(request, Participants), _find(world, group)
    if asked.action not in ("add", "remove", "promote", "demote"):
        raise BadRequest("`action` is add, remove, promote or demote")
    actor = world.accounts.by_phone(asked.phone)
    told = carry_out(world, found, asked.action, Asked(actor, accounts=_accounts(world, asked.members)))
    return json_response(200, _shown(world, found, told))


async def reset_invite(world: World, request: Request, group: str) -> Response:
    """Make a new invite link, as an admin; the one before leads nowhere any more."""
    asked, found = body(request, Who), _find(world, group)
    carry_out(world, found, "invite", Asked(world.accounts.by_phone(asked.phone)))
    return json_response(200, _shown(world, found))


async def leave_group(world: World, request: Request, group: str) -> Response:
    """Leave a group."""
    asked, found = body(request, Who), _find(world, group)
    carry_out(world, found, "leave", Asked(world.accounts.by_phone(asked.phone)))
    return json_response(200, _shown(world, found))


async def join_group(world: World, request: Request) -> Response:
    """Join a group by its invite link."""
    asked = body(request, Join)
    found = world.groups.by_invite(asked.link.removeprefix(_INVITE_LINK))
    if found is None:
        raise UnknownLink(asked.link)
    carry_out(world, found, "join", Asked(world.accounts.by_phone(asked.phone)))
    return json_response(200, _shown(world, found))


def _find(world: World, group: str) -> Group:
    found = world.groups.find(Jid(group.partition("@")[0], GROUP_SERVER))
    if found is None:
        raise UnknownGroup(group)
    return found


def _accounts(world: World, phones: list[str]) -> list[Account]:
    return [world.accounts.by_phone(phone) for phone in phones]


def _picture(world: World, text: str) -> str:
    try:
        picture = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest("`picture` is no base64") from error
    return world.profiles.keep_picture(picture) if picture else ""


def _shown(world: World, group: Group, told: Told | None = None) -> dict[str, object]:
    def phone(lid: Jid) -> str:
        account = world.accounts.find(lid)
        return account.phone if account else str(lid)

    members = [(Jid(lid, LID_SERVER), role) for lid, role in group.members.items()]
    return {
        "group": str(group.jid),
        "subject": group.subject,
        "description": group.description,
        "picture": group.picture,
        "announce": group.announce,
        "locked": group.locked,
        "expiration_s": group.expiration_s,
        "approval": group.approval,
        "requests": [phone(Jid(lid, LID_SERVER)) for lid in group.requests],
        "invite_link": _INVITE_LINK + group.invite,
        "members": [
            {"phone": phone(lid), "lid": str(lid), "role": "member" if role == MEMBER else role}
            for lid, role in members
        ],
        "refused": {phone(Jid.parse(lid)): code for lid, code in (told.refused if told else {}).items()},
    }


_GROUP: Final = "/groups/{group}"

ROUTES: Final = (
    Route("GET", "/groups", list_groups, answer=GroupList),
    Route("POST", "/groups", create_group, body=CreateGroup, answer=GroupInfo),
    Route("POST", "/groups/join", join_group, body=Join, answer=GroupInfo),
    Route("GET", _GROUP, get_group, answer=GroupInfo),
    Route("PATCH", _GROUP, change_group, body=ChangeGroup, answer=GroupInfo),
    Route("POST", _GROUP + "/participants", change_participants, body=Participants, answer=GroupInfo),
    Route("POST", _GROUP + "/invite", reset_invite, body=Who, answer=GroupInfo),
    Route("POST", _GROUP + "/leave", leave_group, body=Who, answer=GroupInfo),
)
