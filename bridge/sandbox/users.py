"""Answers queries about people: who is behind a number, their devices, LID, about text, picture, business name."""

from typing import Final

from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.answers import data_of, refusal, result
from bridge.sandbox.group_changes import Asked, GroupRefused
from bridge.sandbox.group_notices import carry_out
from bridge.sandbox.groups import Group
from bridge.sandbox.nodes import GROUP_SERVER, Jid, Node
from bridge.sandbox.profiles import MAX_PICTURE_BYTES, certificate, picture_url
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.spellings import other_spelling
from bridge.sandbox.world import World

_JPEG: Final = b"\xff\xd8\xff"


def usync(world: World, device: Device, node: Node) -> Node:
    """Answer about users: whether they are on WhatsApp, LID, devices, about text, picture, business, timer."""
    asked = node.child("usync")
    if asked is None:
        return refusal(node, 400, "bad-request")
    wanted = [part.tag for part in (asked.child("query") or asked).children()]
    users = [_user(world, device, entry, wanted) for entry in (asked.child("list") or asked).all("user")]
    content = [Node("result", {}, [Node(tag) for tag in wanted]), Node("list", {}, users)]
    return result(node, [Node("usync", dict(asked.attrs), content)])


def _user(world: World, device: Device, entry: Node, wanted: list[str]) -> Node:
    jid = entry.jid("jid")
    number = data_of(entry, "contact").decode("utf-8", "replace") if jid is None else ""
    account = world.accounts.find(jid) if jid is not None else _written(world, _number(number))
    if jid is not None:
        attrs: Attrs = {"jid": jid}
    elif account is not None:
        attrs = {"jid": account.lid, "pn_jid": account.jid}
    else:
        attrs = {"pn_jid": _jid(_number(number))}
    parts = []
    if number and "contact" in wanted:
        parts.append(Node("contact", {"type": "in" if account else "out"}, number.encode()))
    if account is not None:
        parts += _facts(world, account, device, wanted)
    return Node("user", attrs, parts)


def _written(world: World, number: str) -> Account | None:
    """Return the account of a number, also when it is registered under another spelling."""
    found = world.accounts.find(_jid(number))
    other = other_spelling(number)
    return found if found is not None or other is None else world.accounts.find(_jid(other))


def _facts(world: World, account: Account, asking: Device, wanted: list[str]) -> list[Node]:
    profile = world.profiles.of(account)
    facts = []
    if "business" in wanted and profile.verified_name:
        attrs: Attrs = {"v": "2", "verified_level": "low", "host_storage": "1", "actual_actors": "1"}
        name = Node("verified_name", {**attrs, "privacy_mode_ts": now_text()}, certificate(profile.verified_name))
        facts.append(Node("business", {}, [name]))
    if "devices" in wanted:
        account.listed_by.add(asking)
        devices = [Node("device", {"id": str(n), "key-index": str(n)}) for n in sorted(account.devices)]
        facts.append(Node("devices", {}, [Node("device-list", {"hash": "x"}, devices)]))
    if "lid" in wanted:
        facts.append(Node("lid", {"val": account.lid}))
    if "status" in wanted:
        if _shows(world, account, "status", asking):
            facts.append(Node("status", {"t": now_text()}, account.about.encode()))
        else:
            facts.append(Node("status", {"code": "401", "type": "fail"}))
    if "picture" in wanted and account.picture and _shows(world, account, "profile", asking):
        facts.append(Node("picture", {"id": account.picture}))
    if "disappearing_mode" in wanted:
        timer: Attrs = {"duration": str(profile.disappearing_s), "t": str(profile.disappearing_at)}
        facts.append(Node("disappearing_mode", timer))
    return facts


def _shows(world: World, account: Account, setting: str, asking: Device) -> bool:
    """Say whether an account lets the asking one see this. Address books are not simulated: contacts may see it."""
    if asking.account is account:
        return True
    return world.profiles.of(account).privacy[setting] != "none" and asking.account.lid not in account.blocked


def get_picture(world: World, device: Device, node: Node) -> Node:
    """Answer with the URL of a profile picture, of one's own without a target."""
    target = node.jid("target")
    asked = node.child("picture")
    group = world.groups.find(target) if target is not None and target.server == GROUP_SERVER else None
    if group is not None:
        return _shown(node, asked, group.picture) if group.picture else refusal(node, 404, "item-not-found")
    account = device.account if target is None else world.accounts.find(target)
    if account is None or account.picture is None:
        return refusal(node, 404, "item-not-found")
    if not _shows(world, account, "profile", device):
        return refusal(node, 401, "not-authorized")
    account.listed_by.add(device)
    return _shown(node, asked, account.picture)


def _shown(node: Node, asked: Node | None, picture: str) -> Node:
    """Return the answer that says where a picture is, or that it is still the one that the client has."""
    if asked is not None and asked.text("id") == picture:
        return result(node, [Node("picture", {"status": "304"})])
    url, path = picture_url(picture)
    kind = "image" if asked is None else asked.text("type", "image")
    return result(node, [Node("picture", {"id": picture, "type": kind, "url": url, "direct_path": path})])


def set_picture(world: World, device: Device, node: Node) -> Node:
    """Change or remove one's own profile picture, or that of a group."""
    picture = data_of(node, "picture")
    if picture and (not picture.startswith(_JPEG) or len(picture) > MAX_PICTURE_BYTES):
        return refusal(node, 406, "not-acceptable")
    target = node.jid("target")
    group = world.groups.find(target) if target is not None and target.server == GROUP_SERVER else None
    if group is not None:
        return _set_group_picture(world, device, node, group, picture)
    changed = world.profiles.set_picture(device.account, picture or None)
    return result(node, [Node("picture", {"id": changed})] if changed else None)


def _set_group_picture(world: World, device: Device, node: Node, group: Group, picture: bytes) -> Node:
    try:
        changed = world.profiles.keep_picture(picture) if picture else ""
        carry_out(world, group, "picture", Asked(device.account, id=changed))
    except GroupRefused as error:
        return refusal(node, error.wire, "forbidden")
    return result(node, [Node("picture", {"id": changed})] if changed else None)


def _number(written: str) -> str:
    return written.partition("@")[0].removeprefix("+")


def _jid(number: str) -> Jid:
    return Jid.parse(number + "@s.whatsapp.net")
