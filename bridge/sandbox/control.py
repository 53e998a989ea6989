"""The HTTP API by which people and tests act as the phones, break things, and ask the oracle.

Routes are a table at the end. Bodies and answers are JSON, errors included:
`{"error": {"code": "unknown_phone", "message": "..."}}`. An answer is sent when what it tells is committed.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final, TypeVar

import msgspec
import trio

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account
from bridge.sandbox.faults import Faults
from bridge.sandbox.faults import Request as FaultRequest
from bridge.sandbox.http import Request, Response, json_response, problem
from bridge.sandbox.nodes import Jid
from bridge.sandbox.oracle import Copy, Message
from bridge.sandbox.phones import Phone, Received
from bridge.sandbox.world import World

T = TypeVar("T")

_SCAN_TIMEOUT_S: Final = 20.0
_MAX_LIMIT: Final = 10_000
_MAX_WAIT_S: Final = 60.0
_MAX_MANY: Final = 100_000
_BURST: Final = 20
"""Texts sent without looking at the clock or at anything else that wants to run."""


class BadRequest(BridgeError):
    """The request makes no sense."""

    code = "bad_request"
    status = 400


class CreatePhone(msgspec.Struct):
    phone: str | None = None
    name: str | None = None


class Scan(msgspec.Struct):
    qr: str


class Send(msgspec.Struct):
    to: str
    text: str


class SendMany(msgspec.Struct):
    """`count` texts (or those in `texts`), to the numbers of `to` in turn, `rate` a second or as fast as it goes."""

    to: list[str]
    texts: list[str] | None = None
    count: int | None = None
    rate: float | None = None
    prefix: str = "load"


class Read(msgspec.Struct):
    message_id: str


class Fault(msgspec.Struct):
    kind: str
    phone: str | None = None
    seconds: float | None = None


class Control:
    """The handler of all requests."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world = world
        self._faults = faults

    async def __call__(self, request: Request) -> Response:
        """Answer a request; raise a BridgeError for one that cannot be served."""
        allowed = []
        for method, pattern, route in ROUTES:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            if method == request.method:
                response = await route(self, request, *match.groups())
                await self._world.state.settled()
                return response
            allowed.append(method)
        if allowed:
            return problem(405, "method_not_allowed", f"{request.path} takes {', '.join(allowed)}.")
        return problem(404, "not_found", f"There is no {request.path}.")

    async def health(self, request: Request) -> Response:
        world = self._world
        counts = {"phones": len(world.accounts), "connections": len(world.connections)}
        counts |= {"online": world.connections.online(), "messages": world.oracle.count()}
        return json_response(200, {"status": "down" if self._faults.down else "ok", **counts})

    async def list_phones(self, request: Request) -> Response:
        return json_response(200, {"phones": [self._describe(account) for account in self._world.accounts]})

    async def create_phone(self, request: Request) -> Response:
        asked = _body(request, CreatePhone)
        phone, fresh = self._world.phones.create(asked.phone, asked.name)
        return json_response(201 if fresh else 200, self._describe(phone.account))

    async def get_phone(self, request: Request, number: str) -> Response:
        return json_response(200, self._describe(self._phone(number).account))

    async def scan(self, request: Request, number: str) -> Response:
        """Link the client that shows the QR; a phone that does not exist yet is made."""
        asked = _body(request, Scan)
        phone, _ = self._world.phones.create(number, None)
        device = await self._world.pairing.scan(asked.qr, phone.account, _SCAN_TIMEOUT_S)
        return json_response(200, {"phone": phone.account.phone, "jid": device.name, "lid": str(device.lid)})

    async def unlink(self, request: Request, number: str, device: str) -> Response:
        found = self._phone(number).account.devices.get(int(device))
        if found is None or not found.number:
            raise BadRequest(f"no linked device {device}")
        self._world.unlink(found)
        return json_response(200, {"unlinked": found.name})

    async def send(self, request: Request, number: str) -> Response:
        asked = _body(request, Send)
        message_id = self._world.phones.send(self._phone(number), asked.to, asked.text)
        return json_response(200, {"message_id": message_id})

    async def send_many(self, request: Request, number: str) -> Response:
        """Send texts until all are out; the answer comes then."""
        asked = _body(request, SendMany)
        phone = self._phone(number)
        texts = asked.texts or [f"{asked.prefix} {index}" for index in range(asked.count or 0)]
        if not asked.to or not texts or len(texts) > _MAX_MANY or (asked.rate is not None and asked.rate <= 0):
            raise BadRequest(f"`to`, `texts` or `count` (at most {_MAX_MANY}), and a `rate` above 0 are needed")
        started = trio.current_time()
        ids = []
        for index, text in enumerate(texts):
            if asked.rate is not None:
                await trio.sleep_until(started + index / asked.rate)
            elif index % _BURST == 0:
                await self._world.state.settled()
            ids.append(self._world.phones.send(phone, asked.to[index % len(asked.to)], text))
        seconds = trio.current_time() - started
        return json_response(200, {"sent": len(ids), "seconds": round(seconds, 3), "message_ids": ids})

    async def read(self, request: Request, number: str) -> Response:
        asked = _body(request, Read)
        self._phone(number).read(asked.message_id)
        return json_response(200, {"message_id": asked.message_id})

    async def messages(self, request: Request, number: str) -> Response:
        """Return the phone's inbox behind a cursor; with `wait`, once there is something or so many seconds later."""
        phone = self._phone(number)
        after, limit = _number(request, "after", 0), min(_number(request, "limit", 1000), _MAX_LIMIT)
        wait_s = min(float(_number(request, "wait", 0)), _MAX_WAIT_S)
        found = phone.inbox(after, limit)
        if not found and wait_s:
            with trio.move_on_after(wait_s):
                while not (found := phone.inbox(after, limit)):
                    await phone.arrived()
        last = found[-1].cursor if found else after
        return json_response(200, {"messages": [self._received(item) for item in found], "next_after": last})

    async def fault(self, request: Request) -> Response:
        asked = _body(request, Fault)
        account = None if asked.phone is None else self._phone(asked.phone).account
        hit = self._faults.apply(FaultRequest(asked.kind, account, asked.seconds))
        return json_response(200, {"kind": asked.kind, "connections": hit})

    async def oracle(self, request: Request) -> Response:
        after, limit = _number(request, "after", 0), min(_number(request, "limit", 1000), _MAX_LIMIT)
        phone = request.query.get("phone")
        number = None if phone is None else self._phone(phone).account.phone
        found = self._world.oracle.after(after, limit, number)
        last = found[-1].seq if found else after
        return json_response(200, {"messages": [_known(message) for message in found], "next_after": last})

    async def trim_oracle(self, request: Request) -> Response:
        until = request.query.get("until")
        trimmed = self._world.oracle.trim(None if until is None else _number(request, "until", 0))
        return json_response(200, {"trimmed": trimmed})

    def _phone(self, number: str) -> Phone:
        return self._world.phones.find(number)

    def _describe(self, account: Account) -> dict[str, object]:
        connections = self._world.connections
        devices = [
            {"device": device.number, "jid": device.name, "online": connections.current(device) is not None}
            for device in account.linked()
        ]
        return {
            "phone": account.phone,
            "jid": str(account.jid),
            "lid": str(account.lid),
            "name": account.name,
            "devices": devices,
        }

    def _received(self, item: Received) -> dict[str, object]:
        sender = self._world.accounts.find(Jid.parse(item.sender))
        return {
            "cursor": item.cursor,
            "message_id": item.id,
            "from": sender.phone if sender else item.sender,
            "from_device": item.sender,
            "chat": item.chat,
            "text": item.text,
            "at": item.at,
        }


