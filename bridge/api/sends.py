"""The calls that send a message: one table from path to request schema, kind, and what the command's row keeps.

How a kind gets to WhatsApp is `bridge.instances.kinds`. A new kind is an entry here and one there.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.api import recipients
from bridge.api import schemas_messages as schemas
from bridge.api.call import Call
from bridge.api.problems import InvalidField, NotDeliverable, UnknownMessage
from bridge.domain import interactive
from bridge.domain.identity import Server
from bridge.domain.ids import InstanceKey
from bridge.domain.vcard import is_vcard, vcard
from bridge.store.messages import StoredMessage

POLL_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What a request asks to send: the row's body, plain JSON."""

    body: Mapping[str, Any]
    kind: str | None = None
    """Where the kind depends on the request."""
    meaning: object = None
    """What a repeated request with the same Idempotency-Key must be equal in, where that is not the body."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further fields of the answer."""
    prepare: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    """Does what is to be done for a send that is no repeated one, and returns further fields of the row's body."""


Read = Callable[[Call, InstanceKey, str, Any], Awaitable[Content]]
"""Makes the content of a request to a JID, or raises what refuses it; a request that is refused changes nothing."""


@dataclass(frozen=True, slots=True)
class SendCall:
    """One call that sends: `kind` is in the command's row, in events and in `bridge.instances.kinds.KINDS`."""

    path: str
    kind: str
    request: type[schemas.Common]
    read: Read
    with_file: bool = False
    """Whether its body may hold a file, and the send may take as long as that takes."""


async def _text(call: Call, _: InstanceKey, __: str, request: schemas.SendText) -> Content:
    body: dict[str, Any] = {"text": _bounded(call, "message", request.message)}
    preview = request.link_preview
    if preview is True:
        raise InvalidField("link_preview", "must be an object with url and title: no page is fetched")
    if isinstance(preview, schemas.LinkPreview):
        if preview.url not in request.message:
            raise InvalidField("link_preview.url", "does not occur in `message`")
        try:
            base64.b64decode(preview.thumbnail_base64 or "", validate=True)
        except binascii.Error:
            raise InvalidField("link_preview.thumbnail_base64", "is not base64") from None
        body["link_preview"] = schemas.plain(preview)
    return Content(body)


async def _location(_: Call, __: InstanceKey, ___: str, request: schemas.SendLocation) -> Content:
    place = {"latitude": request.latitude, "longitude": request.longitude}
    words = {"name": request.name, "address": request.address}
    return Content({**place, **{name: text for name, text in words.items() if text}})


async def _contact(_: Call, __: InstanceKey, ___: str, request: schemas.SendContact) -> Content:
    cards = request.contacts
    if not cards:
        if not request.contact_name:
            raise InvalidField("contact_name", "is required, or `contacts`")
        cards = [schemas.ContactCard(request.contact_name, request.contact_phone)]
    return Content({"contacts": [_card(card, original=not request.contacts) for card in cards]})


def _card(card: schemas.ContactCard, *, original: bool) -> dict[str, str]:
    name = "contact_phone" if original else "contacts.phone"
    if card.vcard is not None:
        if not is_vcard(card.vcard):
            raise InvalidField(
                "contacts.vcard", "is no vCard: it begins with BEGIN:VCARD, has VERSION and FN, and ends"
            )
        return {"name": card.name, "vcard": card.vcard}
    if not card.phone:
        raise InvalidField(name, "is required: the contact's phone number with its country code")
    phone = recipients.read(name, card.phone).phone
    if phone is None:
        raise InvalidField(name, "must be a phone number")
    return {"name": card.name, "vcard": vcard(card.name, phone)}


async def _interactive(call: Call, _: InstanceKey, __: str, request: schemas.SendInteractive) -> Content:
    if bool(request.buttons) == bool(request.rows):
        raise InvalidField("buttons", "must hold 1 to 3 buttons, or `list` 1 to 10 rows")
    if request.fallback == "none":
        raise NotDeliverable(rendered_as="text")
    choices = [button.title for button in request.buttons]
    choices += [f"{row.title}: {row.description}" if row.description else row.title for row in request.rows]
    text = interactive.as_text(request.title, request.body, request.footer, choices)
    extra = {"rendered_as": "text", "error": "Sent as text: WhatsApp does not show buttons that the engine sends."}
    return Content({"text": _bounded(call, "body", text)}, extra=extra)


