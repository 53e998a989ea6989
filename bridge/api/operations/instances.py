"""The calls on instances."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas
from bridge.api.openapi import AT, CURSOR, KEY, LIMIT, REPEATABLE, Operation, number, text
from bridge.api.problems import Problem

_STATUS: Mapping[str, Any] = {
    "instance_key": KEY,
    "connected": True,
    "logged_in": True,
    "phone_number": "4915100000001",
    "state": "online",
    "reason": None,
    "since": AT,
    "next_retry_at": None,
    "needs": "none",
}
_INSTANCE: Mapping[str, Any] = {
    **_STATUS,
    "name": "front desk",
    "external_id": "tenant-7",
    "jid": "4915100000001:1@s.whatsapp.net",
    "lid": "9000000000001:1@lid",
    "push_name": "Desk",
    "owner_node": "node_01",
    "metadata": {"team": "a"},
    "settings": {"pacing_profile": "steady"},
}
NO_PASSKEY = "Answers 501: the engine does not hand on WhatsApp's passkey requests yet."
_PASSKEY = {"error": "...", "code": "not_implemented", "retryable": False, "details": {}, "request_id": "req_01"}


def done(status: str, state: str) -> dict[str, Any]:
    return {"status": status, "instance_key": KEY, "message": "What that means.", "state": state}


OPERATIONS: Mapping[str, Operation] = {
    "POST /instance/create": Operation(
        "Create an instance; its own key and the webhook's secret are shown this once.",
        body=schemas.CreateInstance,
        example={"name": "front desk", "external_id": "tenant-7", "webhook": {"url": "https://example.com/hook"}},
        answer=schemas.Created,
        shows={
            "status": "instance_created",
            "instance_key": KEY,
            "message": "The instance is created; POST /instance/connect connects it.",
            "state": "created",
            "api_key": "wab_...",
            "webhook": {"id": "whk_01", "url": "https://example.com/hook", "events": [], "secret": "whsec_..."},
        },
        headers=REPEATABLE,
    ),
    "POST /instance/connect": Operation(
        "Connect an instance, or begin to pair it, and wait a little for a QR code.",
        body=schemas.ConnectInstance,
        example={"instance_key": KEY, "wait_s": 10},
        answer=schemas.Done,
        shows=done("qr_generated", "awaiting_pairing"),
    ),
    "GET /instances": Operation(
        "List instances, oldest first.",
        answer=schemas.InstanceList,
        shows={"instances": [_INSTANCE], "count": 1, "next_cursor": None},
        query={
            "state": text("only those in this state", enum=list(schemas.STATES)),
            "external_id": text("only those with this id of yours"),
            "limit": LIMIT,
            "cursor": CURSOR,
        },
    ),
    "GET /instance/{key}": Operation("Show an instance.", answer=schemas.Instance, shows=_INSTANCE),
    "PATCH /instance/{key}": Operation(
        "Change what an instance is known by; what is not given stays.",
        body=schemas.ChangeInstance,
        example={"name": "Front desk", "external_id": "crm-7", "metadata": {"team": "blue"}},
        answer=schemas.Instance,
        shows=_INSTANCE,
    ),
    "GET /instance/{key}/status": Operation(
        "Show how an instance is.",
        answer=schemas.Status,
        shows={**_STATUS, "last_event_at": AT, "keepalive_age_s": 4.2, "restriction": None},
    ),
    "GET /instance/{key}/log": Operation(
        "What happened to an instance: states, pairings. Newest first.",
        answer=schemas.Log,
        shows={
            "entries": [
                {
                    "at": AT,
                    "level": "warning",
                    "event": "connection.update",
                    "seq": 12,
                    "detail": {"state": "stale", "reason": "self_check_unanswered", "needs": "none"},
                }
            ],
            "next_cursor": None,
        },
        query={
            "level": text("at least this level", enum=list(schemas.LEVELS)),
            "limit": LIMIT,
            "cursor": CURSOR,
        },
    ),
    "POST /instance/{key}/disconnect": Operation(
        "Disconnect an instance until it is connected again; it stays paired.",
        body=schemas.NameInstance,
        example={},
        answer=schemas.Done,
        shows=done("disconnected", "paused"),
    ),
    "POST /instance/{key}/logout": Operation(
        "Unlink an instance from its phone; it can be paired anew.",
        body=schemas.NameInstance,
        example={},
        answer=schemas.Done,
        shows=done("logged_out", "logged_out"),
    ),
    "GET /instance/{key}/qr/stream": Operation(
        "Follow a pairing: each QR code, a pairing code, and how it ends, as server-sent events.",
        media=("text/event-stream",),
        sample=(
            ": the pairing\nretry: 3000\n\n"
            f'event: qr\ndata: {{"code": "2@...", "attempt": 1, "expires_at": "{AT}"}}\n\n'
            'event: paired\ndata: {"state": "connecting", "reason": "paired"}\n\n'
        ),
    ),
    "POST /instance/{key}/pair-code": Operation(
        "A code that is typed into the phone instead of scanning one.",
        body=schemas.AskPairCode,
        example={"phone": "4915100000001"},
        answer=schemas.PairingCode,
        shows={
            "status": "awaiting_pairing",
            "instance_key": KEY,
            "message": "On the phone, under linked devices, choose to link with a phone number and type the code.",
            "pairing_code": "ABCD-1234",
            "expires_at": AT,
        },
    ),
    "GET /instance/{key}/passkey": Operation(NO_PASSKEY, answer=Problem, shows=_PASSKEY, status=501),
    "POST /instance/{key}/passkey": Operation(NO_PASSKEY, answer=Problem, shows=_PASSKEY, status=501),
    "POST /instance/{key}/restart": Operation(
        "End an instance's actor and start it again.",
        body=schemas.NameInstance,
        example={},
        answer=schemas.Done,
        shows=done("restarting", "connecting"),
    ),
    "DELETE /instance/{key}": Operation(
        "Log an instance out and delete its session.",
        answer=schemas.Done,
        shows={name: value for name, value in done("deleted", "").items() if name != "state"},
        query={
            "logout": text("`true`; anything else is not built yet", enum=["true", "1"]),
            "purge": text("`true`; anything else is not built yet", enum=["true", "1"]),
        },
    ),
    "GET /instance/{key}/qr": Operation(
        "The QR code that the phone has to scan now, or that there is nothing to scan any more.",
        answer=(schemas.Qr, schemas.Paired),
        shows={"code": "2@...", "png_base64": "iVBORw0...", "attempt": 1, "expires_at": AT},
        media=("image/png", "image/svg+xml", "text/plain"),
        query={
            "format": text("how it is shown", enum=["png", "svg", "txt", "json"]),
            "size": number("pixels", 64, 2048, 256),
            "wait_s": number("how long to wait for one", 0.0, 30.0, 30),
        },
    ),
}
