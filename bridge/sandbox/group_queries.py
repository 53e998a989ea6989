"""Answers a client's queries about groups (`w:g2`): a table from the query's first child to a function."""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.answers import refusal, result
from bridge.sandbox.group_changes import Asked, GroupRefused, UnknownLink
from bridge.sandbox.group_notices import PRIVATE, announce_new, carry_out, private
from bridge.sandbox.groups import Group
from bridge.sandbox.nodes import LID_SERVER, Jid, Node
from bridge.sandbox.relay import now_text
from bridge.sandbox.world import World

_REQUEST_S: Final = 3 * 86_400
"""How long an invite can be sent to somebody who may not be added."""
_TEXTS: Final = {403: "forbidden", 401: "not-authorized", 404: "item-not-found", 406: "not-acceptable", 410: "gone"}


def answer(world: World, device: Device, node: Node) -> Node:
    """Return the answer to a query about groups."""
    asked = node.children()[0] if node.children() else Node("")
    try:
        if asked.tag in _GENERAL:
            content = _GENERAL[asked.tag](world, device, node, asked)
        else:
            group = world.groups.find(node.jid("to"))
            if group is None:
                raise GroupRefused("no such group", wire=404)
            query = _OF_GROUP.get(asked.tag)
            if query is None:
                raise GroupRefused(asked.tag, wire=501)
            content = query(world, device, group, node, asked)
    except GroupRefused as error:
        return refusal(node, error.wire, _TEXTS.get(error.wire, "feature-not-implemented"))
    return result(node, content or None)


def _create(world: World, device: Device, node: Node, asked: Node) -> list[Node]:
    accounts = _accounts(world, asked)
    kept = private(world, accounts)
    taken = [account for account in accounts if account not in kept]
    group = world.groups.create(device.account, asked.text("subject"), taken)
    group.announce, group.locked = asked.child("announcement") is not None, asked.child("locked") is not None
    timer = asked.child("ephemeral")
    group.expiration_s = int(timer.text("expiration", "0")) if timer else 0
    world.groups.save(group)
    announce_new(world, group, device.account, asked.text("key"))
    shown = world.groups.describe(group)
    return [Node(shown.tag, shown.attrs, [*shown.children(), *(_outcome(account, PRIVATE) for account in kept)])]


def _participating(world: World, device: Device, node: Node, asked: Node) -> list[Node]:
    return [Node("groups", {}, [world.groups.describe(group) for group in world.groups.of(device.account)])]


def _leave(world: World, device: Device, node: Node, asked: Node) -> list[Node]:
    left = []
    for entry in asked.all("group"):
        group = world.groups.find(entry.jid("id"))
        if group is None:
            raise GroupRefused("no such group", wire=404)
        carry_out(world, group, "leave", Asked(device.account))
        left.append(Node("group", {"id": group.jid}))
    return [Node("leave", {}, left)]


def _invite(world: World, device: Device, node: Node, asked: Node) -> list[Node]:
    """Show a group behind an invite link (`get`), join it (`set`); or, of a group, show or reset its link."""
    code = asked.text("code")
    if not code:
        return _link(world, device, node)
    group = world.groups.by_invite(code)
    if group is None:
        raise UnknownLink(code, wire=410 if world.groups.was_revoked(code) else 406)
    if node.text("type") == "set":
        carry_out(world, group, "join", Asked(device.account))
        waits = device.account.lid_user not in group.members
        return [Node("membership_approval_request" if waits else "group", {"jid": group.jid})]
    return [world.groups.describe(group)]


def _link(world: World, device: Device, node: Node) -> list[Node]:
    group = world.groups.find(node.jid("to"))
    if group is None:
        raise GroupRefused("no such group", wire=404)
    if node.text("type") == "set":
        carry_out(world, group, "invite", Asked(device.account))
    elif device.account.lid_user not in group.members:
        raise GroupRefused("not a member")
    elif not group.is_admin(device.account):
        raise GroupRefused("only admins may", wire=401)
    return [Node("invite", {"code": group.invite})]


