"""The calls by which simulated contacts write and read messages of every kind, and what goes with them."""

import secrets
from dataclasses import asdict
from functools import partial
from typing import Any, BinaryIO, Final

import msgspec
import trio

from bridge.sandbox import presence, shapes
from bridge.sandbox.asked import BadMessage, File, Found, Kept, Send
from bridge.sandbox.calls import BadRequest, Route, body, limit, number
from bridge.sandbox.compose import FILES, compose, decoded
from bridge.sandbox.contents import describe
from bridge.sandbox.http import FilePart, Pieces, Request, Response, json_response
from bridge.sandbox.inbox import Received
from bridge.sandbox.media_files import Attachment, NoSuchFile, made_up
from bridge.sandbox.messages_media import attachment_of
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.phone import Phone, UnknownMessage
from bridge.sandbox.votes import Poll, open_vote
from bridge.sandbox.world import World

_MAX_WAIT_S: Final = 60.0
_MAX_SIZE_BYTES: Final = 100 << 20


class Read(msgspec.Struct):
    message_id: str


class Say(msgspec.Struct):
    """A receipt for messages in the inbox: `delivered`, `inactive`, `read`, `read_self`, `played`, `played_self`,
    `sender`, `peer`, `history`, `server_error`."""

    message_ids: list[str]
    type: str = "read"


class Typing(msgspec.Struct):
    """`composing`, `recording` or `paused`, in a chat with a number or in a group."""

    to: str
    state: str = "composing"


class Available(msgspec.Struct):
    online: bool = True


class Watch(msgspec.Struct):
    to: str


class Forget(msgspec.Struct):
    """Whose sessions are lost, so that their next message has to be sent again."""

    of: str


async def send(world: World, request: Request, phone: str) -> Response:
    """Send a message of any kind to a number, a LID or a group."""
    asked = body(request, Send)
    sender = world.phones.find(phone)
    world.phones.recipient(asked.to)  # a file is not uploaded for nobody
    found = Found(
        me=sender.account.lid,
        quoted=_kept(world, sender, asked.quote),
        target=_kept(world, sender, asked.target),
        mentioned=tuple(world.accounts.by_phone(mention).lid for mention in asked.mentions),
        attachment=await _attachment(world, asked),
    )
    return json_response(200, {"message_id": world.phones.send_message(sender, asked.to, compose(asked, found))})


async def add_file(world: World, head: Request, next_piece: Pieces) -> Response:
    """Take in a file that `send` names by its id: the body as it is, up to 128 MB."""
    incoming = world.media.begin()
    try:
        while piece := await next_piece():
            incoming.write(piece)
        digest = incoming.done().hex()
        file_id = world.media.keep_plain(incoming)
    finally:
        incoming.forget()
    return json_response(201, {"id": file_id, "size": incoming.size, "sha256": digest})


async def read(world: World, request: Request, phone: str) -> Response:
    """Tell the sender of a message that the phone's owner read it."""
    asked = body(request, Read)
    world.phones.find(phone).say([asked.message_id], "read")
    return json_response(200, {"message_id": asked.message_id})


async def say(world: World, request: Request, phone: str) -> Response:
    """Send a receipt for messages that the phone received."""
    asked = body(request, Say)
    if not asked.message_ids:
        raise BadRequest("`message_ids` is empty")
    world.phones.find(phone).say(asked.message_ids, asked.type)
    return json_response(200, {"message_ids": asked.message_ids})


async def list_receipts(world: World, request: Request, phone: str) -> Response:
    """List the receipts for what the phone sent, behind a cursor."""
    owner = world.phones.find(phone).account
    after = number(request, "after", 0)
    found = world.phones.receipts.after(owner.phone, after, limit(request), request.query.get("message_id"))
    shown = [
        {
            "cursor": receipt.cursor,
            "message_id": receipt.message,
            "from": _phone_of(world, receipt.sender),
            "from_device": receipt.sender,
            "chat": receipt.chat,
            "type": receipt.type,
            "at": receipt.at,
        }
        for receipt in found
    ]
    return json_response(200, {"receipts": shown, "next_after": found[-1].cursor if found else after})


