"""Calls about people: contacts, who is blocked, the instance's own profile, presence, and calls that ring."""

from dataclasses import dataclass

from quart.wrappers import Response

from bridge.api import schemas_people as schemas
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.problems import InvalidField, InvalidRecipientField, NotSupported, UnknownContact
from bridge.api.recipients import person, read
from bridge.domain.identity import Recipient, Server, phone_of
from bridge.domain.ids import InstanceKey
from bridge.domain.profiles import (
    PRIVACY,
    FindPicture,
    FindPrivacy,
    FollowPresence,
    Look,
    SetAbout,
    SetBlocked,
    SetChatState,
    SetName,
    SetPresence,
    SetPrivacy,
)
from bridge.domain.questions import LidOfPhone, RejectCall
from bridge.store.contacts import ContactRow
from bridge.store.errors import InstanceNotFound
from bridge.store.rows import InstanceRow

PAGE = 100
PAGE_LIMIT = 1_000
_AVATARS = ("preview", "full")


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = PeopleCalls(context)
    return (
        Route("GET", "/contact/<key>", calls.contacts, Access.READ),
        Route("GET", "/contact/<key>/<id>", calls.contact, Access.READ),
        Route("PUT", "/contact/<key>/<id>/block", calls.block, Access.SEND),
        Route("POST", "/contact/<key>/<id>/follow", calls.follow, Access.SEND),
        Route("GET", "/profile/<key>", calls.profile, Access.READ),
        Route("PATCH", "/profile/<key>", calls.change_profile, Access.MANAGE),
        Route("POST", "/presence", calls.presence, Access.SEND, Reach.ONE),
        Route("POST", "/chat/presence", calls.chat_presence, Access.SEND, Reach.ONE),
        Route("POST", "/call/reject", calls.reject_call, Access.SEND, Reach.ONE),
    )


