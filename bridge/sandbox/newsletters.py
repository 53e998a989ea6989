"""Newsletters (channels): who follows which, what was posted, and what of that their followers' clients are told.

A post goes to every follower in the clear, as everything in a newsletter. It has two names: the message id, and a
number that counts a newsletter's posts, by which reactions and views speak of it.
"""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.nodes import Jid, Node
from bridge.sandbox.relay import Attrs, Relay, new_message_id, new_stanza_id, now_text
from bridge.sandbox.state import State

NEWSLETTER_SERVER: Final = "newsletter"
LIVE_S: Final = 300
"""How long a client is told of reactions and views once it has asked; whatsmeow calls it the duration."""
_FIRST_ID: Final = 120363400000000001


class UnknownNewsletter(BridgeError):
    """There is no such newsletter or post in the sandbox."""

    code = "unknown_newsletter"
    status = 404


@dataclass(slots=True)
class Post:
    """A message of a newsletter. `reactions` maps an account to what it reacted with."""

    server_id: int
    id: str
    text: str
    at: int
    views: int = 0
    reactions: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return bytes(e2e.Message(conversation=self.text).SerializeToString())

    def counts(self) -> dict[str, int]:
        """Return how often each reaction was given."""
        given = list(self.reactions.values())
        return {code: given.count(code) for code in dict.fromkeys(given)}


@dataclass(slots=True)
class Newsletter:
    """A newsletter. `roles` maps the phone numbers of its owner and followers to `owner` and `subscriber`."""

    id: str
    name: str
    description: str
    invite: str
    created: int
    roles: dict[str, str] = field(default_factory=dict)
    muted: list[str] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)

    @property
    def jid(self) -> Jid:
        return Jid(self.id, NEWSLETTER_SERVER)


