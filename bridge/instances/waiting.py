"""Messages that wait for their time, or for the instance to be online; a restart keeps them, for their rows say so."""

import heapq
import math
import time
from collections.abc import Awaitable, Callable, Iterator

import trio

from bridge.domain.ids import CommandId
from bridge.instances.errors import Busy
from bridge.instances.outbox import Outgoing

LIMIT = 10_000
CLOCK_S = 60.0
"""How long to believe that the wall clock goes on as it should."""
_Heap = list[tuple[float, int, Outgoing]]


class Waiting:
    """Holds up to `limit` messages; times are seconds since 1970, given by the caller.

    What is taken out stays in the heaps until it comes to their top.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._live: dict[CommandId, int] = {}
        self._due: _Heap = []
        self._expiring: _Heap = []
        self._number = 0
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._live)

    def put(self, message: Outgoing, *, again: bool = False) -> None:
        """Hold a message; raise `Busy` when too many wait, unless it had been here `again`."""
        if len(self._live) >= self._limit and not again:
            raise Busy(waiting=len(self._live), retry_after_s=60)
        self._number += 1
        self._live[message.command] = self._number
        heapq.heappush(self._due, (message.not_before, self._number, message))
        if message.expires_at < math.inf:
            heapq.heappush(self._expiring, (message.expires_at, self._number, message))
        self._changed.set()
        self._changed = trio.Event()

    def take_due(self, now: float, room: int) -> Iterator[Outgoing]:
        """Give up to `room` messages whose time has come, in order."""
        while room > 0 and self._top(self._due) <= now:
            room -= 1
            yield self._pop(self._due)

    def take_expired(self, now: float) -> Iterator[Outgoing]:
        """Give the messages that are not to be sent any more."""
        while self._top(self._expiring) < now:
            yield self._pop(self._expiring)

    def remove(self, command: CommandId) -> Outgoing | None:
        """Take one message back; None when it is not here."""
        number = self._live.pop(command, None)
        return next((entry[2] for entry in self._due if entry[1] == number), None)

    def next_at(self, now: float) -> float:
        """Return when something will be due or expire next; what is due already waits for something else."""
        due = self._top(self._due)
        return min(due if due > now else math.inf, self._top(self._expiring))

    async def watch(self, expire: Callable[[Outgoing], Awaitable[None]], release: Callable[[], None]) -> None:
        """Call `release` when something becomes due, and `expire` for what has waited too long; until cancelled."""
        while True:
            now = time.time()
            with trio.move_on_after(min(max(0.0, self.next_at(now) - now), CLOCK_S)):
                await self._changed.wait()
            for message in self.take_expired(time.time()):
                await expire(message)
            release()

    def _top(self, heap: _Heap) -> float:
        while heap and self._live.get(heap[0][2].command) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def _pop(self, heap: _Heap) -> Outgoing:
        message = heapq.heappop(heap)[2]
        del self._live[message.command]
        return message