@dataclass(frozen=True, slots=True)
class PeopleCalls:
    """The handlers. What they ask WhatsApp for needs an instance that is online; the list of contacts does not."""

    context: ApiContext

    async def contacts(self, call: Call) -> Response:
        row = await self._row(call)
        limit = int(call.query_number("limit", PAGE, 1, PAGE_LIMIT))
        search, cursor = call.query("q"), call.query("cursor")
        found: list[ContactRow] = []
        next_cursor = None
        if row.jid is not None:
            page = await self.context.store.contacts.page(row.jid, search=search, limit=limit, cursor=cursor)
            found, next_cursor = list(page.items), page.next_cursor
        return answer(schemas.ContactList([schemas.contact(one) for one in found], len(found), next_cursor))

    async def contact(self, call: Call) -> Response:
        row = await self._row(call)
        who = person("id", call.path["id"])
        avatar = call.query("avatar")
        if avatar not in {None, *_AVATARS}:
            raise InvalidField("avatar", f"must be one of {', '.join(_AVATARS)}")
        shown = await self.context.directory.query(row.key, Look(who.jid))
        known = await self._known(row, who)
        if (shown is None or not shown.devices) and not known.push_name and not known.name:
            raise UnknownContact(id=who.jid)
        fields = {name: getattr(schemas.contact(known), name) for name in schemas.Contact.__struct_fields__}
        about, picture_id = (None, None) if shown is None else (shown.about, shown.picture_id)
        detail = schemas.ContactDetail(**fields, about=about, avatar_id=picture_id)
        if avatar is not None:
            found = await self.context.directory.query(row.key, FindPicture(who.jid, avatar == "preview"))
            url = None if found is None else found.url
            detail = schemas.ContactDetail(**fields, about=about, avatar_id=picture_id, avatar_url=url)
        return answer(detail)

    async def _known(self, row: InstanceRow, who: Recipient) -> ContactRow:
        """Return what is known of a person beside WhatsApp's answer; with no more than the address if need be."""
        contacts = self.context.store.contacts
        phone, lid = who.phone, who.user if who.server is Server.LID else None
        found = None if row.jid is None else await contacts.find(row.jid, phone=phone, lid=lid)
        if found is not None:
            return found
        other = await contacts.other_address(phone=phone, lid=lid)
        return ContactRow(phone or other, lid or other, None, None, None, "")

    async def block(self, call: Call) -> Response:
        body = await call.json(schemas.Block)
        key = call.instance()
        who = person("id", call.path["id"])
        with call.promised():
            blocked = await self.context.directory.query(key, SetBlocked(who.jid, body.blocked))
        return answer(schemas.Blocked("blocked" if blocked else "unblocked", key, who.jid, blocked))

    async def follow(self, call: Call) -> Response:
        key = call.instance()
        who = person("id", call.path["id"])
        jid = who.jid
        if who.phone is not None:  # WhatsApp answers nothing when there is nobody, or the number is spelled otherwise
            (known,) = await self.context.directory.look_up(key, [who.phone], fresh=False)
            if not known.found.exists:
                raise UnknownContact(id=who.jid)
            jid = known.found.jid or who.jid
        with call.promised():
            await self.context.directory.query(key, FollowPresence(jid))
        return answer(schemas.Followed("following", key, jid))

    async def profile(self, call: Call) -> Response:
        return await self._profile(call.instance())

    async def change_profile(self, call: Call) -> Response:
        body = await call.json(schemas.ChangeProfile)
        key = call.instance()
        if body.picture_media_id is not None:
            raise NotSupported("`picture_media_id`.", field="picture_media_id")
        for name, value in (body.privacy or {}).items():
            _check_privacy(name, value)
        with call.promised():
            query = self.context.directory.query
            if body.name is not None:
                await query(key, SetName(body.name))
            if body.about is not None:
                await query(key, SetAbout(body.about))
            for name, value in (body.privacy or {}).items():
                await query(key, SetPrivacy(name, value))
        return await self._profile(key)

    async def _profile(self, key: InstanceKey) -> Response:
        query = self.context.directory.query
        privacy = await query(key, FindPrivacy())  # also shows that the instance is online
        row = await self.context.store.instances.get(key)
        if row is None:
            raise InstanceNotFound
        own = f"{phone_of(row.jid)}@{Server.USER.value}"
        shown = await query(key, Look(own))
        picture = await query(key, FindPicture(own, preview=False))
        return answer(
            schemas.Profile(
                instance_key=key,
                phone_number=phone_of(row.jid) or "",
                jid=row.jid,
                lid=row.lid,
                name=row.push_name,
                about=None if shown is None else shown.about,
                avatar_id=None if picture is None else picture.id,
                avatar_url=None if picture is None else picture.url,
                privacy=privacy,
            )
        )

    async def presence(self, call: Call) -> Response:
        body = await call.json(schemas.SetPresence)
        key = call.instance(body.instance_key)
        with call.promised():
            await self.context.directory.query(key, SetPresence(body.state == "available"))
        return answer(schemas.Ok("ok", key))

    async def chat_presence(self, call: Call) -> Response:
        body = await call.json(schemas.SetChatPresence)
        key = call.instance(body.instance_key)
        chat = read("chat", body.chat)
        if chat.server is Server.NEWSLETTER:
            raise InvalidRecipientField("chat", "is a newsletter; nobody is shown as typing there")
        with call.promised():
            await self.context.directory.query(key, SetChatState(chat.jid, body.state))
        return answer(schemas.Ok("ok", key))

    async def reject_call(self, call: Call) -> Response:
        """Reject the call of a LID where the caller's is known: WhatsApp names callers by it."""
        body = await call.json(schemas.RejectCall)
        key = call.instance(body.instance_key)
        caller = person("from", body.from_)
        if body.reply_message is not None:
            raise NotSupported("`reply_message`.", field="reply_message")
        with call.promised():
            query = self.context.directory.query
            lid = None if caller.phone is None else await query(key, LidOfPhone(caller.jid))
            await query(key, RejectCall(lid or caller.jid, body.call_id))
        return answer(schemas.Rejected("rejected", key, body.call_id))

    async def _row(self, call: Call) -> InstanceRow:
        row = await self.context.store.instances.get(call.instance())
        if row is None:
            raise InstanceNotFound
        return row


def _check_privacy(name: str, value: str) -> None:
    if name not in PRIVACY:
        raise InvalidField(f"privacy.{name}", f"is not one of {', '.join(PRIVACY)}")
    if value not in PRIVACY[name]:
        raise InvalidField(f"privacy.{name}", f"must be one of {', '.join(PRIVACY[name])}")
