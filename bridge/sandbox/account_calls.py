"""The calls by which people and tests change what a phone's owner can change: profile, privacy, contacts, chats; and by
which the owner enters a pairing code."""

import base64
import binascii
from typing import Final, Literal

import msgspec

from bridge.protos import sync_action
from bridge.sandbox import shapes
from bridge.sandbox.accounts import Account
from bridge.sandbox.appstate import Setting
from bridge.sandbox.calls import BadRequest, Route, body
from bridge.sandbox.history import MAX_MESSAGES
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.nodes import GROUP_SERVER, Jid
from bridge.sandbox.phone import UnknownMessage
from bridge.sandbox.profiles import MAX_PICTURE_BYTES
from bridge.sandbox.world import World

_CODE_TIMEOUT_S: Final = 20.0
_FOREVER_MS: Final = -1


class ChangeProfile(msgspec.Struct):
    """What is given is changed. `picture` is the base64 of a JPEG; an empty text removes it."""

    name: str | None = None
    about: str | None = None
    picture: str | None = None
    verified_name: str | None = None
    privacy: dict[str, str] | None = None
    disappearing_s: int | None = None


class EnterCode(msgspec.Struct):
    code: str


class Block(msgspec.Struct):
    phone: str
    blocked: bool = True


class SaveContact(msgspec.Struct):
    """A person in the phone's address book."""

    phone: str
    name: str


class ChangeChat(msgspec.Struct):
    """What is given is changed; `muted_until` in seconds since 1970, 0 ends it, -1 is for ever."""

    chat: str
    muted_until: int | None = None
    pinned: bool | None = None
    archived: bool | None = None


class DeleteForMe(msgspec.Struct):
    """A message that the phone has sent or received; `address`: lid or number, how chat and author are written."""

    message_id: str
    address: Literal["lid", "number"] = "lid"


class PastMessage(msgspec.Struct):
    """A text that phone and chat exchanged before; `at` in seconds since 1970, now without one."""

    chat: str
    text: str
    from_me: bool = False
    at: int | None = None


class AddHistory(msgspec.Struct):
    messages: list[PastMessage]


async def add_history(world: World, request: Request, phone: str) -> Response:
    """Give a phone a past: clients that are linked get it now, others when they are linked."""
    asked = body(request, AddHistory)
    having, _ = world.phones.create(phone, None)
    account = having.account
    if len(asked.messages) + len(world.history.of(account)) > MAX_MESSAGES:
        raise BadRequest(f"a phone remembers {MAX_MESSAGES} messages at most")
    chats = [_chat(world, one.chat) for one in asked.messages]
    added = [
        world.history.add(account, chat, one.text, from_me=one.from_me, at=one.at)
        for chat, one in zip(chats, asked.messages, strict=True)
    ]
    for device in account.linked():
        world.history.send(device)
    return json_response(200, {"message_ids": [one.id for one in added]})


def _chat(world: World, chat: str) -> Jid:
    group = world.groups.find(Jid.parse(chat))
    return world.accounts.by_phone(chat).lid if group is None else group.jid


async def profile(world: World, request: Request, phone: str) -> Response:
    """Show what an account has set about itself, and whether a client waits for it to enter a code."""
    return json_response(200, _profile(world, world.phones.find(phone).account))


async def change_profile(world: World, request: Request, phone: str) -> Response:
    """Change name, about text, picture, business name, privacy; those who know the account hear of it."""
    asked = body(request, ChangeProfile)
    account = world.phones.find(phone).account
    picture = None if asked.picture is None else _picture(asked.picture)
    for name, value in (asked.privacy or {}).items():
        world.profiles.set_privacy(account, name, value)
    if asked.about is not None:
        world.profiles.set_about(account, asked.about)
    if picture is not None:
        world.profiles.set_picture(account, picture or None)
    if asked.verified_name is not None:
        world.profiles.set_verified_name(account, asked.verified_name)
    if asked.disappearing_s is not None:
        world.profiles.set_default_timer(account, asked.disappearing_s)
    if asked.name:
        account.name = asked.name
        world.accounts.save(account)
        world.set_app_state(account, world.phones.app_state.name_of(account))
    return json_response(200, _profile(world, account))


async def enter_code(world: World, request: Request, phone: str) -> Response:
    """Link the client that shows this pairing code for the phone; one that does not exist yet is made."""
    asked = body(request, EnterCode)
    typing, _ = world.phones.create(phone, None)
    device = await world.codes.enter(asked.code, typing.account, _CODE_TIMEOUT_S)
    return json_response(200, {"phone": typing.account.phone, "jid": device.name, "lid": str(device.lid)})


async def block(world: World, request: Request, phone: str) -> Response:
    """Block or unblock somebody, as the phone's owner does."""
    asked = body(request, Block)
    account = world.phones.find(phone).account
    world.profiles.set_blocked(account, world.accounts.by_phone(asked.phone).lid, asked.blocked)
    return json_response(200, _profile(world, account))


