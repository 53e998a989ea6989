"""Hints between the parts and the nodes of the bridge: "there is something new about X, look".

A commit with a pending NOTIFY takes a lock of the whole PostgreSQL server, so hints are never sent within other
transactions but apart, several in one commit, and each at most ten times a second.
"""

from collections.abc import Callable

import trio

from bridge.store.errors import StoreUnavailable
from bridge.store.listen import Listener
from bridge.store.pool import Pool
from bridge.store.queries import load

INTERVAL_S = 0.1

_SQL = load("hints")


class Coalescer:
    """Decides when which hint may be sent: at once, but not again within the interval. Pure: it is told the time."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._wanted: set[str] = set()
        self._not_before_s: dict[str, float] = {}

    def want(self, channel: str) -> None:
        self._wanted.add(channel)

    def take(self, now_s: float) -> list[str]:
        """Return what may be sent now, and count it as sent."""
        self._not_before_s = {name: at_s for name, at_s in self._not_before_s.items() if at_s > now_s}
        due = sorted(self._wanted - self._not_before_s.keys())
        self._wanted.difference_update(due)
        self._not_before_s |= dict.fromkeys(due, now_s + self._interval_s)
        return due

    def wait_s(self, now_s: float) -> float | None:
        """Return in how many seconds `take` has something, None when nothing is wanted."""
        if not self._wanted:
            return None
        return max(0.0, min(self._not_before_s.get(name, now_s) for name in self._wanted) - now_s)


class Hints:
    """Sends hints and passes received ones, our own too, to subscribers."""

    def __init__(self, dsn: str, pool: Pool, *, on_connect: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._pool = pool
        self._on_connect = on_connect
        self._listener = Listener(dsn, on_hint=self._received, on_connect=self._connected, on_lost=on_lost)
        self._subscribers: dict[str, set[trio.MemorySendChannel[None]]] = {}
        self._coalescer = Coalescer()
        self._wake = trio.Event()

    def hint(self, channel: str) -> None:
        """Send a hint soon; it may get lost, as every hint may."""
        self._coalescer.want(channel)
        self._wake.set()

    def subscribe(self, channel: str) -> trio.MemoryReceiveChannel[None]:
        """Return a channel that has an item whenever a hint came since the last one was taken; close it in the end."""
        send, receive = trio.open_memory_channel[None](1)
        self._subscribers.setdefault(channel, set()).add(send)
        return receive

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send and receive until cancelled; started when it listens."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listener.run)
            nursery.start_soon(self._send)
            task_status.started()

    async def _send(self) -> None:
        while True:
            if hints := self._coalescer.take(trio.current_time()):
                try:
                    async with self._pool.connection() as conn:
                        await conn.execute(_SQL["notify"], {"hints": hints})
                except StoreUnavailable:
                    continue  # every listener reads its tables when it is connected again
            wait_s = self._coalescer.wait_s(trio.current_time())
            if wait_s is not None:
                await trio.sleep(wait_s)
            else:
                await self._wake.wait()
                self._wake = trio.Event()

    def _received(self, channel: str) -> None:
        subscribers = self._subscribers.get(channel, set())
        for subscriber in tuple(subscribers):
            try:
                subscriber.send_nowait(None)
            except trio.WouldBlock:
                pass  # it has not looked since the last hint: that one will do
            except trio.BrokenResourceError:
                subscriber.close()
                subscribers.discard(subscriber)

    def _connected(self) -> None:
        for channel in self._subscribers:
            self._received(channel)
        self._on_connect()
