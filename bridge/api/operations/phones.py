"""The calls about phone numbers, and the command hook."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas_phones as schemas
from bridge.api.openapi import KEY, REPEATABLE, Operation
from bridge.api.routes import hook

_JID, _LID = "4915100000002@s.whatsapp.net", "9000000000002@lid"
_ASKED: Mapping[str, Any] = {"instance_key": KEY, "phone": "+49 151 00000002"}

OPERATIONS: Mapping[str, Operation] = {
    "POST /phone/validate": Operation(
        "Ask WhatsApp about a number, in both spellings where there are two.",
        body=schemas.OnePhone,
        example=_ASKED,
        answer=schemas.Validated,
        shows={
            "status": "success",
            "original_phone": "+49 151 00000002",
            "valid_phone": "4915100000002",
            "exists": True,
            "jid": _JID,
            "lid": _LID,
            "message": "The number is on WhatsApp.",
        },
    ),
    "POST /phone/test-exists": Operation(
        "Ask WhatsApp about a number, and show its answer.",
        body=schemas.OnePhone,
        example=_ASKED,
        answer=schemas.Exists,
        shows={
            "phone": "4915100000002",
            "exists": True,
            "raw_response": [],
            "details": [{"jid": _JID, "is_in": True}],
        },
    ),
    "POST /phone/check": Operation(
        "Ask WhatsApp about up to 50 numbers.",
        body=schemas.ManyPhones,
        example={"instance_key": KEY, "phones": ["4915100000002"]},
        answer=schemas.CheckedPhones,
        shows={
            "results": [{"phone": "4915100000002", "exists": True, "jid": _JID, "lid": _LID, "verified_name": None}],
            "cached": False,
        },
    ),
    "POST /phone/lid-to-phone": Operation(
        "Return the number behind a LID, where WhatsApp has told the instance.",
        body=schemas.OneLid,
        example={"instance_key": KEY, "lid": _LID},
        answer=schemas.LidPhone,
        shows={
            "status": "success",
            "lid": _LID,
            "phone_number": "4915100000002",
            "exists": True,
            "message": "The number is known.",
        },
    ),
    "POST /phone/phone-to-lid": Operation(
        "Return the LID behind a number.",
        body=schemas.OnePhone,
        example=_ASKED,
        answer=schemas.PhoneLid,
        shows={
            "status": "success",
            "phone": "4915100000002",
            "lid": _LID,
            "exists": True,
            "message": "The LID is known.",
        },
    ),
    "POST /webhook": Operation(
        "Answer an event: send a text to whom it is from. The outcome comes as an event.",
        body=hook.Command,
        example={"instance_key": KEY, "from": "4915100000002", "message": "pong", "message_type": "text"},
        answer=hook.CommandTaken,
        shows={"status": "received", "message": "pong", "type": "text", "command_id": "cmd_01"},
        headers=REPEATABLE,
    ),
}
