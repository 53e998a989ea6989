"""Answers questions about groups; `answers` has these functions in its table."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from bridge.domain.groups import (
    ChangeMembers,
    Created,
    CreateGroup,
    FindGroup,
    FindGroups,
    FindInvite,
    FindRequests,
    Group,
    JoinGroup,
    JoinRequest,
    LeaveGroup,
    Member,
    Refused,
    Role,
    SetAnnounce,
    SetDescription,
    SetLocked,
    SetSubject,
    SetTimer,
)
from bridge.domain.questions import Question
from bridge.engine import jids
from bridge.engine.errors import (
    EngineError,
    GroupRefused,
    InviteInvalid,
    NotGroupAdmin,
    NotInGroup,
    OutcomeUnknown,
    UnknownGroup,
)
from bridge.engine.failures import is_certain
from bridge.engine.people import LID_SERVER, PHONE_SERVER
from bridge.engine.session import Session
from bridge.engine.wire import Argument
from bridge.protos import neonize_pb

_SAYS: Mapping[str, type[EngineError]] = {
    "that group does not exist": UnknownGroup,
    "you're not participating in that group": NotInGroup,
    "you don't have the permission to get the group's invite link": NotGroupAdmin,
    "that group invite link has been revoked": InviteInvalid,
    "that group invite link is not valid": InviteInvalid,
    "invalid disappearing timer": GroupRefused,
}
"""whatsmeow's words (`errors.go`) for what WhatsApp answered."""
_STATUS = re.compile(r"info query returned status (\d{3})")
_NOT_ALLOWED = frozenset({401, 403})
_NOT_FOUND, _TOO_OFTEN = 404, 429
_NANOSECONDS = 10**9


async def _find_groups(session: Session, _: FindGroups, timeout_s: float) -> tuple[Group, ...]:
    reply = neonize_pb.GetJoinedGroupsReturnFunction.FromString(
        await session.call("GetJoinedGroups", timeout_s=timeout_s)
    )
    _check(reply.Error)
    return tuple(group_of(one) for one in reply.Group)


async def _find_group(session: Session, question: FindGroup, timeout_s: float) -> Group:
    reply = neonize_pb.GetGroupInfoReturnFunction.FromString(
        await session.call("GetGroupInfo", jids.parse(question.group), timeout_s=timeout_s)
    )
    _check(reply.Error)
    return group_of(reply.GroupInfo)


async def _create_group(session: Session, question: CreateGroup, timeout_s: float) -> Created:
    asked = neonize_pb.ReqCreateGroup(name=question.subject, Participants=_jids(question.members), CreateKey="")
    reply = neonize_pb.GetGroupInfoReturnFunction.FromString(
        await session.call("CreateGroup", asked.SerializeToString(), timeout_s=timeout_s)
    )
    _check(reply.Error, changes=True)
    refused = [outcome for one in reply.GroupInfo.Participants if isinstance(outcome := outcome_of(one), Refused)]
    return Created(group_of(reply.GroupInfo), tuple(refused))


async def _set_subject(session: Session, question: SetSubject, timeout_s: float) -> None:
    await _change(session, "SetGroupName", question.group, question.subject, timeout_s=timeout_s)


async def _set_description(session: Session, question: SetDescription, timeout_s: float) -> None:
    """Whatsmeow looks up which description is there now, and makes an id for the new one, when they are empty."""
    await _change(session, "SetGroupTopic", question.group, "", "", question.description, timeout_s=timeout_s)


async def _set_announce(session: Session, question: SetAnnounce, timeout_s: float) -> None:
    await _change(session, "SetGroupAnnounce", question.group, question.announce, timeout_s=timeout_s)


async def _set_locked(session: Session, question: SetLocked, timeout_s: float) -> None:
    await _change(session, "SetGroupLocked", question.group, question.locked, timeout_s=timeout_s)


async def _set_timer(session: Session, question: SetTimer, timeout_s: float) -> None:
    timer = question.expiration_s * _NANOSECONDS
    await _change(session, "SetDisappearingTimer", question.group, timer, 0, timeout_s=timeout_s)


async def _leave_group(session: Session, question: LeaveGroup, timeout_s: float) -> None:
    await _change(session, "LeaveGroup", question.group, timeout_s=timeout_s)


async def _change_members(session: Session, question: ChangeMembers, timeout_s: float) -> tuple[Refused | Member, ...]:
    asked = neonize_pb.JIDArray(JIDS=_jids(question.addresses)).SerializeToString()
    group = jids.parse(question.group)
    reply = neonize_pb.UpdateGroupParticipantsReturnFunction.FromString(
        await session.call("UpdateGroupParticipants", group, asked, question.action, timeout_s=timeout_s)
    )
    await _check_change(session, question.group, reply.Error, timeout_s)
    return tuple(outcome_of(one) for one in reply.participants)