async def messages(world: World, request: Request, phone: str) -> Response:
    """Return the phone's inbox behind a cursor; with `wait`, once there is something or so many seconds later."""
    reader = world.phones.find(phone)
    after, most = number(request, "after", 0), limit(request)
    own = request.query.get("own") == "1"
    wait_s = min(float(number(request, "wait", 0)), _MAX_WAIT_S)
    fetch = partial(reader.inbox, after, most, own=own)
    found = fetch()
    if not found and wait_s:
        with trio.move_on_after(wait_s):
            while not (found := fetch()):
                await reader.arrived()
    last = found[-1].cursor if found else after
    return json_response(200, {"messages": [_received(world, reader, item) for item in found], "next_after": last})


async def one_message(world: World, request: Request, phone: str, message: str) -> Response:
    """Return a message of the phone's inbox by its id."""
    reader = world.phones.find(phone)
    return json_response(200, _received(world, reader, _found(world, reader, message)))


async def clear(world: World, request: Request, phone: str) -> Response:
    """Empty the phone's inbox."""
    return json_response(200, {"trimmed": world.phones.inboxes.clear(world.phones.find(phone).number)})


async def file(world: World, request: Request, phone: str, message: str) -> Response:
    """Fetch a received message's file from the media host, check it and return its content."""
    content, _, mime = await _opened(world, world.phones.find(phone), message)
    try:
        path = world.media.folder / f"incoming-{secrets.token_hex(8)}"
        size = await world.media.copy(content, path)
    finally:
        content.close()
    return Response(200, content_type=mime, file=FilePart(path, 0, size, once=True))


async def check_file(world: World, request: Request, phone: str, message: str) -> Response:
    """Fetch a received message's file from the media host and check MAC, hashes and size."""
    content, attachment, mime = await _opened(world, world.phones.find(phone), message)
    content.close()
    sealed = attachment.sealed
    return json_response(200, {"sha256": sealed.sha256.hex(), "size": sealed.size, "mime": mime})


async def typing(world: World, request: Request, phone: str) -> Response:
    """Show that the phone's owner is typing or recording."""
    asked = body(request, Typing)
    if asked.state not in ("composing", "recording", "paused"):
        raise BadRequest("`state` is composing, recording or paused")
    to = Jid.parse(asked.to) if asked.to.endswith("@g.us") else world.accounts.by_phone(asked.to).lid
    child = Node("composing", {"media": "audio"}) if asked.state == "recording" else Node(asked.state)
    presence.typing(world, world.phones.find(phone).device, Node("chatstate", {"to": to}, [child]))
    return json_response(200, {"done": True})


async def available(world: World, request: Request, phone: str) -> Response:
    """Show the phone's owner as online, or as gone since now."""
    asked = body(request, Available)
    presence.show(world, world.phones.find(phone).account, online=asked.online)
    return json_response(200, {"done": True})


async def watch(world: World, request: Request, phone: str) -> Response:
    """Subscribe the phone to somebody's presence."""
    asked = body(request, Watch)
    to = world.accounts.by_phone(asked.to).lid
    presence.announce(world, world.phones.find(phone).device, Node("presence", {"type": "subscribe", "to": to}))
    return json_response(200, {"done": True})


async def moments(world: World, request: Request, phone: str) -> Response:
    """List what the phone saw of others' presence and typing, behind a cursor; the last 200."""
    after = number(request, "after", 0)
    found = world.phones.find(phone).moments.after(after)
    shown = [
        {"from": _phone_of(world, moment.sender), **{k: v for k, v in asdict(moment).items() if k != "sender"}}
        for moment in found
    ]
    return json_response(200, {"moments": shown, "next_after": found[-1].cursor if found else after})


async def forget(world: World, request: Request, phone: str) -> Response:
    """Lose the sessions with somebody's devices: their next message cannot be read, and is asked for again."""
    asked = body(request, Forget)
    owner, account = world.phones.find(phone), world.accounts.by_phone(asked.of)
    owner.forget(account, world.groups.of(account))
    return json_response(200, {"done": True})


async def _attachment(world: World, asked: Send) -> Attachment | None:
    """Put a message's file on the media host."""
    if asked.kind not in FILES or asked.file is None:
        return None
    kind = FILES[asked.kind][0]
    given = [value for value in (asked.file.data, asked.file.id, asked.file.size) if value is not None]
    if len(given) != 1:
        raise BadMessage("a `file` has one of `data`, `id` and `size`")
    if asked.file.data is not None:
        return await world.media.add(decoded(asked.file.data), kind)
    with await trio.to_thread.run_sync(_content, world, asked.file) as content:
        return await world.media.add(content, kind)


