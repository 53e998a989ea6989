"""The calls that break things."""

from typing import Final

import msgspec

from bridge.sandbox import shapes
from bridge.sandbox.calls import Route, body
from bridge.sandbox.faults import Request as FaultRequest
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.world import World


class Fault(msgspec.Struct):
    kind: str
    phone: str | None = None
    seconds: float | None = None


async def fault(world: World, request: Request) -> Response:
    """Break something; the answer says how many connections it hit."""
    asked = body(request, Fault)
    account = None if asked.phone is None else world.phones.find(asked.phone).account
    hit = world.faults.apply(FaultRequest(asked.kind, account, asked.seconds))
    return json_response(200, {"kind": asked.kind, "connections": hit})


ROUTES: Final = (Route("POST", "/faults", fault, body=Fault, answer=shapes.Hit),)
