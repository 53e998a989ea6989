"""The calls on deliveries and replays."""

from collections.abc import Mapping
from typing import Any

from bridge.api import delivery_schemas as schemas
from bridge.api.openapi import AT, CURSOR, REPEATABLE, Operation, number, text

_DELIVERY: Mapping[str, Any] = {
    "id": "dlv_01_01",
    "event_id": "evt_01",
    "seq": 7,
    "state": "failed",
    "attempts": 1,
    "last_status": 503,
    "last_error": "HTTP 503: in deployment",
    "duration_ms": 12,
    "answer": "in deployment",
    "created_at": AT,
    "next_at": AT,
    "finished_at": None,
    "replay_id": None,
    "history": [
        {
            "number": 1,
            "at": AT,
            "status": 503,
            "error": "HTTP 503: in deployment",
            "duration_ms": 12,
            "answer": "in deployment",
        }
    ],
}
_REPLAY: Mapping[str, Any] = {
    "id": "rpl_01",
    "webhook_id": "whk_01",
    "state": "running",
    "count": 200,
    "pending": 40,
    "delivered": 160,
    "dead": 0,
    "progress": 0.5,
    "created_at": AT,
}

OPERATIONS: Mapping[str, Operation] = {
    "GET /webhooks/{webhook}/deliveries": Operation(
        "List an endpoint's deliveries, newest first, with their attempts.",
        answer=schemas.DeliveryList,
        shows={"items": [_DELIVERY], "next_cursor": None},
        query={
            "state": text("pending, failed (tried, and to be tried again), delivered or dead"),
            "limit": number("how many, at the most", 1, 1000),
            "cursor": CURSOR,
        },
    ),
    "POST /deliveries/{delivery}/retry": Operation(
        "Try a pending delivery now; replay one that is over.",
        answer=schemas.Retried,
        shows={"id": "dlv_01_01", "was": "dead", "replay_id": "rpl_01"},
        status=202,
        headers=REPEATABLE,
    ),
    "POST /webhooks/{webhook}/replay": Operation(
        "Send an endpoint again what it has missed: one event, a range of seq or time, or all that is dead.",
        body=schemas.StartReplay,
        example={"dead": True},
        answer=schemas.Replay,
        shows=_REPLAY,
        status=202,
        headers=REPEATABLE,
    ),
    "GET /webhooks/{webhook}/replays": Operation(
        "List an endpoint's replays, newest first.",
        answer=schemas.ReplayList,
        shows={"replays": [_REPLAY]},
        query={"limit": number("how many, at the most", 1, 1000)},
    ),
    "GET /replays/{replay}": Operation("Show how far a replay is.", answer=schemas.Replay, shows=_REPLAY),
    "DELETE /replays/{replay}": Operation(
        "End a replay; what it has not delivered is again what it was.",
        answer=schemas.Replay,
        shows={**_REPLAY, "state": "cancelled", "pending": 0},
    ),
}
