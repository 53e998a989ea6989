"""Calls about groups: which there are, who is in them, how they are set, and the link by which people join."""

import re
from dataclasses import dataclass

from quart.wrappers import Response

from bridge.api import schemas_groups as schemas
from bridge.api.auth import Access
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.participants import addresses, find_people, refused, results
from bridge.api.problems import InvalidField, InvalidRecipientField, NotSupported, UnknownRecipientField
from bridge.api.recipients import read
from bridge.domain.groups import (
    ChangeMembers,
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
    SetAnnounce,
    SetDescription,
    SetLocked,
    SetSubject,
    SetTimer,
)
from bridge.domain.identity import Server, phone_of
from bridge.domain.ids import InstanceKey
from bridge.domain.questions import PhoneOfLid
from bridge.errors import BridgeError
from bridge.store.errors import InstanceNotFound

_LINK = re.compile(r"(?:(?:https?://)?chat\.whatsapp\.com/(?:invite/)?)?([A-Za-z0-9_-]{10,64})/?(?:\?[^#]*)?")
"""An invite link, or its code; apps put parameters behind it."""
_DEVICE = re.compile(r":\d+(?=@)")


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = GroupCalls(context)
    return (
        Route("GET", "/group/<key>", calls.groups, Access.READ),
        Route("POST", "/group/<key>", calls.create, Access.SEND),
        Route("POST", "/group/<key>/join", calls.join, Access.SEND),
        Route("GET", "/group/<key>/<id>", calls.group, Access.READ),
        Route("PATCH", "/group/<key>/<id>", calls.change, Access.SEND),
        Route("POST", "/group/<key>/<id>/participants", calls.participants, Access.SEND),
        Route("GET", "/group/<key>/<id>/invite", calls.invite, Access.SEND),  # whoever has the link can get in
        Route("POST", "/group/<key>/<id>/invite", calls.reset_invite, Access.SEND),
        Route("GET", "/group/<key>/<id>/requests", calls.requests, Access.READ),
        Route("POST", "/group/<key>/<id>/leave", calls.leave, Access.SEND),
    )


