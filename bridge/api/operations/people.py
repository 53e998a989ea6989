"""The calls about people: contacts, the instance's own profile, presence."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas_people as schemas
from bridge.api.openapi import CURSOR, KEY, Operation, number, text

_CONTACT: Mapping[str, Any] = {
    "jid": "4915100000002@s.whatsapp.net",
    "lid": "9000000000002@lid",
    "phone": "4915100000002",
    "name": "Ann",
    "push_name": "Ann",
    "business": False,
    "business_name": None,
}
_PROFILE: Mapping[str, Any] = {
    "instance_key": KEY,
    "phone_number": "4915100000001",
    "jid": "4915100000001:1@s.whatsapp.net",
    "lid": "9000000000001:1@lid",
    "name": "Desk",
    "about": "Mo to Fr, 9 to 5",
    "avatar_id": None,
    "avatar_url": None,
    "privacy": {"last": "contacts"},
}
_OK = {"status": "ok", "instance_key": KEY}

OPERATIONS: Mapping[str, Operation] = {
    "GET /contact/{key}": Operation(
        "List the people whom an instance knows.",
        answer=schemas.ContactList,
        shows={"contacts": [_CONTACT], "count": 1, "next_cursor": None},
        query={
            "q": text("a part of a name or number"),
            "limit": number("how many, at the most", 1, 1000, 100),
            "cursor": CURSOR,
        },
    ),
    "GET /contact/{key}/{id}": Operation(
        "What is known of a person, and what WhatsApp shows now.",
        answer=schemas.ContactDetail,
        shows={**_CONTACT, "about": "At work", "avatar_id": None},
        query={"avatar": text("whether to ask for the picture's URL, and which", enum=["preview", "full"])},
    ),
    "PUT /contact/{key}/{id}/block": Operation(
        "Block a person, or not any more.",
        body=schemas.Block,
        example={"blocked": True},
        answer=schemas.Blocked,
        shows={"status": "blocked", "instance_key": KEY, "jid": _CONTACT["jid"], "blocked": True},
    ),
    "POST /contact/{key}/{id}/follow": Operation(
        "Hear when a person comes and goes, for as long as this connection to WhatsApp lasts.",
        answer=schemas.Followed,
        shows={"status": "following", "instance_key": KEY, "jid": _CONTACT["jid"]},
    ),
    "GET /profile/{key}": Operation("Show an instance's own profile.", answer=schemas.Profile, shows=_PROFILE),
    "PATCH /profile/{key}": Operation(
        "Change an instance's own profile; what is left out stays as it is.",
        body=schemas.ChangeProfile,
        example={"about": "Mo to Fr, 9 to 5"},
        answer=schemas.Profile,
        shows=_PROFILE,
    ),
    "POST /presence": Operation(
        "Show an instance as available, or not.",
        body=schemas.SetPresence,
        example={"instance_key": KEY, "state": "available"},
        answer=schemas.Ok,
        shows=_OK,
    ),
    "POST /chat/presence": Operation(
        "Show in a chat that somebody types, or records.",
        body=schemas.SetChatPresence,
        example={"instance_key": KEY, "chat": "4915100000002", "state": "typing"},
        answer=schemas.Ok,
        shows=_OK,
    ),
    "POST /call/reject": Operation(
        "Reject a call that rings.",
        body=schemas.RejectCall,
        example={"instance_key": KEY, "call_id": "5A1F0C3D9B7E4A62", "from": "4915100000002"},
        answer=schemas.Rejected,
        shows={"status": "rejected", "instance_key": KEY, "call_id": "5A1F0C3D9B7E4A62"},
    ),
}
