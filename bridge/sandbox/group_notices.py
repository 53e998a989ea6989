"""Tells the clients of a group's members what was changed in it, the one who changed it included.

A group that is new to somebody is told as a whole (`<create>`); anything else as the change itself.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bridge.sandbox.accounts import Account
from bridge.sandbox.group_changes import Asked, Told, change
from bridge.sandbox.groups import Group
from bridge.sandbox.nodes import Node
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text
from bridge.sandbox.world import World

PRIVATE: Final = 403
"""Told of somebody whose privacy settings keep them from being added; an invite can be sent to them."""


def private(world: World, accounts: Iterable[Account]) -> list[Account]:
    """Return those whom nobody may add to groups."""
    return [account for account in accounts if world.profiles.of(account).privacy["groupadd"] == "none"]


def carry_out(world: World, group: Group, name: str, asked: Asked) -> Told:
    """Make a change and tell everybody; raise `GroupRefused`."""
    kept = private(world, asked.accounts) if name == "add" else []
    told = change(
        world.groups, group, name, replace(asked, accounts=[one for one in asked.accounts if one not in kept])
    )
    told = replace(told, refused={**told.refused, **{str(account.lid): PRIVATE for account in kept}})
    members = list(world.groups.members_of(group.jid))
    if told.notice is not None:
        kind = "picture" if name == "picture" else "w:gp2"
        hearing = [account for account in (*members, *told.left) if account not in told.joined]
        for account in hearing:
            _tell(world, account, _notification(group, asked.actor, told.notice, kind))
    if told.joined:
        reason = "invite" if name == "join" else ""
        whole = Node("create", {"reason": reason}, [world.groups.describe(group)])
        for account in told.joined:
            _tell(world, account, _notification(group, asked.actor, whole))
    return told


def announce_new(world: World, group: Group, creator: Account, key: str = "") -> None:
    """Tell all members' clients of a group that was just made."""
    whole = Node("create", {"type": "new", "key": key or new_stanza_id()}, [world.groups.describe(group)])
    for account in world.groups.members_of(group.jid):
        _tell(world, account, _notification(group, creator, whole))


def _tell(world: World, account: Account, notification: Node) -> None:
    for device in account.linked():
        world.relay.deliver(device, notification.with_attrs(id=new_stanza_id()))


def _notification(group: Group, actor: Account, notice: Node, kind: str = "w:gp2") -> Node:
    attrs: Attrs = {
        "from": group.jid,
        "type": kind,
        "id": "",
        "t": now_text(),
        "participant": actor.lid,
        "participant_pn": actor.jid,
        "addressing_mode": "lid",
        "notify": actor.name,
    }
    return Node("notification", attrs, [notice])