@dataclass(frozen=True, slots=True)
class GroupCalls:
    """The handlers. WhatsApp is asked each time, over the instance's session, so it has to be online."""

    context: ApiContext

    async def groups(self, call: Call) -> Response:
        key = call.instance()
        found = await self.context.directory.query(key, FindGroups())
        own = await self._own(key)
        shown = [schemas.summary(one, _own_member(one, own)) for one in found]
        return answer(schemas.GroupList(shown, len(shown)))

    async def group(self, call: Call) -> Response:
        return await self._shown(call.instance(), _group_id(call))

    async def create(self, call: Call) -> Response:
        body = await call.json(schemas.CreateGroup)
        key = call.instance()
        subject = _subject(body.subject)
        named = await find_people(self.context.directory, key, body.participants)
        for n, one in enumerate(named):
            if one.jid is None:
                raise UnknownRecipientField(f"participants[{n}]", "is a number that WhatsApp does not know")
        members = tuple(dict.fromkeys(one.jid for one in named if one.jid is not None))
        with call.promised():
            made = await self.context.directory.query(key, CreateGroup(subject, members))
            own = await self._own(key)
        not_added = [refused(one) for one in made.refused]
        return answer(schemas.created(made.group, _own_member(made.group, own), not_added), 201)

    async def change(self, call: Call) -> Response:
        """Change what only admins may first: who may not is refused before anything has changed."""
        body = await call.json(schemas.ChangeGroup)
        key, group = call.instance(), _group_id(call)
        for name in ("join_approval", "picture_media_id"):
            if getattr(body, name) is not None:
                raise NotSupported(f"`{name}`.", field=name)
        subject = None if body.subject is None else _subject(body.subject)
        with call.promised():
            query = self.context.directory.query
            if body.announce is not None:
                await query(key, SetAnnounce(group, body.announce))
            if body.locked is not None:
                await query(key, SetLocked(group, body.locked))
            if subject is not None:
                await query(key, SetSubject(group, subject))
            if body.description is not None:
                await query(key, SetDescription(group, body.description))
            if body.disappearing_s is not None:
                await query(key, SetTimer(group, body.disappearing_s))
            return await self._shown(key, group)

    async def participants(self, call: Call) -> Response:
        body = await call.json(schemas.ChangeParticipants)
        key, group = call.instance(), _group_id(call)
        named = await find_people(self.context.directory, key, body.participants)
        listed = addresses(named, await self.context.directory.query(key, FindGroup(group)))
        outcomes: tuple[Refused | Member, ...] = ()
        if listed:
            change = ChangeMembers(group, body.action, tuple(dict.fromkeys(listed.values())))
            with call.promised():
                outcomes = await self.context.directory.query(key, change)
        return answer(schemas.Results(group, results(named, listed, outcomes, body.action)))

    async def invite(self, call: Call) -> Response:
        return await self._invite(call, reset=False)

    async def reset_invite(self, call: Call) -> Response:
        return await self._invite(call, reset=True)

    async def _invite(self, call: Call, *, reset: bool) -> Response:
        key, group = call.instance(), _group_id(call)
        with call.promised():
            link = await self.context.directory.query(key, FindInvite(group, reset))
        return answer(schemas.Invite(group, link))

    async def join(self, call: Call) -> Response:
        body = await call.json(schemas.Join)
        key = call.instance()
        code = _LINK.fullmatch(body.invite_link.strip())
        if code is None:
            raise InvalidField("invite_link", "is no invite link: https://chat.whatsapp.com/ and a code")
        with call.promised():
            group = await self.context.directory.query(key, JoinGroup(code[1]))
            try:
                found = await self.context.directory.query(key, FindGroup(group))
            except BridgeError as error:
                if error.code != "not_in_group":
                    raise
                return answer(schemas.Joined("requested", group, None))
            own = await self._own(key)
        return answer(schemas.Joined("joined", group, schemas.group(found, _own_member(found, own))))

    async def requests(self, call: Call) -> Response:
        key, group = call.instance(), _group_id(call)
        found = await self.context.directory.query(key, FindRequests(group))
        return answer(schemas.Requests(group, [await self._request(key, one) for one in found]))

    async def _request(self, key: InstanceKey, one: JoinRequest) -> schemas.Request:
        """Return a request with the number, which WhatsApp names only by the LID; the engine keeps what it was told."""
        jid, lid = one.address, None
        if jid.endswith(f"@{Server.LID.value}"):
            lid = jid
            known = await self.context.directory.query(key, PhoneOfLid(lid))
            jid = known or lid
        return schemas.Request(jid, lid, phone_of(jid), one.at)

    async def leave(self, call: Call) -> Response:
        key, group = call.instance(), _group_id(call)
        with call.promised():
            await self.context.directory.query(key, LeaveGroup(group))
        return answer(schemas.Left("left", key, group))

    async def _shown(self, key: InstanceKey, group: str) -> Response:
        found = await self.context.directory.query(key, FindGroup(group))
        return answer(schemas.group(found, _own_member(found, await self._own(key))))

    async def _own(self, key: InstanceKey) -> tuple[str, ...]:
        """Return the instance's own addresses, without the device."""
        row = await self.context.store.instances.get(key)
        if row is None:
            raise InstanceNotFound
        return tuple(_DEVICE.sub("", jid) for jid in (row.jid, row.lid) if jid)


def _own_member(group: Group, own: tuple[str, ...]) -> Member | None:
    return next((one for one in group.members if any(one.is_at(jid) for jid in own)), None)


def _group_id(call: Call) -> str:
    found = read("id", call.path["id"])
    if found.server is not Server.GROUP:
        raise InvalidRecipientField("id", "must be a group: 120363… with or without @g.us")
    return found.jid


def _subject(text: str) -> str:
    if not text.strip():
        raise InvalidField("subject", "is blank")
    return text
