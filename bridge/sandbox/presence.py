"""Who is online and who is typing: stanzas of the moment, which nobody acknowledges and nothing keeps."""

import time

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.nodes import GROUP_SERVER, Node
from bridge.sandbox.world import World


def announce(world: World, device: Device, node: Node) -> None:
    """Handle a client's presence: a subscription to somebody's, or its own, which goes to those who subscribed."""
    kind = node.text("type")
    if kind == "subscribe":
        to = node.jid("to")
        account = world.accounts.find(to) if to else None
        if account is not None:
            account.watchers.add(device)
            world.relay.deliver(device, _presence(account))
        return
    account = device.account
    show(world, account, online=kind == "available")


def show(world: World, account: Account, *, online: bool) -> None:
    """Have an account appear as available or as gone since now, to those who subscribed."""
    account.online = online
    account.seen_at = time.time()
    for watcher in list(account.watchers):
        world.relay.deliver(watcher, _presence(account))


def forget(world: World, device: Device) -> None:
    """Drop what a device subscribed to: that ends with its connection."""
    for account in world.accounts:
        account.watchers.discard(device)


def typing(world: World, device: Device, node: Node) -> None:
    """Pass on that somebody is typing or recording."""
    to = node.jid("to")
    if to is None:
        return
    mine = device.account
    if to.server == GROUP_SERVER:
        accounts = [account for account in world.groups.members_of(to) if account is not mine]
        stanza = Node("chatstate", {"from": to, "participant": mine.lid}, node.content)
    else:
        account = world.accounts.find(to)
        accounts = [account] if account else []
        stanza = Node("chatstate", {"from": mine.lid}, node.content)
    for account in accounts:
        for target in list(account.devices.values()):
            world.relay.deliver(target, stanza)


def _presence(account: Account) -> Node:
    last = str(int(account.seen_at)) if account.seen_at else None
    absent = {} if account.online else {"type": "unavailable", "last": last}
    return Node("presence", {"from": account.lid, **absent})