def _known(message: Message) -> dict[str, object]:
    def copies(items: tuple[Copy, ...]) -> list[dict[str, object]]:
        return [asdict(item) for item in items]

    return {
        "seq": message.seq,
        "id": message.id,
        "from": message.sender,
        "from_device": message.sender_device,
        "to": message.recipient,
        "kind": message.kind,
        "text": message.text,
        "hash": message.hash,
        "sent_at": message.sent_at,
        "relayed": copies(message.relayed),
        "acknowledged": copies(message.acknowledged),
    }


def _body(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(str(error)) from error


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise BadRequest(f"`{name}` is not a number")
    return int(text)


_PHONE = r"/phones/([^/]+)"

ROUTES: Final[tuple[tuple[str, re.Pattern[str], Callable[..., Awaitable[Response]]], ...]] = (
    ("GET", re.compile("/health"), Control.health),
    ("GET", re.compile("/phones"), Control.list_phones),
    ("POST", re.compile("/phones"), Control.create_phone),
    ("GET", re.compile(_PHONE), Control.get_phone),
    ("POST", re.compile(_PHONE + "/scan"), Control.scan),
    ("POST", re.compile(_PHONE + "/send"), Control.send),
    ("POST", re.compile(_PHONE + "/send-many"), Control.send_many),
    ("POST", re.compile(_PHONE + "/read"), Control.read),
    ("GET", re.compile(_PHONE + "/messages"), Control.messages),
    ("DELETE", re.compile(_PHONE + r"/devices/(\d{1,3})"), Control.unlink),
    ("POST", re.compile("/faults"), Control.fault),
    ("GET", re.compile("/oracle"), Control.oracle),
    ("DELETE", re.compile("/oracle"), Control.trim_oracle),
)
"""Method, path, and what answers it."""
