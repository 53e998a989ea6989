"""Faults at their times: a list that a caller gives, or one drawn from a seed. The same seed gives the same list.

What is drawn is survivable: a client that comes back by itself must not lose, double or disorder anything over it.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import trio

from bridge.sandbox.accounts import Accounts
from bridge.sandbox.faults import MAX_SECONDS, BadFault, Faults, Request

MAX_STEPS: Final = 1000
_REMEMBERED: Final = 20


class Fault(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A fault: of one phone's devices or of all, for `seconds` or `count` times, with what its kind needs."""

    kind: str
    phone: str | None = None
    seconds: float | None = None
    count: int | None = None
    code: int | None = None
    delay_s: float | None = None
    expires_s: int = 3600
    xmlns: str = ""
    tag: str = ""
    direction: str = ""


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """A fault, so many seconds after the schedule's start."""

    at_s: float
    fault: Fault


@dataclass(slots=True)
class Schedule:
    """A schedule that runs or has run. `done` says of each step that was made how many connections it hit."""

    number: int
    seed: int | None
    steps: tuple[Step, ...]
    done: list[int] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


def draw(
    seed: int, seconds: float, count: int, kinds: Sequence[str] = (), phones: Sequence[str] = ()
) -> tuple[Step, ...]:
    """Return `count` steps within `seconds`, in order of time; raise `BadFault` for a kind that cannot be drawn.

    Without `phones` each fault is for all of them.
    """
    unknown = set(kinds) - set(_DRAWN)
    if unknown:
        raise BadFault(f"cannot be drawn: {', '.join(sorted(unknown))}; there are {', '.join(_DRAWN)}")
    chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
    times = sorted(round(chance.uniform(0, seconds), 3) for _ in range(count))
    steps = []
    for at_s in times:
        kind = chance.choice(list(kinds) or list(_DRAWN))
        phone = chance.choice(list(phones)) if phones and kind not in _OF_ALL else None
        steps.append(Step(at_s, _DRAWN[kind](chance, phone)))
    return tuple(steps)


def _lasting(kind: str, low: float, high: float) -> Callable[[random.Random, str | None], Fault]:
    return lambda chance, phone: Fault(kind, phone, seconds=round(chance.uniform(low, high), 3))


def _delaying(kind: str, low: float, high: float) -> Callable[[random.Random, str | None], Fault]:
    return lambda chance, phone: Fault(
        kind, phone, seconds=round(chance.uniform(1, 5), 3), delay_s=round(chance.uniform(low, high), 3)
    )


def _counted(kind: str) -> Callable[[random.Random, str | None], Fault]:
    return lambda chance, phone: Fault(kind, phone, count=chance.randint(1, 5))


_DRAWN: Final[Mapping[str, Callable[[random.Random, str | None], Fault]]] = {
    "cut": lambda chance, phone: Fault("cut", phone),
    "server_down": _lasting("server_down", 0.2, 3),
    "half_open": _lasting("half_open", 0.2, 5),
    "slow": _delaying("slow", 0.01, 0.2),
    "stream_error": lambda chance, phone: Fault("stream_error", phone, code=chance.choice((500, 503, 515, 516))),
    "ack_delayed": _delaying("ack_delayed", 0.1, 2),
    "duplicated": _counted("duplicated"),
    "corrupted": _counted("corrupted"),
}
_OF_ALL: Final = frozenset({"server_down"})


class Schedules:
    """The schedules of a sandbox, which its server runs."""

    def __init__(self, faults: Faults, accounts: Accounts) -> None:
        self._faults = faults
        self._accounts = accounts
        self._nursery: trio.Nursery | None = None
        self.all: deque[Schedule] = deque(maxlen=_REMEMBERED)
        self._last = 0

    def request(self, fault: Fault) -> Request:
        """Return what a caller's words ask for; raise `UnknownPhone`."""
        values = msgspec.structs.asdict(fault)
        phone = values.pop("phone")
        return Request(account=None if phone is None else self._accounts.by_phone(phone), **values)

    def begin(self, steps: Sequence[Step], seed: int | None = None) -> Schedule:
        """Begin with a schedule; raise `BadFault`, `UnknownFault` or `UnknownPhone` before anything has happened."""
        if not 1 <= len(steps) <= MAX_STEPS or any(not 0 <= step.at_s <= MAX_SECONDS for step in steps):
            raise BadFault(f"a schedule has 1 to {MAX_STEPS} steps within {MAX_SECONDS:.0f} seconds")
        for step in steps:
            self._faults.check(self.request(step.fault))
        assert self._nursery is not None, "the server runs the schedules"
        self._last += 1
        schedule = Schedule(self._last, seed, tuple(sorted(steps, key=lambda step: step.at_s)))
        self.all.append(schedule)
        self._nursery.start_soon(self._carry_out, schedule)
        return schedule

    def end_all(self) -> int:
        """Begin with no further step of any schedule; return how many had steps left."""
        ended = [schedule for schedule in self.all if len(schedule.done) < len(schedule.steps)]
        for schedule in ended:
            schedule.scope.cancel()
        return len(ended)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry schedules out until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def _carry_out(self, schedule: Schedule) -> None:
        started = trio.current_time()
        with schedule.scope:
            for step in schedule.steps:
                await trio.sleep_until(started + step.at_s)
                schedule.done.append(self._faults.apply(self.request(step.fault))[1])
