"""The calls that send: from their own table, with an example for each."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas_messages as schemas
from bridge.api.openapi import AT, KEY, REPEATABLE, Operation
from bridge.api.sends import SENDS

TO: Mapping[str, Any] = {"instance_key": KEY, "to": "4915100000002"}
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "/message/send": {**TO, "message": "See you at 10."},
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

OPERATIONS: Mapping[str, Operation] = {
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
