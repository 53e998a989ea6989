"""The calls that send: from their own table, with an example for each."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas_messages as schemas
from bridge.api.openapi import AT, CURSOR, KEY, REPEATABLE, Operation, number, text
from bridge.api.sends import SENDS

TO: Mapping[str, Any] = {"instance_key": KEY, "to": "4915100000002"}
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "/message/send": {**TO, "message": "See you at 10."},
    "/message/send-location": {**TO, "latitude": 52.52, "longitude": 13.405, "name": "Berlin"},
    "/message/send-contact": {**TO, "contact_name": "Ann", "contact_phone": "+49 151 00000003"},
    "/message/send-interactive": {**TO, "title": "Order", "body": "Keep it?", "buttons": [{"id": "y", "title": "Yes"}]},
    "/message/send-poll": {**TO, "question": "When?", "options": ["Monday", "Tuesday"], "max_choices": 1},
    "/message/react": {"instance_key": KEY, "chat": "4915100000002", "message_id": "3EB0C767D097", "emoji": "👍"},
    "/message/edit": {"instance_key": KEY, "chat": "4915100000002", "message_id": "3EB0C767D097", "message": "At 11."},
    "/message/revoke": {"instance_key": KEY, "chat": "4915100000002", "message_id": "3EB0C767D097"},
    "/message/forward": {**TO, "from_chat": "4915100000003", "message_id": "3EB0C767D097"},
}
"""By path; a call that sends and is missing here has no example, and a test says so."""
SENT: Mapping[str, Any] = {
    "status": "sent",
    "message_id": "3EB0C767D097B7C7C030",
    "to": "4915100000002@s.whatsapp.net",
    "request_id": "req_01",
    "instance_key": KEY,
    "command_id": "cmd_01",
    "sent_at": AT,
}

_SENDS: Mapping[str, Operation] = {
    f"POST {send.path}": Operation(
        f"Send: {send.kind.replace('_', ' ')}.",
        body=send.request,
        example=EXAMPLES.get(send.path),
        answer=schemas.Message,
        shows=SENT,
        headers=REPEATABLE,
        others={202: schemas.Message},
    )
    for send in SENDS
}

_WAITING: Mapping[str, Any] = {
    "command_id": "cmd_01",
    "message_id": None,
    "to": "4915100000002@s.whatsapp.net",
    "kind": "text",
    "status": "scheduled",
    "queued_at": AT,
    "send_at": AT,
    "hold_reason": None,
    "held_until": None,
    "metadata": None,
}
_KNOWN: Mapping[str, Any] = {
    "instance_key": KEY,
    "message_id": "3EB0C767D097B7C7C030",
    "command_id": None,
    "to": "4915100000002@s.whatsapp.net",
    "sender": "4915100000001:1@s.whatsapp.net",
    "from_me": True,
    "kind": "text",
    "text": "See you at 10.",
    "status": "read",
    "history": [{"status": "sent", "at": AT}, {"status": "read", "at": AT}],
    "error": None,
    "metadata": None,
}

OPERATIONS: Mapping[str, Operation] = {
    **_SENDS,
    "POST /message/read": Operation(
        "Tell the sender that messages were read.",
        body=schemas.Read,
        example={"instance_key": KEY, "chat": "4915100000002", "message_ids": ["3EB0C767D097B7C7C030"]},
        answer=schemas.ReadDone,
        shows={"status": "read", "count": 1},
    ),
    "GET /message/{key}/outbox": Operation(
        "List the messages that are not out: waiting ones and failed ones.",
        answer=schemas.Outbox,
        shows={"items": [_WAITING], "next_cursor": None},
        query={
            "status": text("one or more of queued, scheduled, held, failed, with commas; queued,scheduled,held"),
            "limit": number("how many, at the most", 1, 1000, 100),
            "cursor": CURSOR,
        },
    ),
    "DELETE /message/{key}/outbox/{id}": Operation(
        "Take a queued message back, by its command_id.",
        answer=schemas.Cancelled,
        shows={"status": "cancelled", "command_id": "cmd_01"},
    ),
    "GET /message/{key}/{id}": Operation(
        "Show a message and its way, by its message_id or command_id.", answer=schemas.KnownMessage, shows=_KNOWN
    ),
}
