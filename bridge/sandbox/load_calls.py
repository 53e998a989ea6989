"""The calls that make load."""

from typing import Final

import msgspec

from bridge.sandbox import shapes
from bridge.sandbox.calls import Route, body
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.load import Load, Plan
from bridge.sandbox.world import World


async def load(world: World, request: Request) -> Response:
    """Begin to send from many contacts to many instances; the answer comes at once, `GET /load` shows how it goes."""
    return json_response(202, _shown(world.loads.begin(body(request, Plan), world.oracle.last())))


async def list_loads(world: World, request: Request) -> Response:
    """List the loads that run and the last ones that have ended."""
    return json_response(200, {"loads": [_shown(entry) for entry in world.loads.all]})


async def end_loads(world: World, request: Request) -> Response:
    """End all loads."""
    return json_response(200, {"ended": world.loads.end_all()})


def _shown(told: Load) -> dict[str, object]:
    return {
        "number": told.number,
        "plan": msgspec.to_builtins(told.plan),
        "sent": told.sent,
        "seconds": round(told.seconds, 3),
        "done": told.done,
        "error": told.error,
        "first_seq": told.first_seq,
    }


ROUTES: Final = (
    Route("POST", "/load", load, body=Plan, answer=shapes.LoadInfo),
    Route("GET", "/load", list_loads, answer=shapes.LoadList),
    Route("DELETE", "/load", end_loads, answer=shapes.Ended),
)
