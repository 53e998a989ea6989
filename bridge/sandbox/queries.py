"""Answers a client's queries (`iq` stanzas): a table from namespace, type and first child to a function.

Each function gets the asking device and the stanza and returns the answer. What is not in the table is answered with an
empty result, which the client takes as "done" or "nothing there".
"""

from collections.abc import Callable, Mapping
from typing import Final

from bridge.sandbox.accounts import Account, Device, SignedPrekey
from bridge.sandbox.certificates import MEDIA_HOST
from bridge.sandbox.keys import xeddsa_verify
from bridge.sandbox.nodes import SERVER, Jid, Node
from bridge.sandbox.relay import Attrs, new_stanza_id, now_text
from bridge.sandbox.world import World

Query = Callable[[World, Device, Node], Node]

_CURVE25519: Final = b"\x05"
"""Signal's type byte of a key."""
_PRIVACY: Final = ("last", "status", "profile", "readreceipts", "groupadd", "online", "calladd")


def answer(world: World, device: Device, node: Node) -> Node:
    """Return the answer to a query of a client that is logged in."""
    namespace, kind = node.text("xmlns"), node.text("type")
    children = node.children()
    first = children[0].tag if children else ""
    query = QUERIES.get((namespace, kind, first)) or QUERIES.get((namespace, kind, "")) or _nothing
    return query(world, device, node)


def result(node: Node, content: list[Node] | None = None) -> Node:
    """Return the answer that says a query succeeded."""
    return Node("iq", {"from": node.jid("to") or SERVER, "type": "result", "id": node.text("id")}, content)


def refusal(node: Node, code: int, text: str) -> Node:
    """Return the answer that says a query failed."""
    attrs: Attrs = {"from": node.jid("to") or SERVER, "type": "error", "id": node.text("id")}
    return Node("iq", attrs, [Node("error", {"code": str(code), "text": text})])


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
    world.accounts.add_prekeys(device, [(_data(key, "id"), _data(key, "value")) for key in keys.children()])
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


def _usync(world: World, device: Device, node: Node) -> Node:
    """Answer about users: LID, devices, whether they are on WhatsApp, about text, picture."""
    asked = node.child("usync")
    if asked is None:
        return refusal(node, 400, "bad-request")
    wanted = [part.tag for part in (asked.child("query") or asked).children()]
    users = [_user(world, device, entry, wanted) for entry in (asked.child("list") or asked).all("user")]
    content = [Node("result", {}, [Node(tag) for tag in wanted]), Node("list", {}, users)]
    return result(node, [Node("usync", dict(asked.attrs), content)])


def _user(world: World, device: Device, entry: Node, wanted: list[str]) -> Node:
    jid = entry.jid("jid")
    number = _data(entry, "contact").decode("utf-8", "replace") if jid is None else ""
    account = world.accounts.find(jid if jid is not None else _number_jid(number))
    if jid is not None:
        attrs: Attrs = {"jid": jid}
    elif account is not None:
        attrs = {"jid": account.lid, "pn_jid": account.jid}
    else:
        attrs = {"pn_jid": _number_jid(number)}
    parts = []
    if number and "contact" in wanted:
        parts.append(Node("contact", {"type": "in" if account else "out"}, number.encode()))
    if account is not None:
        parts += _facts(account, device, wanted)
    return Node("user", attrs, parts)


def _facts(account: Account, asking: Device, wanted: list[str]) -> list[Node]:
    facts = []
    if "devices" in wanted:
        account.listed_by.add(asking)
        devices = [Node("device", {"id": str(n), "key-index": str(n)}) for n in sorted(account.devices)]
        facts.append(Node("devices", {}, [Node("device-list", {"hash": "x"}, devices)]))
    if "lid" in wanted:
        facts.append(Node("lid", {"val": account.lid}))
    if "status" in wanted:
        facts.append(Node("status", {"t": now_text()}, account.about.encode()))
    if "picture" in wanted and account.picture:
        facts.append(Node("picture", {"id": account.picture}))
    return facts


def _media_conn(world: World, device: Device, node: Node) -> Node:
    attrs: Attrs = {"auth": "sandbox", "ttl": "3600", "auth_ttl": "3600", "max_buckets": "12", "id": "1"}
    return result(node, [Node("media_conn", attrs, [Node("host", {"hostname": MEDIA_HOST})])])


