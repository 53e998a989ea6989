"""Answers graph queries (`w:mex`), which have a number and variables as JSON, and queries about newsletters' posts.

The numbers are those of whatsmeow (`newsletter.go`, `user.go`). An unknown one is answered with an error, which a
client reports by its text.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.sandbox.accounts import Device
from bridge.sandbox.answers import refusal, result
from bridge.sandbox.newsletters import LIVE_S, UnknownNewsletter, describe, message_node
from bridge.sandbox.nodes import Node
from bridge.sandbox.world import World

Variables = Mapping[str, Any]
Graph = Callable[[World, Device, Variables], object]


def graph(world: World, device: Device, node: Node) -> Node:
    """Answer a graph query."""
    query = node.child("query")
    if query is None:
        return refusal(node, 400, "bad-request")
    asked = _GRAPHS.get(query.text("query_id"))
    try:
        variables = json.loads(query.data())["variables"]
        data = asked(world, device, variables) if asked is not None else None
        answered = {"data": data, "errors": []} if asked is not None else _error(501, "unknown query")
    except (KeyError, TypeError, ValueError):
        answered = _error(400, "malformed variables")
    except UnknownNewsletter as error:
        answered = _error(404, str(error))
    return result(node, [Node("result", {}, json.dumps(answered).encode())])


def _error(code: int, text: str) -> dict[str, object]:
    extensions = {"error_code": code, "is_retryable": False, "severity": "CRITICAL"}
    return {"data": None, "errors": [{"message": text, "path": [], "extensions": extensions}]}


def newsletter_posts(world: World, device: Device, node: Node) -> Node:
    """Answer with a newsletter's posts, the newest `count` in front of `before`."""
    asked = node.child("messages")
    jid = asked.jid("jid") if asked else None
    if asked is None or jid is None:
        return refusal(node, 400, "bad-request")
    before = int(asked.text("before", "0")) or float("inf")
    try:
        posts = [post for post in world.newsletters.find(jid.user).posts if post.server_id < before]
    except UnknownNewsletter:
        return refusal(node, 404, "item-not-found")
    newest = posts[-int(asked.text("count", "50")) :]
    return result(node, [Node("messages", {"t": "0"}, [message_node(post, with_body=True) for post in newest])])


def newsletter_updates(world: World, device: Device, node: Node) -> Node:
    """Answer with reactions and views of a newsletter's posts behind `after`."""
    asked = node.child("message_updates") or node
    jid = node.jid("to")
    try:
        posts = world.newsletters.find(jid.user if jid else "").posts
    except UnknownNewsletter:
        return refusal(node, 404, "item-not-found")
    after = int(asked.text("after", "0"))
    behind = [post for post in posts if post.server_id > after][: int(asked.text("count", "50"))]
    inside = Node("messages", {}, [message_node(post, with_body=False) for post in behind])
    return result(node, [Node("message_updates", {}, [inside])])


def live_updates(world: World, device: Device, node: Node) -> Node:
    """Begin to tell a client of reactions and views."""
    jid = node.jid("to")
    try:
        world.newsletters.subscribe(world.newsletters.find(jid.user if jid else ""), device)
    except UnknownNewsletter:
        return refusal(node, 404, "item-not-found")
    return result(node, [Node("live_updates", {"duration": str(LIVE_S)})])


def _fetch(world: World, device: Device, variables: Variables) -> object:
    found = world.newsletters.find(variables["input"]["key"])
    seen_by = device.account if variables["fetch_viewer_metadata"] else None
    return {"xwa2_newsletter": describe(found, seen_by)}


def _followed(world: World, device: Device, variables: Variables) -> object:
    followed = world.newsletters.followed_by(device.account)
    return {"xwa2_newsletter_subscribed": [describe(newsletter, device.account) for newsletter in followed]}


def _create(world: World, device: Device, variables: Variables) -> object:
    asked = variables["newsletter_input"]
    made = world.newsletters.create(asked["name"], asked.get("description", ""), device.account)
    return {"xwa2_newsletter_create": describe(made, device.account)}


def _follow(world: World, device: Device, variables: Variables) -> object:
    newsletter = world.newsletters.find(variables["newsletter_id"])
    world.newsletters.follow(newsletter, device.account)
    return {"xwa2_newsletter_join_v2": describe(newsletter, device.account)}


def _unfollow(world: World, device: Device, variables: Variables) -> object:
    newsletter = world.newsletters.find(variables["newsletter_id"])
    world.newsletters.unfollow(newsletter, device.account)
    return {"xwa2_newsletter_leave_v2": {"id": str(newsletter.jid)}}


def _mute(muted: bool) -> Graph:
    def change(world: World, device: Device, variables: Variables) -> object:
        newsletter = world.newsletters.find(variables["newsletter_id"])
        world.newsletters.mute(newsletter, device.account, muted)
        return {"xwa2_newsletter_update": describe(newsletter, None)}

    return change


def _set_about(world: World, device: Device, variables: Variables) -> object:
    world.profiles.set_about(device.account, variables["input"]["text"] or "")
    return {"xwa2_update_text_status": {"status": "SUCCESS"}}


_GRAPHS: Final[Mapping[str, Graph]] = {
    "6563316087068696": _fetch,
    "6388546374527196": _followed,
    "6234210096708695": _create,
    "9926858900719341": _follow,
    "6392786840836363": _unfollow,
    "6274038279359549": _mute(True),
    "6068417879924485": _mute(False),
    "9152604461510864": _set_about,
}
