"""The calls on keys and on the audit trail."""

from collections.abc import Mapping
from typing import Any

from bridge.api import key_schemas as schemas
from bridge.api.openapi import AT, CURSOR, KEY, LIMIT, REPEATABLE, Operation, number, text

_KEY: Mapping[str, Any] = {
    "key_id": "key_01",
    "name": "crm",
    "role": "sender",
    "instances": [KEY],
    "ips": ["10.0.0.0/8"],
    "rate_per_s": None,
    "hint": "wab_1a2B",
    "created_at": AT,
    "expires_at": None,
    "created_by": "key_00",
}

OPERATIONS: Mapping[str, Operation] = {
    "GET /keys": Operation(
        "List API keys, oldest first; never the keys themselves.",
        answer=schemas.KeyList,
        shows={"keys": [_KEY], "count": 1, "next_cursor": None},
        query={"limit": LIMIT, "cursor": CURSOR},
    ),
    "POST /keys": Operation(
        "Make an API key; `secret` is shown this once.",
        body=schemas.CreateKey,
        example={"name": "crm", "role": "sender", "ips": ["10.0.0.0/8"], "expires_at": "2099-01-01T00:00:00Z"},
        answer=schemas.Key,
        shows={**_KEY, "secret": "wab_..."},
        status=201,
        headers=REPEATABLE,
        others={200: schemas.Key},
    ),
    "GET /keys/self": Operation(
        "Whose key this is, and what it may do.",
        answer=schemas.OwnKey,
        shows={
            "key_id": "key_01",
            "name": "crm",
            "role": "sender",
            "may": ["read", "send"],
            "instances": [KEY],
            "expires_at": None,
        },
    ),
    "DELETE /keys/{key_id}": Operation(
        "Revoke an API key.", answer=schemas.KeyRevoked, shows={"status": "revoked", "key_id": "key_01"}
    ),
    "GET /audit": Operation(
        "Who did what, newest first.",
        answer=schemas.AuditTrail,
        shows={
            "entries": [
                {
                    "id": "aud_01",
                    "at": AT,
                    "key_id": "key_00",
                    "key_name": "first",
                    "role": "admin",
                    "address": "192.0.2.7",
                    "action": "POST /keys",
                    "instance_key": None,
                    "target": "key_01",
                    "status": 201,
                    "code": None,
                    "request_id": "req_01",
                }
            ],
            "next_cursor": None,
        },
        query={
            "instance_key": text("what was done to this instance"),
            "key_id": text("what was done with this key"),
            "limit": number("how many, at the most", 1, 1000, 100),
            "cursor": CURSOR,
        },
    ),
}