async def _find_invite(session: Session, question: FindInvite, timeout_s: float) -> str:
    reply = neonize_pb.GetGroupInviteLinkReturnFunction.FromString(
        await session.call("GetGroupInviteLink", jids.parse(question.group), question.reset, timeout_s=timeout_s)
    )
    await _check_change(session, question.group, reply.Error, timeout_s, changes=question.reset)
    return str(reply.InviteLink)


async def _join_group(session: Session, question: JoinGroup, timeout_s: float) -> str:
    reply = neonize_pb.JoinGroupWithLinkReturnFunction.FromString(
        await session.call("JoinGroupWithLink", question.code, timeout_s=timeout_s)
    )
    _check(reply.Error, changes=True)
    return jids.text(reply.Jid)


async def _find_requests(session: Session, question: FindRequests, timeout_s: float) -> tuple[JoinRequest, ...]:
    reply = neonize_pb.GetGroupRequestParticipantsReturnFunction.FromString(
        await session.call("GetGroupRequestParticipants", jids.parse(question.group), timeout_s=timeout_s)
    )
    await _check_change(session, question.group, reply.Error, timeout_s, changes=False)
    return tuple(JoinRequest(jids.text(one.Participant), one.TimeAt) for one in reply.Participants)


async def _change(session: Session, method: str, group: str, *arguments: Argument, timeout_s: float) -> None:
    """Call a function that changes a group and returns nothing but the text of an error."""
    error = (await session.call(method, jids.parse(group), *arguments, timeout_s=timeout_s)).decode(errors="replace")
    await _check_change(session, group, error, timeout_s)


async def _check_change(session: Session, group: str, error: str, timeout_s: float, *, changes: bool = True) -> None:
    """Raise what an error means. WhatsApp forbids alike to who is no member and who is no admin: look which it is."""
    if error and _status(error) in _NOT_ALLOWED:
        await _find_group(session, FindGroup(group), timeout_s)
        raise NotGroupAdmin
    _check(error, changes=changes)


def _check(error: str, *, changes: bool = False) -> None:
    """Raise what an error's text means; of a call that `changes` something it may be that nobody knows."""
    if not error:
        return
    for words, kind in _SAYS.items():
        if words in error:
            raise kind
    status = _status(error)
    if status == _NOT_FOUND:
        raise UnknownGroup
    if status is not None and 400 <= status < 500 and status != _TOO_OFTEN:
        raise GroupRefused(error)
    raise EngineError(error) if not changes or is_certain(error) else OutcomeUnknown(error)


def _status(error: str) -> int | None:
    found = _STATUS.search(error)
    return int(found[1]) if found else None


def _jids(addresses: Iterable[str]) -> list["neonize_pb.JID"]:
    return [neonize_pb.JID.FromString(jids.parse(address)) for address in addresses]


def group_of(info: "neonize_pb.GroupInfo") -> Group:
    """Return a group; who was not let in is not among its members.

    Its age is left out: neonize gives seconds since 1970 as a 32-bit float, which is wrong by up to a minute.
    """
    owner = info.OwnerPN if info.OwnerPN.User else info.OwnerJID
    outcomes = [outcome_of(one) for one in info.Participants]
    return Group(
        id=jids.text(info.JID),
        subject=info.GroupName.Name,
        description=info.GroupTopic.Topic or None,
        owner=jids.text(owner) if owner.User else None,
        announce=info.GroupAnnounce.IsAnnounce,
        locked=info.GroupLocked.isLocked,
        expiration_s=info.GroupEphemeral.DisappearingTimer if info.GroupEphemeral.IsEphemeral else 0,
        members=tuple(one for one in outcomes if isinstance(one, Member)),
    )


def outcome_of(one: "neonize_pb.GroupParticipant") -> Refused | Member:
    """Return what became of somebody whom WhatsApp lists; every address that it tells is taken."""
    known = {jid.Server: jids.text(jid) for jid in (one.LID, one.PhoneNumber, one.JID) if jid.User}
    role: Role = "superadmin" if one.IsSuperAdmin else "admin" if one.IsAdmin else "member"
    member = Member(jids.text(one.JID), known.get(PHONE_SERVER), known.get(LID_SERVER), role)
    return Refused(member, one.Error) if one.Error else member


GROUP_ANSWERS: Mapping[type[Question[Any]], Callable[[Session, Any, float], Awaitable[object]]] = {
    FindGroups: _find_groups,
    FindGroup: _find_group,
    CreateGroup: _create_group,
    SetSubject: _set_subject,
    SetDescription: _set_description,
    SetAnnounce: _set_announce,
    SetLocked: _set_locked,
    SetTimer: _set_timer,
    ChangeMembers: _change_members,
    FindInvite: _find_invite,
    FindRequests: _find_requests,
    JoinGroup: _join_group,
    LeaveGroup: _leave_group,
}