class Newsletters:
    """All newsletters, in memory and in the state."""

    def __init__(self, state: State, accounts: Accounts, relay: Relay) -> None:
        self._state = state
        self._accounts = accounts
        self._relay = relay
        self._live: dict[str, dict[Device, float]] = {}
        self._all: dict[str, Newsletter] = {}
        for (text,) in state.rows("SELECT body FROM newsletter ORDER BY id"):
            body = json.loads(text)
            body["posts"] = [Post(**post) for post in body["posts"]]
            self._all[body["id"]] = Newsletter(**body)

    def __iter__(self) -> Iterator[Newsletter]:
        return iter(list(self._all.values()))

    def find(self, key: str) -> Newsletter:
        """Return the newsletter with this id, address or invite code; raise `UnknownNewsletter`."""
        user = key.partition("@")[0].rpartition("/")[2]
        for newsletter in self._all.values():
            if user in {newsletter.id, newsletter.invite}:
                return newsletter
        raise UnknownNewsletter(key)

    def followed_by(self, account: Account) -> list[Newsletter]:
        return [newsletter for newsletter in self._all.values() if account.phone in newsletter.roles]

    def create(self, name: str, description: str, owner: Account | None) -> Newsletter:
        """Make a newsletter; without an owner the sandbox itself posts to it."""
        number = str(_FIRST_ID + len(self._all))
        newsletter = Newsletter(number, name, description, "00" + secrets.token_hex(10), int(time.time()))
        if owner is not None:
            newsletter.roles[owner.phone] = "owner"
        self._all[number] = newsletter
        self.save(newsletter)
        return newsletter

    def save(self, newsletter: Newsletter) -> None:
        body = json.dumps(asdict(newsletter), ensure_ascii=False)
        self._state.run("INSERT OR REPLACE INTO newsletter VALUES (?, ?)", newsletter.id, body)

    def follow(self, newsletter: Newsletter, account: Account) -> None:
        """Make an account a follower, and tell its clients."""
        newsletter.roles.setdefault(account.phone, "subscriber")
        self.save(newsletter)
        self._tell(account, "xwa2_notify_newsletter_on_join", describe(newsletter, account))

    def unfollow(self, newsletter: Newsletter, account: Account) -> None:
        """Let a follower go, and tell its clients; an owner stays."""
        if newsletter.roles.get(account.phone) != "owner":
            newsletter.roles.pop(account.phone, None)
            self.save(newsletter)
        self._tell(account, "xwa2_notify_newsletter_on_leave", {"id": str(newsletter.jid), "role": "GUEST"})

    def mute(self, newsletter: Newsletter, account: Account, muted: bool) -> None:
        """Change whether a follower's phone makes a sound for it, and tell the follower's clients."""
        newsletter.muted = [phone for phone in newsletter.muted if phone != account.phone]
        if muted:
            newsletter.muted.append(account.phone)
        self.save(newsletter)
        change = {"id": str(newsletter.jid), "mute": "ON" if muted else "OFF"}
        self._tell(account, "xwa2_notify_newsletter_on_mute_change", change)

    def post(self, newsletter: Newsletter, text: str, by: Device | None = None, message_id: str = "") -> Post:
        """Publish a text, which all followers' clients but the one that did it receive."""
        post = Post(len(newsletter.posts) + 100, message_id or new_message_id(), text, int(time.time()))
        newsletter.posts.append(post)
        self.save(newsletter)
        attrs: Attrs = {
            "from": newsletter.jid,
            "id": post.id,
            "type": "text",
            "server_id": str(post.server_id),
            "t": now_text(),
        }
        stanza = Node("message", attrs, [Node("plaintext", {}, post.body)])
        for device in self._clients(newsletter):
            if device is not by:
                self._relay.deliver(device, stanza)
        return post

    def take(self, device: Device, node: Node) -> Attrs:
        """Take what a client posts or reacts with; return what the acknowledgement says of it."""
        to = node.jid("to")
        try:
            newsletter = self.find(to.user if to else "")
            reaction = node.child("reaction")
            if reaction is not None:
                self.react(newsletter, int(node.text("server_id", "0")), device.account, reaction.text("code"))
                return {"t": now_text()}
        except UnknownNewsletter:
            return {"t": now_text(), "error": "404"}
        if newsletter.roles.get(device.account.phone) != "owner":
            return {"t": now_text(), "error": "403"}
        plaintext = node.child("plaintext")
        message = e2e.Message.FromString(plaintext.data() if plaintext else b"")
        text = message.conversation or message.extendedTextMessage.text
        post = self.post(newsletter, text, device, node.text("id"))
        return {"t": now_text(), "server_id": str(post.server_id)}

    def subscribe(self, newsletter: Newsletter, device: Device) -> None:
        """Tell a client of reactions and views for a while."""
        self._live.setdefault(newsletter.id, {})[device] = time.monotonic() + LIVE_S

    def react(self, newsletter: Newsletter, server_id: int, account: Account, code: str) -> Post:
        """Set or remove (an empty code) an account's reaction; raise `UnknownNewsletter` for a post that is not there.

        Those who have subscribed to live updates are told.
        """
        post = self.posted(newsletter, server_id)
        post.reactions.pop(account.phone, None)
        if code:
            post.reactions[account.phone] = code
        self._updated(newsletter, post)
        return post

    def view(self, receipt: Node) -> None:
        """Count a view of each post that a client's receipt names; of one that is not there nothing."""
        to = receipt.jid("to")
        try:
            newsletter = self.find(to.user if to else "")
            for item in (receipt.child("list") or receipt).all("item"):
                post = self.posted(newsletter, int(item.text("server_id", "0")))
                post.views += 1
                self._updated(newsletter, post)
        except UnknownNewsletter:
            return

    def posted(self, newsletter: Newsletter, server_id: int) -> Post:
        """Return a post by its number; raise `UnknownNewsletter`."""
        for post in newsletter.posts:
            if post.server_id == server_id:
                return post
        raise UnknownNewsletter(f"post {server_id}")

    def _updated(self, newsletter: Newsletter, post: Post) -> None:
        self.save(newsletter)
        now = time.monotonic()
        subscribed = self._live.get(newsletter.id, {})
        for device in [device for device, until in subscribed.items() if until > now]:
            attrs: Attrs = {"from": newsletter.jid, "type": "newsletter", "id": new_stanza_id(), "t": now_text()}
            inside = Node("live_updates", {}, [message_node(post, with_body=False)])
            self._relay.deliver(device, Node("notification", attrs, [inside]))

    def _clients(self, newsletter: Newsletter) -> list[Device]:
        accounts = [self._accounts.by_phone(phone) for phone in newsletter.roles]
        return [device for account in accounts for device in account.linked()]

    def _tell(self, account: Account, kind: str, value: object) -> None:
        content = json.dumps({"data": {kind: value}}).encode()
        for device in account.linked():
            attrs: Attrs = {"from": Jid("", "s.whatsapp.net"), "type": "mex", "id": new_stanza_id(), "t": now_text()}
            update = Node("update", {"op_name": "NotificationNewsletter"}, content)
            self._relay.deliver(device, Node("notification", attrs, [update]))


def message_node(post: Post, *, with_body: bool) -> Node:
    """Return a post as it stands in answers, and without its text in live updates."""
    reactions = [Node("reaction", {"code": code, "count": str(count)}) for code, count in post.counts().items()]
    content = [Node("views_count", {"count": str(post.views)}), Node("reactions", {}, reactions)]
    if with_body:
        content.insert(0, Node("plaintext", {}, post.body))
    attrs: Attrs = {"server_id": str(post.server_id), "id": post.id, "type": "text", "t": str(post.at)}
    return Node("message", attrs, content)


def describe(newsletter: Newsletter, viewer: Account | None) -> dict[str, object]:
    """Return a newsletter as WhatsApp's graph queries answer it."""

    def text(content: str) -> dict[str, str]:
        return {"text": content, "id": "1", "update_time": str(newsletter.created * 1_000_000)}

    described: dict[str, object] = {
        "id": str(newsletter.jid),
        "state": {"type": "ACTIVE"},
        "thread_metadata": {
            "creation_time": str(newsletter.created),
            "invite": newsletter.invite,
            "name": text(newsletter.name),
            "description": text(newsletter.description),
            "subscribers_count": str(len(newsletter.roles)),
            "verification": "UNVERIFIED",
            "picture": None,
            "preview": {"url": "", "id": "", "type": "PREVIEW", "direct_path": ""},
            "settings": {"reaction_codes": {"value": "all"}},
        },
    }
    if viewer is not None:
        role = newsletter.roles.get(viewer.phone, "guest")
        muted = viewer.phone in newsletter.muted
        described["viewer_metadata"] = {"mute": "ON" if muted else "OFF", "role": role.upper()}
    return described
