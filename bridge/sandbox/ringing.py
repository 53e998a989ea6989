"""Calls that ring at somebody's linked clients, and that these may reject. Nobody can take one and talk."""

import secrets

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.nodes import Node
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text
from bridge.sandbox.world import World


def ring(world: World, caller: Account, callee: Account) -> str:
    """Have a phone call somebody: the linked clients hear it now, or never when they are away. Return its id."""
    call_id = secrets.token_hex(16).upper()
    offer = Node("offer", {"call-id": call_id, "call-creator": caller.lid, "caller_pn": caller.jid}, [Node("audio")])
    attrs: Attrs = {
        "from": caller.lid,
        "t": now_text(),
        "notify": caller.name,
        "platform": "android",
        "version": "2.25",
    }
    for device in callee.linked():
        world.relay.deliver(device, Node("call", {**attrs, "id": new_stanza_id()}, [offer]))
    return call_id


def pass_on(world: World, device: Device, node: Node) -> None:
    """Tell the phone that rang that a client rejects its call."""
    reject, to = node.child("reject"), node.jid("to")
    caller = world.accounts.find(to) if to is not None else None
    if reject is None or caller is None or reject.jid("call-creator") not in (caller.lid, caller.jid):
        return
    for target in list(caller.devices.values()):
        if target.handset is not None:
            world.relay.deliver(target, Node("call", {"from": device.account.lid}, [reject]))