async def save_contact(world: World, request: Request, phone: str) -> Response:
    """Put somebody into the phone's address book, which its linked clients learn by app state."""
    asked = body(request, SaveContact)
    account = world.phones.find(phone).account
    other = world.accounts.by_phone(asked.phone)
    value = sync_action.SyncActionValue()
    value.contactAction.fullName = asked.name
    value.contactAction.firstName = asked.name.split(" ")[0]
    value.contactAction.lidJID = str(other.lid)
    world.set_app_state(account, Setting("critical_unblock_low", ("contact", str(other.jid)), value, 2))
    return json_response(200, _app_state(world, account))


async def change_chat(world: World, request: Request, phone: str) -> Response:
    """Mute, pin or archive a chat on the phone, which its linked clients learn by app state."""
    asked = body(request, ChangeChat)
    account = world.phones.find(phone).account
    chat = asked.chat if "@" in asked.chat else str(world.accounts.by_phone(asked.chat).jid)
    if asked.muted_until is not None:
        value = sync_action.SyncActionValue()
        value.muteAction.muted = asked.muted_until != 0
        value.muteAction.muteEndTimestamp = asked.muted_until * 1000 if asked.muted_until > 0 else _FOREVER_MS
        world.set_app_state(account, Setting("regular_high", ("mute", chat), value, 2))
    if asked.pinned is not None:
        value = sync_action.SyncActionValue()
        value.pinAction.pinned = asked.pinned
        world.set_app_state(account, Setting("regular_low", ("pin_v1", chat), value, 5))
    if asked.archived is not None:
        value = sync_action.SyncActionValue()
        value.archiveChatAction.archived = asked.archived
        world.set_app_state(account, Setting("regular_low", ("archive", chat), value, 3))
    return json_response(200, _app_state(world, account))


async def delete_for_me(world: World, request: Request, phone: str) -> Response:
    """Delete a message on the phone for its owner alone, which its linked clients learn by app state."""
    asked = body(request, DeleteForMe)
    account = world.phones.find(phone).account
    kept = world.phones.inboxes.kept(account.phone, account.lid, asked.message_id)
    if kept is None:
        raise UnknownMessage(asked.message_id)
    chat, author = _written(world, kept.chat, asked.address), "0"
    if kept.chat.server == GROUP_SERVER and not kept.mine:
        author = _written(world, kept.author, asked.address)
    value = sync_action.SyncActionValue()
    value.deleteMessageForMeAction.deleteMedia = True
    index = ("deleteMessageForMe", chat, kept.id, "1" if kept.mine else "0", author)
    world.set_app_state(account, Setting("regular_high", index, value, 3))
    return json_response(200, _app_state(world, account))


def _written(world: World, who: Jid, address: str) -> str:
    account = world.accounts.find(who)
    return str(who if account is None else account.lid if address == "lid" else account.jid)


async def app_state(world: World, request: Request, phone: str) -> Response:
    """Show the values of the account's app state, whoever of phone and clients has set them."""
    return json_response(200, _app_state(world, world.phones.find(phone).account))


def _picture(text: str) -> bytes:
    try:
        picture = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadRequest("`picture` is not base64") from error
    if len(picture) > MAX_PICTURE_BYTES:
        raise BadRequest(f"`picture` is larger than {MAX_PICTURE_BYTES} bytes")
    return picture


def _profile(world: World, account: Account) -> dict[str, object]:
    settings = world.profiles.of(account)
    asked = world.codes.asked(account.phone)
    return {
        "phone": account.phone,
        "name": account.name,
        "about": account.about,
        "picture": account.picture,
        "verified_name": settings.verified_name,
        "privacy": settings.privacy,
        "blocked": [str(jid) for jid in account.blocked],
        "disappearing_s": settings.disappearing_s,
        "code_for": None if asked is None else asked.display,
        "code_notified": asked is not None and asked.notify,
    }


def _app_state(world: World, account: Account) -> dict[str, object]:
    return {
        "values": [
            {"collection": collection, "index": index, "value": value}
            for collection, index, value in world.phones.app_state.values(account)
        ]
    }


_PHONE: Final = "/phones/{phone}"

ROUTES: Final = (
    Route("PATCH", _PHONE, change_profile, body=ChangeProfile, answer=shapes.ProfileInfo),
    Route("GET", _PHONE + "/profile", profile, answer=shapes.ProfileInfo),
    Route("POST", _PHONE + "/enter-code", enter_code, body=EnterCode, answer=shapes.Pairing),
    Route("POST", _PHONE + "/block", block, body=Block, answer=shapes.ProfileInfo),
    Route("POST", _PHONE + "/contacts", save_contact, body=SaveContact, answer=shapes.AppStateValues),
    Route("POST", _PHONE + "/chats", change_chat, body=ChangeChat, answer=shapes.AppStateValues),
    Route("POST", _PHONE + "/delete-for-me", delete_for_me, body=DeleteForMe, answer=shapes.AppStateValues),
    Route("POST", _PHONE + "/history", add_history, body=AddHistory, answer=shapes.MessageIds),
    Route("GET", _PHONE + "/app-state", app_state, answer=shapes.AppStateValues),
)
