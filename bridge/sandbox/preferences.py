"""Answers queries about an account's own settings: privacy, block list, who sees its status, timers, app state."""

from typing import Final

from bridge.sandbox.accounts import Device
from bridge.sandbox.answers import refusal, result
from bridge.sandbox.nodes import LID_SERVER, Node
from bridge.sandbox.profiles import BadSetting, block_hash
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text
from bridge.sandbox.world import World

TIMERS: Final = frozenset({0, 86_400, 604_800, 7_776_000})
"""Seconds after which messages may disappear: off, a day, a week, 90 days."""


def get_privacy(world: World, device: Device, node: Node) -> Node:
    settings = world.profiles.of(device.account).privacy
    return result(node, [Node("privacy", {}, [_category(name, value) for name, value in settings.items()])])


def set_privacy(world: World, device: Device, node: Node) -> Node:
    """Change settings; one that does not exist is refused and changes nothing that stands behind it."""
    changed = (node.child("privacy") or node).all("category")
    try:
        for category in changed:
            world.profiles.set_privacy(device.account, category.text("name"), category.text("value"), device)
    except BadSetting:
        return refusal(node, 400, "bad-request")
    return result(node, [Node("privacy", {}, changed)])


def _category(name: str, value: str) -> Node:
    return Node("category", {"name": name, "value": value})


def privacy_tokens(world: World, device: Device, node: Node) -> Node:
    """Pass on the tokens by which a client says that it trusts somebody."""
    for token in (node.child("tokens") or node).children():
        jid = token.jid("jid")
        account = world.accounts.find(jid) if jid else None
        for target in account.linked() if account else []:
            attrs: Attrs = {
                "from": device.account.jid,
                "type": "privacy_token",
                "id": new_stanza_id(),
                "t": now_text(),
                "sender_lid": device.account.lid,
            }
            inside = Node("token", {"type": "trusted_contact", "t": token.text("t")}, bytes(12))
            world.relay.deliver(target, Node("notification", attrs, [Node("tokens", {}, [inside])]))
    return result(node)


def status_privacy(world: World, device: Device, node: Node) -> Node:
    """Answer who sees this account's status posts: its contacts, as with a new account. It cannot be changed here."""
    return result(node, [Node("privacy", {}, [Node("list", {"type": "contacts", "default": "true"})])])


def blocklist(world: World, device: Device, node: Node) -> Node:
    """Answer with the block list, after a change if the query is one."""
    account = device.account
    item = node.child("item")
    jid = item.jid("jid") if item else None
    if item is not None:
        if jid is None or jid.server != LID_SERVER or world.accounts.find(jid) is None:
            return refusal(node, 400, "bad-request")
        world.profiles.set_blocked(account, jid, item.text("action") == "block", device)
    items = [Node("item", {"jid": blocked}) for blocked in account.blocked]
    return result(node, [Node("list", {"dhash": block_hash(account)}, items)])


def set_default_timer(world: World, device: Device, node: Node) -> Node:
    mode = node.child("disappearing_mode")
    seconds = mode.text("duration") if mode else ""
    if not seconds.isdigit() or int(seconds) not in TIMERS:
        return refusal(node, 400, "bad-request")
    world.profiles.set_default_timer(device.account, int(seconds))
    return result(node)


def app_state(world: World, device: Device, node: Node) -> Node:
    """Answer with the steps of collections behind the versions that the client knows, after adding a step of its."""
    asked = (node.child("sync") or node).all("collection")
    return result(node, [Node("sync", {}, [_collection(world, device, one) for one in asked])])


def _collection(world: World, device: Device, asked: Node) -> Node:
    account, name, known = device.account, asked.text("name"), int(asked.text("version", "0"))
    patch = asked.child("patch")
    refused = patch is not None and not _add(world, device, name, known, patch.data())
    patches = world.phones.app_state.patches(account, name, known)
    version = patches[-1].version if patches else known
    content = [Node("patches", {}, [Node("patch", {}, step.body) for step in patches])] if patches else []
    attrs: Attrs = {"name": name, "version": str(version), "type": "error" if refused else None}
    if refused:
        content.append(Node("error", {"code": "409", "text": "conflict"}))
    return Node("collection", attrs, content or None)


def _add(world: World, device: Device, name: str, known: int, patch: bytes) -> bool:
    """Add a client's step, do on the phone what it says, and tell the account's other clients; say whether it fits."""
    settings = world.phones.app_state.accept(device.account, name, known, patch)
    if settings is None:
        return False
    for setting in settings:
        if setting.value.HasField("pushNameSetting"):
            device.account.name = setting.value.pushNameSetting.name
            world.accounts.save(device.account)
    world.profiles.tell_app_state(device.account, name, known + 1, device)
    return True
