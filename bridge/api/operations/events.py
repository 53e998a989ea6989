"""The calls that hand out events without webhooks."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bridge.api.openapi import AT, KEY, Operation, Schema, number, text


class EventPage(Struct, frozen=True):
    """Answer of GET /events: envelopes as they are delivered."""

    events: list[dict[str, Any]]
    next_after: int


class EventFrame(Struct, frozen=True):
    """A frame of GET /events/ws; without an event the cursor says how far nothing was for this reader."""

    cursor: int
    event: dict[str, Any] | None = None


_ENVELOPE = {"id": "evt_01", "type": "message.received", "instance": KEY, "seq": 1, "timestamp": AT}
_FILTERS: Mapping[str, Schema] = {
    "instance_key": text("of this instance; without it of all that the key may see"),
    "after": text("what comes behind this: `next_after`, or the id of an event"),
    "types": text("only these types, separated by commas"),
}

OPERATIONS: Mapping[str, Operation] = {
    "GET /events": Operation(
        "A page of events, oldest first; waits for one if there is none.",
        answer=EventPage,
        shows={
            "events": [_ENVELOPE],
            "next_after": 1,
        },
        query={
            **_FILTERS,
            "limit": number("how many, at the most", 1, 1000, 100),
            "wait_s": number("how long to wait for one", 0.0, 60.0, 0),
        },
    ),
    "GET /events/stream": Operation(
        "Events as server-sent events, from `after` or the header Last-Event-ID on.",
        media=("text/event-stream",),
        sample=": the feed\nretry: 2000\n\nid: 1\ndata: " + json.dumps(_ENVELOPE) + "\n\n",
        query=_FILTERS,
    ),
    "GET /events/ws": Operation(
        'Events over a WebSocket: {"cursor": n, "event": Envelope} out, {"ack": n} in; 426 without an upgrade.',
        answer=EventFrame,
        shows={"cursor": 1, "event": _ENVELOPE},
        status=101,
        query={
            **_FILTERS,
            "consumer": text(
                "a name whose cursor is kept: it goes on behind its last ack", pattern="^[a-z0-9._-]{1,64}$"
            ),
        },
    ),
}
