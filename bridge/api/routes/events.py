"""Calls of those who pull instead of being called: pages of the feed, and the feed as a stream."""

from dataclasses import dataclass
from typing import NoReturn

import msgspec
from quart.wrappers import Response

from bridge.api import pull
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.problems import UpgradeRequired
from bridge.api.upgrade import UPGRADES

LIMIT_MAX = 1_000
WAIT_MAX_S = 60.0


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = EventCalls(context)
    return (
        Route("GET", "/events", calls.page, Access.READ, Reach.SHOWN),
        Route("GET", "/events/stream", calls.stream, Access.READ, Reach.SHOWN),
        Route("GET", UPGRADES, calls.no_upgrade, Access.READ, Reach.SHOWN),
    )


class EventPage(msgspec.Struct, frozen=True):
    """Answer of GET /events: envelopes, byte for byte as they are delivered."""

    events: list[msgspec.Raw]
    next_after: int


@dataclass(frozen=True, slots=True)
class EventCalls:
    """The handlers."""

    context: ApiContext

    async def page(self, call: Call) -> Response:
        limit = int(call.query_number("limit", 100, 1, LIMIT_MAX))
        wait_s = call.query_number("wait_s", 0, 0, WAIT_MAX_S)
        feed = self.context.store.feed
        reader = await pull.reader(call, feed, None)
        stopping, tenure = self.context.stopping, call.caller.tenure
        entries, after = await pull.page(feed, reader, limit=limit, wait_s=wait_s, stopping=stopping, tenure=tenure)
        return answer(EventPage([msgspec.Raw(entry.body.encode()) for entry in entries], after))

    async def stream(self, call: Call) -> Response:
        feed = self.context.store.feed
        last = call.headers.get(b"last-event-id", b"").decode("latin-1").strip() or None
        reader = await pull.reader(call, feed, last)
        response = Response(
            pull.events(feed, reader, self.context.stopping, call.caller.tenure),
            200,
            {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            content_type="text/event-stream",
        )
        response.timeout = None
        return response

    async def no_upgrade(self, call: Call) -> NoReturn:
        """Refuse who asks without an upgrade that is in order; those with one come to `bridge.api.sockets`."""
        raise UpgradeRequired