def _app_state(world: World, device: Device, node: Node) -> Node:
    collections = []
    for asked in (node.child("sync") or node).all("collection"):
        name = asked.text("name")
        known = int(asked.text("version", "0"))
        patches = world.phones.app_state.patches(device.account, name, known)
        version = patches[-1].version if patches else known
        content = [Node("patches", {}, [Node("patch", {}, patch.body) for patch in patches])] if patches else None
        collections.append(Node("collection", {"name": name, "version": str(version)}, content))
    return result(node, [Node("sync", {}, collections)])


def _privacy(world: World, device: Device, node: Node) -> Node:
    settings = [Node("category", {"name": name, "value": "all"}) for name in _PRIVACY]
    return result(node, [Node("privacy", {}, settings)])


def _set_privacy(world: World, device: Device, node: Node) -> Node:
    changed = node.child("privacy")
    return result(node, [changed] if changed else None)


def _privacy_tokens(world: World, device: Device, node: Node) -> Node:
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


def _picture(world: World, device: Device, node: Node) -> Node:
    target = node.jid("target")
    account = device.account if target is None else world.accounts.find(target)
    if account is None or account.picture is None:
        return refusal(node, 404, "item-not-found")
    path = f"/v/pic-{account.picture}?x=1"
    url = f"https://pps.whatsapp.net{path}"
    return result(node, [Node("picture", {"id": account.picture, "type": "image", "url": url, "direct_path": path})])


def _blocklist(world: World, device: Device, node: Node) -> Node:
    account = device.account
    item = node.child("item")
    jid = item.jid("jid") if item else None
    if item is not None and jid is not None:
        if item.text("action") == "block" and jid not in account.blocked:
            account.blocked.append(jid)
        elif item.text("action") == "unblock" and jid in account.blocked:
            account.blocked.remove(jid)
        world.accounts.save(account)
    items = [Node("item", {"jid": blocked}) for blocked in account.blocked]
    return result(node, [Node("list", {"dhash": "d"}, items)])


def _group(world: World, device: Device, node: Node) -> Node:
    content, code = world.groups.answer(device, node)
    if content is None:
        return refusal(node, code, "item-not-found" if code == 404 else "feature-not-implemented")
    asked = node.children()[0].tag
    if asked == "create":
        _announce_group(world, device, content[0])
    return result(node, content or None)


def _announce_group(world: World, creator: Device, group: Node) -> None:
    """Tell the other members' clients of a new group."""
    jid = Jid.parse(group.text("id") + "@g.us")
    for account in world.groups.members_of(jid):
        for device in account.linked():
            if device is creator:
                continue
            attrs: Attrs = {
                "from": jid,
                "type": "w:gp2",
                "id": new_stanza_id(),
                "t": now_text(),
                "participant": creator.account.lid,
                "participant_pn": creator.account.jid,
                "addressing_mode": "lid",
                "notify": creator.account.name,
            }
            create = Node("create", {"type": "new", "key": new_stanza_id()}, [group])
            world.relay.deliver(device, Node("notification", attrs, [create]))


def _signed_prekey(node: Node | None) -> SignedPrekey | None:
    return None if node is None else SignedPrekey(_data(node, "id"), _data(node, "value"), _data(node, "signature"))


def _is_signed(device: Device, signed: SignedPrekey) -> bool:
    return xeddsa_verify(device.identity, _CURVE25519 + signed.key, signed.signature)


def _data(node: Node, tag: str) -> bytes:
    child = node.child(tag)
    return b"" if child is None else child.data()


def _number_jid(number: str) -> Jid:
    return Jid.parse(number.partition("@")[0].removeprefix("+") + "@s.whatsapp.net")


QUERIES: Final[Mapping[tuple[str, str, str], Query]] = {
    ("encrypt", "get", "count"): _count_prekeys,
    ("encrypt", "get", "key"): _get_keys,
    ("encrypt", "set", "rotate"): _rotate_signed_prekey,
    ("encrypt", "set", ""): _set_prekeys,
    ("passive", "set", ""): _nothing,
    ("w:p", "get", ""): _nothing,
    ("usync", "get", ""): _usync,
    ("w:m", "set", "media_conn"): _media_conn,
    ("w:sync:app:state", "set", ""): _app_state,
    ("privacy", "get", ""): _privacy,
    ("privacy", "set", "tokens"): _privacy_tokens,
    ("privacy", "set", ""): _set_privacy,
    ("w:profile:picture", "get", ""): _picture,
    ("blocklist", "get", ""): _blocklist,
    ("blocklist", "set", ""): _blocklist,
    ("w:g2", "get", ""): _group,
    ("w:g2", "set", ""): _group,
}
"""What is answered how. An empty first child stands for any. (`md` concerns the connection: `connection.py`.)"""
