"""The calls about groups."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas_groups as schemas
from bridge.api.openapi import KEY, Operation

_GROUP_ID = "120363000000000001@g.us"
_LINK = "https://chat.whatsapp.com/Jk3bT9xQw2LhV5nRy8Zc1A"
_ANN: Mapping[str, Any] = {
    "jid": "4915100000002@s.whatsapp.net",
    "lid": "9000000000002@lid",
    "phone": "4915100000002",
}
_OWN: Mapping[str, Any] = {
    "jid": "4915100000001@s.whatsapp.net",
    "lid": "9000000000001@lid",
    "phone": "4915100000001",
}
_SUMMARY: Mapping[str, Any] = {
    "group_id": _GROUP_ID,
    "subject": "Orders",
    "description": "What came in today",
    "owner": _OWN["jid"],
    "announce": False,
    "locked": False,
    "disappearing_s": 0,
    "own_role": "superadmin",
    "size": 2,
}
_GROUP = {**_SUMMARY, "participants": [{**_OWN, "role": "superadmin"}, {**_ANN, "role": "member"}]}
_RESULT = {"participant": "4915100000002", **_ANN, "status": "added", "error": None}
_FAILED = {
    "participant": "4915199999999",
    "jid": "4915199999999@s.whatsapp.net",
    "lid": None,
    "phone": "4915199999999",
    "status": "failed",
    "error": "unknown_recipient",
}
_INVITE = {"group_id": _GROUP_ID, "invite_link": _LINK}

OPERATIONS: Mapping[str, Operation] = {
    "GET /group/{key}": Operation(
        "List the groups that an instance is in.",
        answer=schemas.GroupList,
        shows={"groups": [_SUMMARY], "count": 1},
    ),
    "POST /group/{key}": Operation(
        "Make a group.",
        body=schemas.CreateGroup,
        example={"subject": "Orders", "participants": ["4915100000002"]},
        answer=schemas.GroupCreated,
        shows={**_GROUP, "description": None, "not_added": []},
        status=201,
    ),
    "POST /group/{key}/join": Operation(
        "Join a group by its invite link.",
        body=schemas.Join,
        example={"invite_link": _LINK},
        answer=schemas.Joined,
        shows={"status": "joined", "group_id": _GROUP_ID, "group": _GROUP},
    ),
    "GET /group/{key}/{id}": Operation("Show a group and who is in it.", answer=schemas.Group, shows=_GROUP),
    "PATCH /group/{key}/{id}": Operation(
        "Change how a group is called and set; what is left out stays as it is.",
        body=schemas.ChangeGroup,
        example={"subject": "Orders", "announce": True, "disappearing_s": 604800},
        answer=schemas.Group,
        shows={**_GROUP, "announce": True, "disappearing_s": 604800},
    ),
    "POST /group/{key}/{id}/participants": Operation(
        "Add or remove people, or make them admins, or not any more: what became of each.",
        body=schemas.ChangeParticipants,
        example={"action": "add", "participants": ["4915100000002", "4915199999999"]},
        answer=schemas.Results,
        shows={"group_id": _GROUP_ID, "results": [_RESULT, _FAILED]},
    ),
    "GET /group/{key}/{id}/invite": Operation(
        "Show the link by which anybody joins a group.", answer=schemas.Invite, shows=_INVITE
    ),
    "POST /group/{key}/{id}/invite": Operation(
        "Make a new invite link; the one before leads nowhere any more.", answer=schemas.Invite, shows=_INVITE
    ),
    "GET /group/{key}/{id}/requests": Operation(
        "Show who waits to be let into a group.",
        answer=schemas.Requests,
        shows={"group_id": _GROUP_ID, "requests": [{**_ANN, "requested_at": 1767322800}]},
    ),
    "POST /group/{key}/{id}/leave": Operation(
        "Leave a group.",
        answer=schemas.Left,
        shows={"status": "left", "instance_key": KEY, "group_id": _GROUP_ID},
    ),
}
