"""The endpoints: one that is well, one that fails, one that comes and goes. Each remembers what it took, in order."""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import trio

from tests.chaos.driver import chat_of
from tests.support.hooks import Hook, Received, Reply

IN_A_ROW_MAX = 3
"""Failures of one event one after the other: a fifth would park it, and a parked event is overtaken on purpose."""
DRAIN_S = 20.0


@dataclass
class Ledger:
    """What a receiver took: an event counts when it was answered with 2xx."""

    chats: int
    bodies: dict[str, bytes] = field(default_factory=dict)
    order: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[int, str] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    """Repetitions with another body, or a number under two ids."""

    def take(self, request: Received) -> None:
        if request.id in self.bodies:
            self.repeated[request.id] += 1
            self.changed += self.bodies[request.id] != request.body
            return
        self.bodies[request.id] = request.body
        number = int(json.loads(request.body)["data"]["text"])
        self.changed += number in self.numbers
        self.numbers[number] = request.id
        self.order[chat_of(number, self.chats)].append(number)

    @property
    def out_of_order(self) -> int:
        return sum(a > b for seen in self.order.values() for a, b in pairwise(seen))


@dataclass
class Receiver:
    """One endpoint on a port of its own. While it is away nobody listens, and kept connections end unanswered."""

    name: str
    ledger: Ledger
    fails: Callable[[], bool]
    hook: Hook
    port: int = 0
    away: bool = False
    answers: Counter[str] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    _open: int = 0
    _quiet: trio.Event = field(default_factory=trio.Event)
    _stays: bool = False
    _leaves: bool = False
    _up: trio.CancelScope = field(default_factory=trio.CancelScope)
    _down: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}"

    def script(self, request: Received) -> Reply | None:
        self.hook.received.clear()
        if self.away:
            return None
        if self._failed[request.id] < IN_A_ROW_MAX and self.fails():
            self._failed[request.id] += 1
            self.answers["failed"] += 1
            return Reply(503) if self.answers["failed"] % 3 else None
        self._failed.pop(request.id, None)
        self.answers["taken"] += 1
        self.ledger.take(request)
        return Reply()

    async def run(
        self,
        periods: Callable[[], tuple[float, float]] | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen; with `periods`, for so many seconds, then be away for so many, and so on until `stay`."""
        self.hook.script = self.script
        async with trio.open_nursery() as connections:
            first = True
            while True:
                listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1", backlog=512)
                self.port = listeners[0].socket.getsockname()[1]
                self.away = self._leaves
                up_s, down_s = periods() if periods else (math.inf, 0.0)
                with trio.CancelScope(deadline=trio.current_time() + up_s) as self._up:
                    if first:
                        task_status.started()
                    first = False
                    await trio.serve_listeners(self._handle, listeners, handler_nursery=connections)
                self.away = True
                with trio.CancelScope(
                    deadline=math.inf if self._leaves else trio.current_time() + down_s
                ) as self._down:
                    await trio.sleep_forever()
                if self._stays:
                    periods = None

    def leave(self) -> None:
        """Be away from now on, until `stay`."""
        self._leaves = self.away = True
        self._up.cancel()

    def stay(self) -> None:
        """Be there from now on."""
        self._stays, self._leaves = True, False
        self._up.deadline = math.inf
        self._down.cancel()

    async def _handle(self, stream: trio.SocketStream) -> None:
        self._open += 1
        try:
            await self.hook.serve(stream)
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.set()
                self._quiet = trio.Event()

    async def quiet(self) -> None:
        """Wait until every connection has ended: what a killed peer had sent is then answered."""
        with trio.fail_after(DRAIN_S):
            while self._open:
                await self._quiet.wait()


def failing(rng: random.Random, share: float) -> Callable[[], bool]:
    return lambda: rng.random() < share
