"""Answers a client's queries (`iq` stanzas): a table from namespace, type and first child to a function.

Each function gets the asking device and the stanza and returns the answer. What is not in the table is answered with an
empty result, which the client takes as "done" or "nothing there".
"""

from collections.abc import Callable, Mapping
from typing import Final

from bridge.sandbox import group_queries, mex, preferences, users
from bridge.sandbox.accounts import Device, SignedPrekey
from bridge.sandbox.answers import data_of, refusal, result
from bridge.sandbox.certificates import MEDIA_HOST
from bridge.sandbox.keys import xeddsa_verify
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.world import World

Query = Callable[[World, Device, Node], Node]

_CURVE25519: Final = b"\x05"
"""Signal's type byte of a key."""


def answer(world: World, device: Device, node: Node) -> Node:
    """Return the answer to a query of a client that is logged in."""
    namespace, kind = node.text("xmlns"), node.text("type")
    children = node.children()
    first = children[0].tag if children else ""
    query = QUERIES.get((namespace, kind, first)) or QUERIES.get((namespace, kind, "")) or _nothing
    return query(world, device, node)


def _nothing(world: World, device: Device, node: Node) -> Node:
    return result(node)


def _count_prekeys(world: World, device: Device, node: Node) -> Node:
    return result(node, [Node("count", {"value": str(world.accounts.count_prekeys(device))})])


def _set_prekeys(world: World, device: Device, node: Node) -> Node:
    keys = node.child("list")
    signed = _signed_prekey(node.child("skey"))
    if keys is None or signed is None or not _is_signed(device, signed):
        return refusal(node, 406, "not-acceptable")
    device.signed = signed
    registration = node.child("registration")
    if registration is not None:
        device.registration = registration.data()
    world.accounts.save_device(device)
    world.accounts.add_prekeys(device, [(data_of(key, "id"), data_of(key, "value")) for key in keys.children()])
    return result(node)


def _rotate_signed_prekey(world: World, device: Device, node: Node) -> Node:
    signed = _signed_prekey(node.child("rotate", "skey"))
    if signed is None or not _is_signed(device, signed):
        return refusal(node, 406, "not-acceptable")
    device.signed = signed
    world.accounts.save_device(device)
    return result(node)


def _get_keys(world: World, device: Device, node: Node) -> Node:
    asked = node.child("key")
    jids = [user.jid("jid") for user in (asked.children() if asked else [])]
    return result(node, [Node("list", {}, [_bundle(world, jid) for jid in jids if jid is not None])])


def _bundle(world: World, jid: Jid) -> Node:
    """Return what is needed to open a Signal session with a device; each takes one of its prekeys away."""
    device = world.accounts.device(jid)
    if device is None:
        return Node("user", {"jid": jid}, [Node("error", {"code": "404", "text": "item-not-found"})])
    content = [
        Node("registration", {}, device.registration),
        Node("type", {}, _CURVE25519),
        Node("identity", {}, device.identity),
    ]
    prekey = world.accounts.take_prekey(device)
    if prekey is not None:
        content.append(Node("key", {}, [Node("id", {}, prekey[0]), Node("value", {}, prekey[1])]))
    signed = device.signed
    parts = [Node("id", {}, signed.id), Node("value", {}, signed.key), Node("signature", {}, signed.signature)]
    content.append(Node("skey", {}, parts))
    return Node("user", {"jid": jid, "t": now_text()}, content)


def _media_conn(world: World, device: Device, node: Node) -> Node:
    attrs: Attrs = {"auth": "sandbox", "ttl": "3600", "auth_ttl": "3600", "max_buckets": "12", "id": "1"}
    return result(node, [Node("media_conn", attrs, [Node("host", {"hostname": MEDIA_HOST})])])


def _signed_prekey(node: Node | None) -> SignedPrekey | None:
    return (
        None if node is None else SignedPrekey(data_of(node, "id"), data_of(node, "value"), data_of(node, "signature"))
    )


def _is_signed(device: Device, signed: SignedPrekey) -> bool:
    return xeddsa_verify(device.identity, _CURVE25519 + signed.key, signed.signature)


QUERIES: Final[Mapping[tuple[str, str, str], Query]] = {
    ("encrypt", "get", "count"): _count_prekeys,
    ("encrypt", "get", "key"): _get_keys,
    ("encrypt", "set", "rotate"): _rotate_signed_prekey,
    ("encrypt", "set", ""): _set_prekeys,
    ("passive", "set", ""): _nothing,
    ("w:p", "get", ""): _nothing,
    ("usync", "get", ""): users.usync,
    ("w:m", "set", "media_conn"): _media_conn,
    ("w:sync:app:state", "set", ""): preferences.app_state,
    ("privacy", "get", ""): preferences.get_privacy,
    ("privacy", "set", "tokens"): preferences.privacy_tokens,
    ("privacy", "set", ""): preferences.set_privacy,
    ("w:profile:picture", "get", ""): users.get_picture,
    ("w:profile:picture", "set", ""): users.set_picture,
    ("blocklist", "get", ""): preferences.blocklist,
    ("blocklist", "set", ""): preferences.blocklist,
    ("status", "get", "privacy"): preferences.status_privacy,
    ("disappearing_mode", "set", ""): preferences.set_default_timer,
    ("w:mex", "get", ""): mex.graph,
    ("newsletter", "get", "messages"): mex.newsletter_posts,
    ("newsletter", "get", "message_updates"): mex.newsletter_updates,
    ("newsletter", "set", "live_updates"): mex.live_updates,
    ("w:g2", "get", ""): group_queries.answer,
    ("w:g2", "set", ""): group_queries.answer,
}
"""What is answered how. An empty first child stands for any. (`md` concerns the connection: `connection.py`.)"""
