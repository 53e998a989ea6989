"""The calls by which people and tests act as the phones: make them, scan with them, write and read with them."""

from dataclasses import asdict
from typing import Final

import msgspec
import trio

from bridge.sandbox import ringing, shapes
from bridge.sandbox.accounts import Account
from bridge.sandbox.calls import BadRequest, Route, body
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.world import World

_SCAN_TIMEOUT_S: Final = 20.0
_MAX_MANY: Final = 100_000
_BURST: Final = 20
"""Texts sent without looking at the clock or at anything else that wants to run."""


class CreatePhone(msgspec.Struct):
    phone: str | None = None
    name: str | None = None


class Scan(msgspec.Struct):
    qr: str


class ShowCode(msgspec.Struct):
    """The text of a QR code that a client shows, and what to call the client."""

    qr: str
    name: str = ""


class Ring(msgspec.Struct):
    """`to` is a number."""

    to: str


class SendMany(msgspec.Struct):
    """`count` texts (or those in `texts`), to the numbers of `to` in turn, `rate` a second or as fast as it goes."""

    to: list[str]
    texts: list[str] | None = None
    count: int | None = None
    rate: float | None = None
    prefix: str = "load"


async def list_phones(world: World, request: Request) -> Response:
    """List the simulated phones with the clients that are linked to them."""
    return json_response(200, {"phones": [_describe(world, account) for account in world.accounts]})


async def create_phone(world: World, request: Request) -> Response:
    """Make a phone (201), or return the one with this number (200)."""
    asked = body(request, CreatePhone)
    phone, fresh = world.phones.create(asked.phone, asked.name)
    return json_response(201 if fresh else 200, _describe(world, phone.account))


async def get_phone(world: World, request: Request, phone: str) -> Response:
    """Show a phone."""
    return json_response(200, _describe(world, world.phones.find(phone).account))


async def scan(world: World, request: Request, phone: str) -> Response:
    """Link the client that shows the QR; a phone that does not exist yet is made."""
    asked = body(request, Scan)
    scanning, _ = world.phones.create(phone, None)
    device = await world.pairing.scan(asked.qr, scanning.account, _SCAN_TIMEOUT_S)
    return json_response(200, {"phone": scanning.account.phone, "jid": device.name, "lid": str(device.lid)})


async def list_codes(world: World, request: Request) -> Response:
    """List the clients that wait to be scanned; `qr` is empty until somebody has shown the code to the sandbox."""
    return json_response(200, {"waiting": [asdict(waiting) for waiting in world.pairing.waiting()]})


async def show_code(world: World, request: Request) -> Response:
    """Show the sandbox the code that a client shows, so that its page can scan it by a click."""
    asked = body(request, ShowCode)
    world.pairing.show(asked.qr, asked.name)
    return json_response(200, {"done": True})


async def expire_codes(world: World, request: Request) -> Response:
    """Give the clients that wait to be scanned no more codes: their connections end."""
    return json_response(200, {"ended": world.pairing.expire()})


async def unlink(world: World, request: Request, phone: str, device: str) -> Response:
    """Remove a linked device, as the phone's owner does."""
    found = world.phones.find(phone).account.devices.get(int(device))
    if found is None or not found.number:
        raise BadRequest(f"no linked device {device}")
    world.unlink(found)
    return json_response(200, {"unlinked": found.name})


async def send_many(world: World, request: Request, phone: str) -> Response:
    """Send texts until all are out; the answer comes then."""
    asked = body(request, SendMany)
    sender = world.phones.find(phone)
    texts = asked.texts or [f"{asked.prefix} {index}" for index in range(asked.count or 0)]
    if not asked.to or not texts or len(texts) > _MAX_MANY or (asked.rate is not None and asked.rate <= 0):
        raise BadRequest(f"`to`, `texts` or `count` (at most {_MAX_MANY}), and a `rate` above 0 are needed")
    started = trio.current_time()
    ids = []
    for index, text in enumerate(texts):
        if asked.rate is not None:
            await trio.sleep_until(started + index / asked.rate)
        elif index % _BURST == 0:
            await world.state.settled()
        ids.append(world.phones.send(sender, asked.to[index % len(asked.to)], text))
    seconds = trio.current_time() - started
    return json_response(200, {"sent": len(ids), "seconds": round(seconds, 3), "message_ids": ids})


async def ring(world: World, request: Request, phone: str) -> Response:
    """Call somebody, whose linked clients hear it ring; a client that rejects it shows as a moment of this phone."""
    asked = body(request, Ring)
    caller = world.phones.find(phone).account
    return json_response(200, {"call_id": ringing.ring(world, caller, world.accounts.by_phone(asked.to))})


def _describe(world: World, account: Account) -> dict[str, object]:
    connections = world.connections
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


_PHONE: Final = "/phones/{phone}"

ROUTES: Final = (
    Route("GET", "/codes", list_codes, answer=shapes.CodeList),
    Route("POST", "/codes", show_code, body=ShowCode, answer=shapes.Done),
    Route("DELETE", "/codes", expire_codes, answer=shapes.Ended),
    Route("GET", "/phones", list_phones, answer=shapes.PhoneList),
    Route("POST", "/phones", create_phone, body=CreatePhone, answer=shapes.PhoneInfo),
    Route("GET", _PHONE, get_phone, answer=shapes.PhoneInfo),
    Route("POST", _PHONE + "/scan", scan, body=Scan, answer=shapes.Pairing),
    Route("POST", _PHONE + "/ring", ring, body=Ring, answer=shapes.Ringing),
    Route("POST", _PHONE + "/send-many", send_many, body=SendMany, answer=shapes.Sent),
    Route("DELETE", _PHONE + "/devices/{device}", unlink, answer=shapes.Unlinked),
)
