"""Events as they come, for those who stay: server-sent events, from a cursor on, without a gap.

A client that falls behind is read to from the database; what is kept for it is one page at most.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import trio

from receiver.errors import StoreUnavailable
from receiver.store import Page, Store, StoredEvent

HEARTBEAT_S = 15.0
MAX_STREAMS = 32
_PAGE = 50
_PAUSE_S = 0.1
"""Between two reads of a stream that is up to date, so that a flood of events is not a flood of reads."""

_HEARTBEAT = b": still here\n\n"


class Streams:
    """Counts the clients that follow."""

    def __init__(self, store: Store, encode: Callable[[StoredEvent], bytes]) -> None:
        """`encode` gives an event's JSON, without line ends."""
        self._store = store
        self._encode = encode
        self.open = 0

    @property
    def full(self) -> bool:
        return self.open >= MAX_STREAMS

    async def follow(self, page: Page) -> AsyncGenerator[bytes, None]:
        """Give what is behind the cursor of `page` and matches it, then what is stored from then on, without end."""
        if self.full:
            return
        self.open += 1
        try:
            yield b"retry: 2000\n\n"
            while True:
                committed = self._store.committed  # before the read: what is stored during it counts
                try:
                    newest = await self._store.before_newest(page, 0)
                    events = await self._store.page(replace(page, limit=_PAGE))
                except StoreUnavailable:
                    await trio.sleep(1)
                    yield _HEARTBEAT
                    continue
                if events:
                    page = replace(page, after=events[-1].cursor)
                    yield b"".join(self._framed(event) for event in events)
                    await trio.sleep(_PAUSE_S)
                    continue
                page = replace(page, after=max(page.after, newest))  # what does not match is not read again
                with trio.move_on_after(HEARTBEAT_S) as waiting:
                    await committed.wait()
                if waiting.cancelled_caught:
                    yield _HEARTBEAT
        finally:
            self.open -= 1

    def _framed(self, event: StoredEvent) -> bytes:
        return b"id: %d\nevent: webhook\ndata: %b\n\n" % (event.cursor, self._encode(event))