def _query(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    offer = asked.child("add_request")
    if device.account.lid_user not in group.members and (offer is None or offer.text("code") != group.invite):
        raise GroupRefused("not a member")
    return [world.groups.describe(group)]


def _accept(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    """Join by an invite that was sent as a message; its code is the link's."""
    if asked.text("code") != group.invite:
        raise GroupRefused("the invite is no longer good", wire=410)
    carry_out(world, group, "join", Asked(device.account))
    return []


def _subject(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    carry_out(world, group, "subject", Asked(device.account, text=asked.data().decode("utf-8", "replace")))
    return []


def _description(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    body = asked.child("body")
    text = body.data().decode("utf-8", "replace") if body else ""
    if asked.text("prev") != (group.description_id if group.description else asked.text("prev")):
        raise GroupRefused("the description is another one by now", wire=409)
    carry_out(world, group, "description", Asked(device.account, text=text, id=asked.text("id")))
    return []


def _ephemeral(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    seconds = int(asked.text("expiration", "0"))
    carry_out(world, group, "ephemeral", Asked(device.account, seconds=seconds))
    return []


def _switch(name: str, on: bool) -> "_OfGroup":
    def query(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
        carry_out(world, group, name, Asked(device.account, seconds=int(on)))
        return []

    return query


def _participants(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    """Answer with each member that was named, and with an error for those that nothing could be done for."""
    accounts = _accounts(world, asked)
    told = carry_out(world, group, asked.tag, Asked(device.account, accounts=accounts))
    shown = [_outcome(account, told.refused.get(str(account.lid))) for account in accounts]
    known = {account.lid for account in accounts} | {account.jid for account in accounts}
    unknown = [jid for jid in _jids(asked) if jid.bare() not in known and world.accounts.find(jid) is None]
    return [Node(asked.tag, {}, [*shown, *(Node("participant", {"jid": jid, "error": "404"}) for jid in unknown)])]


def _outcome(account: Account, error: int | None) -> Node:
    attrs = {"jid": account.lid, "phone_number": account.jid, "error": str(error) if error else None}
    if error != PRIVATE:
        return Node("participant", attrs)
    expires = str(int(now_text()) + _REQUEST_S)
    return Node("participant", attrs, [Node("add_request", {"code": secrets.token_urlsafe(12), "expiration": expires})])


def _requests(world: World, device: Device, group: Group, node: Node, asked: Node) -> list[Node]:
    """Answer to an admin who waits to be let in."""
    if not group.is_admin(device.account):
        raise GroupRefused("only admins may" if device.account.lid_user in group.members else "not a member")
    waiting = [
        Node("membership_approval_request", {"jid": Jid(lid, LID_SERVER), "request_time": at})
        for lid, at in group.requests.items()
    ]
    return [Node("membership_approval_requests", {}, waiting)]


def _accounts(world: World, asked: Node) -> list[Account]:
    found = (world.accounts.find(jid) for jid in _jids(asked))
    return list(dict.fromkeys(account for account in found if account is not None))


def _jids(asked: Node) -> list[Jid]:
    found = (entry.jid("jid") for entry in asked.all("participant"))
    return [jid for jid in found if jid is not None]


_General = Callable[[World, Device, Node, Node], list[Node]]
_OfGroup = Callable[[World, Device, Group, Node, Node], list[Node]]

_GENERAL: Final[Mapping[str, _General]] = {
    "create": _create,
    "participating": _participating,
    "leave": _leave,
    "invite": _invite,
}
_OF_GROUP: Final[Mapping[str, _OfGroup]] = {
    "query": _query,
    "accept": _accept,
    "subject": _subject,
    "description": _description,
    "ephemeral": _ephemeral,
    "not_ephemeral": _switch("ephemeral", on=False),
    "announcement": _switch("announce", on=True),
    "not_announcement": _switch("announce", on=False),
    "locked": _switch("locked", on=True),
    "unlocked": _switch("locked", on=False),
    **dict.fromkeys(("add", "remove", "promote", "demote"), _participants),
    "membership_approval_requests": _requests,
}