async def _poll(_: Call, __: InstanceKey, ___: str, request: schemas.SendPoll) -> Content:
    if len(set(request.options)) != len(request.options):
        raise InvalidField("options", "must differ from each other")
    if request.max_choices > len(request.options):
        raise InvalidField("max_choices", "is more than there are options")
    asked = {"question": request.question, "options": request.options, "max_choices": request.max_choices}
    secret = base64.b64encode(secrets.token_bytes(POLL_SECRET_BYTES)).decode()
    return Content({**asked, "secret": secret}, meaning=asked)


async def _react(call: Call, key: InstanceKey, to: str, request: schemas.React) -> Content:
    known = await _known(call, key, to, request.message_id)
    if known is None and to.endswith(Server.GROUP.value):
        raise UnknownMessage(message_id=request.message_id)
    asked = {"target": _target(to, request.message_id, known, ours=False), "emoji": request.emoji}
    return Content({**asked, "at_ms": _now_ms()}, meaning=asked)


async def _edit(call: Call, key: InstanceKey, to: str, request: schemas.Edit) -> Content:
    known = await _known(call, key, to, request.message_id)
    if known is not None and not known.from_me:
        raise InvalidField("message_id", "is somebody else's message; only your own can be edited")
    target = _target(to, request.message_id, known, ours=True)
    asked = {"target": target, "text": _bounded(call, "message", request.message)}
    return Content({**asked, "at_ms": _now_ms()}, meaning=asked)


async def _revoke(call: Call, key: InstanceKey, to: str, request: schemas.Revoke) -> Content:
    known = await _known(call, key, to, request.message_id)
    if known is not None and not known.from_me and not to.endswith(Server.GROUP.value):
        raise InvalidField("message_id", "is somebody else's message; those can be revoked by a group's admin only")
    return Content({"target": _target(to, request.message_id, known, ours=True)})


async def _forward(call: Call, key: InstanceKey, _: str, request: schemas.Forward) -> Content:
    found = await call.context.store.messages.find(key, request.message_id)
    if found is None:
        raise UnknownMessage(message_id=request.message_id)
    if request.from_chat and _is_other_chat(found.chat, recipients.read("from_chat", request.from_chat).jid):
        raise UnknownMessage(message_id=request.message_id)
    content = await _forwarded(call, key, found)
    if content is None:
        raise NotDeliverable(f"A message of kind {found.kind} cannot be forwarded.", kind=found.kind)
    return Content({**content, "forwarded": True}, kind=found.kind)


async def _forwarded(call: Call, key: InstanceKey, found: StoredMessage) -> Mapping[str, Any] | None:
    """Return the body of a message that says the same; None where the store does not have all of it."""
    if found.kind == "text" and found.text:
        return {"text": found.text}
    data = await call.context.store.messages.data(key, found) or {}
    match found.kind, data:
        case "location", {"location": dict(place)}:
            return {name: value for name, value in place.items() if value is not None}
        case "contact", {"contacts": [*cards]}:
            return {"contacts": cards}
    return None


async def _known(call: Call, key: InstanceKey, to: str, message_id: str) -> StoredMessage | None:
    found = await call.context.store.messages.find(key, message_id)
    if found is not None and _is_other_chat(found.chat, to):
        raise UnknownMessage(message_id=message_id)
    return found


def _is_other_chat(stored: str, asked: str) -> bool:
    """Say whether two chats certainly differ; a person has two names, number and LID."""
    group = Server.GROUP.value
    return (stored.endswith(group) or asked.endswith(group)) and stored != asked


def _target(to: str, message_id: str, known: StoredMessage | None, *, ours: bool) -> dict[str, Any]:
    """Return the key of a message; one that is not known is taken for ours or for the other's."""
    from_me = ours if known is None else known.from_me
    chat, sender = (to, to) if known is None else (known.chat, known.sender)
    return {"message_id": message_id, "chat": chat, "from_me": from_me, "sender": sender}


def _bounded(call: Call, name: str, text: str) -> str:
    limit = call.context.limits.text_chars
    if len(text) > limit:
        raise InvalidField(name, f"is longer than {limit} characters")
    return text


def _now_ms() -> int:
    return int(time.time() * 1000)


SENDS: tuple[SendCall, ...] = (
    SendCall("/message/send", "text", schemas.SendText, _text),
    SendCall("/message/send-location", "location", schemas.SendLocation, _location),
    SendCall("/message/send-contact", "contact", schemas.SendContact, _contact),
    SendCall("/message/send-interactive", "interactive", schemas.SendInteractive, _interactive),
    SendCall("/message/send-poll", "poll", schemas.SendPoll, _poll),
    SendCall("/message/react", "reaction", schemas.React, _react),
    SendCall("/message/edit", "edit", schemas.Edit, _edit),
    SendCall("/message/revoke", "revoke", schemas.Revoke, _revoke),
    SendCall("/message/forward", "text", schemas.Forward, _forward),
)
