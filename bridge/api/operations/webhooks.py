"""The calls on webhook endpoints."""

from collections.abc import Mapping
from typing import Any

from bridge.api import webhook_schemas as schemas
from bridge.api.openapi import AT, CURSOR, KEY, REPEATABLE, Operation, number, text

_WEBHOOK: Mapping[str, Any] = {
    "id": "whk_01",
    "url": "https://example.com/hook",
    "instance_key": KEY,
    "events": ["message.received"],
    "headers": [],
    "ordering": "chat",
    "payload": "native",
    "timeout_s": 10,
    "max_age_h": 72,
    "state": "active",
    "reason": None,
    "held": False,
    "failing_since": None,
    "lag_events": 0,
    "dead_events": 0,
    "oldest_undelivered_at": None,
    "last_error": None,
    "last_error_at": None,
    "secret_hint": "…c3Q=",
    "old_secret_until": None,
    "created_at": AT,
}
_WITH_SECRET = {**_WEBHOOK, "secret": "whsec_..."}

OPERATIONS: Mapping[str, Operation] = {
    "GET /webhooks": Operation(
        "List endpoints, oldest first, with what waits for each.",
        answer=schemas.WebhookList,
        shows={"webhooks": [_WEBHOOK], "count": 1, "next_cursor": None},
        query={
            "instance_key": text("those that get events of this instance"),
            "limit": number("how many, at the most", 1, 1000),
            "cursor": CURSOR,
        },
    ),
    "POST /webhooks": Operation(
        "Make an endpoint; its secret is shown this once.",
        body=schemas.CreateWebhook,
        example={"url": "https://example.com/hook", "instance_key": KEY, "events": ["message.received"]},
        answer=schemas.Webhook,
        shows=_WITH_SECRET,
        status=201,
        headers=REPEATABLE,
    ),
    "GET /webhooks/{webhook}": Operation("Show an endpoint.", answer=schemas.Webhook, shows=_WEBHOOK),
    "PATCH /webhooks/{webhook}": Operation(
        "Change an endpoint; what is left out stays as it is.",
        body=schemas.ChangeWebhook,
        example={"events": ["*"], "ordering": "instance"},
        answer=schemas.Webhook,
        shows=_WEBHOOK,
    ),
    "DELETE /webhooks/{webhook}": Operation(
        "Remove an endpoint, with what was still to be delivered to it.",
        answer=schemas.WebhookRemoved,
        shows={"status": "deleted", "id": "whk_01", "message": "The webhook is removed."},
    ),
    "POST /webhooks/{webhook}/rotate-secret": Operation(
        "Give an endpoint a new secret; the old one signs beside it for a while.",
        body=schemas.RotateSecret,
        example={},
        answer=schemas.Webhook,
        shows=_WITH_SECRET,
    ),
    "POST /webhooks/{webhook}/test": Operation(
        "Post a test event to an endpoint now.",
        answer=schemas.WebhookTest,
        shows={"delivered": True, "status": 200, "duration_ms": 12, "error": None, "answer": "ok"},
    ),
    "POST /webhooks/{webhook}/pause": Operation(
        "Hold what an endpoint is to get until it is resumed.",
        body=schemas.PauseWebhook,
        example={"reason": "we move house"},
        answer=schemas.Webhook,
        shows={**_WEBHOOK, "state": "paused", "reason": "we move house"},
    ),
    "POST /webhooks/{webhook}/resume": Operation(
        "Deliver to an endpoint again.", answer=schemas.Webhook, shows=_WEBHOOK
    ),
}