def _content(world: World, file: File) -> BinaryIO:
    if file.id is not None:
        return world.media.plain(file.id).open("rb")
    size = file.size or 0
    if not 0 < size <= _MAX_SIZE_BYTES:
        raise BadMessage(f"a `size` between 1 and {_MAX_SIZE_BYTES}")
    return made_up(size)


def _kept(world: World, phone: Phone, message_id: str | None) -> Kept | None:
    if message_id is None:
        return None
    kept = world.phones.inboxes.kept(phone.number, phone.account.lid, message_id)
    if kept is None:
        raise UnknownMessage(message_id)
    return kept


def _found(world: World, phone: Phone, message_id: str) -> Received:
    found = world.phones.inboxes.find(phone.number, message_id)
    if found is None:
        raise UnknownMessage(message_id)
    return found


async def _opened(world: World, phone: Phone, message_id: str) -> tuple[BinaryIO, Attachment, str]:
    found = attachment_of(_found(world, phone, message_id).message)
    if found is None:
        raise NoSuchFile(f"{message_id} has no file")
    attachment, mime = found
    return await world.media.open(attachment), attachment, mime


def _received(world: World, phone: Phone, item: Received) -> dict[str, Any]:
    shown = describe(item.message) or {"kind": "other"}
    if shown["kind"] == "vote":
        shown["options"] = _chosen(world, phone, item, shown["target"])
    flags = {"own": item.own, "edited": item.edited, "revoked": item.revoked}
    return {
        "cursor": item.cursor,
        "message_id": item.id,
        "from": _phone_of(world, item.sender),
        "from_device": item.sender,
        "chat": item.chat,
        "text": item.text,
        "at": item.at,
        **shown,
        **{name: True for name, set_ in flags.items() if set_},
    }


def _chosen(world: World, phone: Phone, item: Received, target: str) -> list[str] | None:
    """Return the options that a vote chose, None where this phone does not know the poll."""
    kept = world.phones.inboxes.kept(phone.number, phone.account.lid, target)
    if kept is None:
        return None
    update = item.message.pollUpdateMessage
    voter, author = world.accounts.find(Jid.parse(item.sender)), world.accounts.find(kept.author)
    voters, authors = ([account.lid, account.jid] if account else [] for account in (voter, author))
    return open_vote(Poll(kept.id, kept.author, kept.message), voters, authors, update.vote)


def _phone_of(world: World, address: str) -> str:
    account = world.accounts.find(Jid.parse(address))
    return account.phone if account else address


_PHONE: Final = "/phones/{phone}"
_MESSAGE: Final = _PHONE + "/messages/{message}"
_AFTER: Final = {"after": "only what comes behind this cursor"}
_PAGE: Final = {**_AFTER, "limit": "how many at most; 1000, 10000 at most"}

ROUTES: Final = (
    Route("POST", _PHONE + "/send", send, body=Send, answer=shapes.MessageId),
    Route("POST", _PHONE + "/read", read, body=Read, answer=shapes.MessageId),
    Route("POST", _PHONE + "/receipts", say, body=Say, answer=shapes.MessageIds),
    Route(
        "GET",
        _PHONE + "/receipts",
        list_receipts,
        answer=shapes.ReceiptList,
        query={**_PAGE, "message_id": "only those for this message"},
    ),
    Route(
        "GET",
        _PHONE + "/messages",
        messages,
        answer=shapes.Texts,
        query={
            **_PAGE,
            "wait": "seconds to wait for the first one; 60 at most",
            "own": "1: also what other devices of this account sent",
        },
    ),
    Route("DELETE", _PHONE + "/messages", clear, answer=shapes.Trimmed),
    Route("GET", _MESSAGE, one_message, answer=shapes.Text),
    Route("GET", _MESSAGE + "/file", file),
    Route("GET", _MESSAGE + "/file/check", check_file, answer=shapes.FileInfo),
    Route("POST", _PHONE + "/typing", typing, body=Typing, answer=shapes.Done),
    Route("POST", _PHONE + "/presence", available, body=Available, answer=shapes.Done),
    Route("POST", _PHONE + "/watch", watch, body=Watch, answer=shapes.Done),
    Route("GET", _PHONE + "/moments", moments, answer=shapes.MomentList, query=_AFTER),
    Route("POST", _PHONE + "/forget", forget, body=Forget, answer=shapes.Done),
    Route("POST", "/files", add_file, answer=shapes.AddedFile, takes_file=True),
)
