"""The calls that break things: a fault now, or several at their times."""

from typing import Final

import msgspec

from bridge.sandbox import shapes
from bridge.sandbox.calls import BadRequest, Route, body
from bridge.sandbox.fault_plan import MAX_STEPS, Fault, Schedule, Step, draw
from bridge.sandbox.faults import MAX_SECONDS, Active
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.world import World


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """`steps` as they are; or `count` of them drawn from `seed` within `seconds`, of these kinds, for these phones."""

    steps: list[Step] | None = None
    seed: int | None = None
    seconds: float = 60.0
    count: int = 10
    kinds: list[str] = []
    phones: list[str] = []


async def fault(world: World, request: Request) -> Response:
    """Break something; the answer says how many connections it concerns, and the fault's number."""
    asked = body(request, Fault)
    number, hit = world.faults.apply(world.schedules.request(asked))
    return json_response(200, {"kind": asked.kind, "number": number, "connections": hit})


async def list_faults(world: World, request: Request) -> Response:
    """List the faults that are active, the last ones that are over with how often they struck, and the schedules."""
    return json_response(
        200,
        {
            "active": [_shown(entry) for entry in world.faults.list()],
            "over": [_shown(entry) for entry in world.faults.over],
            "schedules": [_schedule(schedule) for schedule in world.schedules.all],
        },
    )


async def end_faults(world: World, request: Request) -> Response:
    """End all faults that last, and all schedules."""
    world.schedules.end_all()
    return json_response(200, {"ended": world.faults.clear()})


async def end_schedules(world: World, request: Request) -> Response:
    """End all schedules; faults that they have begun go on until their time is up."""
    return json_response(200, {"ended": world.schedules.end_all()})


async def schedule(world: World, request: Request) -> Response:
    """Break things at their times: those given, or some drawn from a seed; the answer has the list, to be repeated."""
    asked = body(request, Plan)
    steps = asked.steps
    if steps is None:
        if asked.seed is None:
            raise BadRequest("a schedule has `steps`, or a `seed` to draw them from")
        if not (0 < asked.seconds <= MAX_SECONDS and 0 < asked.count <= MAX_STEPS):
            raise BadRequest(f"`seconds` go up to {MAX_SECONDS:.0f}, and `count` to {MAX_STEPS}")
        steps = list(draw(asked.seed, asked.seconds, asked.count, asked.kinds, asked.phones))
    return json_response(200, _schedule(world.schedules.begin(steps, asked.seed)))


def _shown(entry: Active) -> dict[str, object]:
    asked = entry.request
    return {
        "number": entry.number,
        "kind": asked.kind,
        "phone": asked.account.phone if asked.account else None,
        "code": asked.code,
        "struck": entry.struck,
    }


def _schedule(told: Schedule) -> dict[str, object]:
    return {
        "number": told.number,
        "seed": told.seed,
        "steps": msgspec.to_builtins(told.steps),
        "done": told.done,
    }


ROUTES: Final = (
    Route("GET", "/faults", list_faults, answer=shapes.FaultList),
    Route("POST", "/faults", fault, body=Fault, answer=shapes.Hit),
    Route("DELETE", "/faults", end_faults, answer=shapes.Ended),
    Route("POST", "/faults/schedule", schedule, body=Plan, answer=shapes.ScheduleInfo),
    Route("DELETE", "/faults/schedule", end_schedules, answer=shapes.Ended),
)
