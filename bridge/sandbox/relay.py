"""Hands stanzas on: messages, receipts and notifications, to devices that are there now or will be later.

What must reach a device is written to its pending list first and leaves that list when the device acknowledges it.
So the offline queue, what is on its way, and what a lost connection left unanswered are one thing: a device that logs
in and asks for stanzas gets the whole list again, in order. The client never asks for anything twice by itself.

Nothing here waits: a connection sends what was posted to it once the state is committed (`state.py`).
"""

import secrets
import time
from collections.abc import Iterable
from typing import Final, Protocol

from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.nodes import GROUP_SERVER, SERVER, Jid, Node, Value, decode, encode
from bridge.sandbox.oracle import Oracle
from bridge.sandbox.state import State

_KEPT: Final = frozenset({"message", "receipt", "notification"})
"""Stanzas that a device acknowledges; the others (presence, typing) are of the moment."""
_ENVELOPE: Final = frozenset({"participants", "device-identity", "tctoken", "cstoken", "reporting", "enc"})
"""Children of a message that are for the server, or that are put together anew for each device."""
_CARRIED: Final = ("id", "type", "edit", "category")

Attrs = dict[str, Value | None]


class Members(Protocol):
    """Who is in a group, as far as a message to it is concerned."""

    def members_of(self, group: Jid) -> Iterable[Account]:
        """Return the accounts in a group, none if there is no such group."""


def new_message_id() -> str:
    """Return an id in the form that phones give their messages."""
    return "3A" + secrets.token_hex(9).upper()


def new_stanza_id() -> str:
    """Return an id for a notification."""
    return secrets.token_hex(8).upper()


def now_text() -> str:
    """Return the time as stanzas carry it, in whole seconds."""
    return str(int(time.time()))


class Relay:
    """The way between devices."""

    def __init__(self, state: State, accounts: Accounts, oracle: Oracle, members: Members) -> None:
        self._state = state
        self._accounts = accounts
        self._oracle = oracle
        self._members = members

    def deliver(self, device: Device, node: Node) -> None:
        """Give a stanza to a device: to the phone at once, to a client now or when it asks next."""
        self._deliver(device, node, _key(node))

    def _deliver(self, device: Device, node: Node, key: str) -> None:
        if device.handset is not None:
            device.handset.take(node)
            return
        stanza = encode(node)
        if node.tag in _KEPT:
            self._state.run("INSERT INTO pending (device, key, stanza) VALUES (?, ?, ?)", device.name, key, stanza)
        if device.link is not None:
            device.link.post(stanza)

    def pending(self, device: Device, after: int = 0, limit: int = 200) -> list[tuple[int, Node]]:
        """Return what a device has not acknowledged, in order, behind a place in that order."""
        rows = self._state.rows(
            "SELECT seq, stanza FROM pending WHERE device = ? AND seq > ? ORDER BY seq LIMIT ?",
            device.name,
            after,
            limit,
        )
        return [(seq, decode(stanza)) for seq, stanza in rows]

    def count_pending(self, device: Device) -> int:
        row = self._state.one("SELECT count(*) FROM pending WHERE device = ?", device.name)
        return int(row[0]) if row else 0

    def message(self, sender: Device, node: Node, text: str | None = None) -> None:
        """Relay a message to every device that it has a copy for; one that this device already sent is not repeated."""
        to = node.jid("to")
        if to is None:
            return
        if node.text("category") == "peer":
            self._to_own_device(sender, to, node)
        elif to.server != GROUP_SERVER and (to.device or node.child("enc") is not None):
            self._again(sender, to, node)
        elif to.server == GROUP_SERVER and node.jid("participant") is not None:
            self._again_in_group(sender, to, node)
        else:
            recipient = self._accounts.find(to)
            seq = self._oracle.sent(
                node.text("id"),
                device=sender.name,
                sender=sender.account.phone,
                recipient=recipient.phone if recipient else str(to),
                kind=node.text("type"),
                text=text,
            )
            if seq is None:
                return
            if to.server == GROUP_SERVER:
                self._to_group(sender, to, node, seq)
            else:
                self._to_account(sender, to, recipient, node, seq)

    def acknowledge(self, device: Device, message_ids: Iterable[str]) -> None:
        """Take messages off a device's pending list: it has read them."""
        for message_id in message_ids:
            if self._forget(device, _message_key(message_id)) or self._forget(device, _resent_key(message_id)):
                self._oracle.acknowledged(message_id, device.name)

    def accept_ack(self, device: Device, node: Node) -> None:
        """Handle the `ack` by which a client confirms a stanza.

        For a message it comes in the place of a receipt, when the client could not read it, and does not concern a
        copy that was sent again meanwhile.
        """
        kind = node.text("class")
        if kind == "message":
            message_id = node.text("id")
            if self._forget(device, _message_key(message_id)):
                self._oracle.acknowledged(message_id, device.name)
        else:
            self._forget(device, _ack_key(node))

    def receipt(self, device: Device, node: Node) -> None:
        """Handle a receipt: it acknowledges messages, and goes on to whoever sent them."""
        to = node.jid("to")
        kind = node.text("type")
        ids = [node.text("id"), *(item.text("id") for item in (node.child("list") or node).all("item"))]
        if kind == "retry":
            for message_id in ids:
                self._forget(device, _message_key(message_id))
                self._forget(device, _resent_key(message_id))
                self._oracle.withdrawn(message_id, device.name)
        else:
            self.acknowledge(device, ids)
        if to is None:
            return
        self._receipt_on(device, to, kind, node)

    def _receipt_on(self, device: Device, to: Jid, kind: str, node: Node) -> None:
        attrs: Attrs = {"id": node.text("id"), "t": now_text(), "type": kind, "recipient": node.attrs.get("recipient")}
        if to.server == GROUP_SERVER:
            author = node.jid("participant")
            attrs.update({"from": to, "participant": device.lid})
        else:
            author = to
            attrs["from"] = device.lid
        account = self._accounts.find(author) if author else None
        if account is None or author is None:
            return
        one = account.devices.get(author.device) if kind == "retry" else None
        for target in [one] if one else list(account.devices.values()):
            if target is not device:
                self.deliver(target, Node("receipt", dict(attrs), node.content))

    def _forget(self, device: Device, key: str) -> bool:
        return self._state.run("DELETE FROM pending WHERE device = ? AND key = ?", device.name, key) > 0

    def _to_own_device(self, sender: Device, to: Jid, node: Node) -> None:
        device = self._accounts.device(to)
        if device is not None and device.account is sender.account:
            identity = node.child("device-identity")
            inside = node.all("enc") + ([identity] if identity else [])
            self.deliver(device, Node("message", {"from": sender.jid, **_carried(sender, node)}, inside))

    def _again(self, sender: Device, to: Jid, node: Node) -> None:
        """Relay what a client sends to one device because that device could not read it the first time."""
        device = self._accounts.device(to)
        if device is None:
            return
        attrs = _addressed(sender, device, self._accounts.find(node.jid("recipient") or to), _carried(sender, node))
        again = Node("message", attrs, _for_device(node, node.all("enc"), []))
        self._deliver(device, again, _resent_key(node.text("id")))

    def _again_in_group(self, sender: Device, to: Jid, node: Node) -> None:
        """Relay what is sent to one member's device because it could not read the one for all."""
        asking = node.jid("participant")
        device = self._accounts.device(asking) if asking else None
        if device is not None:
            again = Node("message", _in_group(sender, to, node), _for_device(node, node.all("enc"), []))
            self._deliver(device, again, _resent_key(node.text("id")))

    def _to_account(self, sender: Device, to: Jid, recipient: Account | None, node: Node, seq: int) -> None:
        carried = _carried(sender, node)
        shared = [child for child in node.children() if child.tag not in _ENVELOPE]
        blocked = recipient is not None and sender.account.lid in recipient.blocked
        for jid, copies in _participants(node):
            device = self._accounts.device(jid)
            if device is None or device is sender or (blocked and device.account is recipient):
                continue
            attrs = _addressed(sender, device, recipient, carried, to)
            self._copy(device, seq, recipient)
            self.deliver(device, Node("message", attrs, _for_device(node, copies, shared)))

    def _to_group(self, sender: Device, to: Jid, node: Node, seq: int) -> None:
        shared = [child for child in node.children() if child.tag not in _ENVELOPE]
        own = {str(jid): copies for jid, copies in _participants(node)}
        attrs = _in_group(sender, to, node)
        for account in self._members.members_of(to):
            for device in list(account.devices.values()):
                if device is sender:
                    continue
                copies = own.get(str(device.lid)) or own.get(str(device.jid)) or []
                self._copy(device, seq, account)
                inside = _for_device(node, [*copies, *node.all("enc")], shared)
                self.deliver(device, Node("message", attrs, inside))

    def _copy(self, device: Device, seq: int, recipient: Account | None) -> None:
        if device.number or (device.account is recipient and not device.account.linked()):
            self._oracle.relayed(seq, device.name)


def _key(node: Node) -> str:
    """Return what a stanza and its acknowledgement have in common."""
    if node.tag == "message":
        return _message_key(node.text("id"))
    return " ".join((node.tag, node.text("id"), node.text("type"), node.text("from"), node.text("participant")))


def _ack_key(ack: Node) -> str:
    return " ".join((ack.text("class"), ack.text("id"), ack.text("type"), ack.text("to"), ack.text("participant")))


def _message_key(message_id: str) -> str:
    return "message " + message_id


def _resent_key(message_id: str) -> str:
    return "resent " + message_id


def _carried(sender: Device, node: Node) -> Attrs:
    carried: Attrs = {name: node.attrs[name] for name in _CARRIED if name in node.attrs}
    return {**carried, "t": now_text(), "notify": sender.account.name}


def _in_group(sender: Device, group: Jid, node: Node) -> Attrs:
    """Return the attributes of a message to a group: its members are known by their LIDs."""
    return {
        "from": group,
        "participant": sender.lid,
        "participant_pn": sender.account.jid,
        "addressing_mode": "lid",
        **_carried(sender, node),
    }


def _addressed(
    sender: Device, device: Device, recipient: Account | None, carried: Attrs, to: Jid | None = None
) -> Attrs:
    """Return the attributes of one device's copy: own devices are told the recipient, others the sender's number."""
    attrs: Attrs = {"from": sender.lid, **carried}
    if device.account is sender.account:
        attrs["recipient"] = to or (recipient.lid if recipient else SERVER)
        attrs["peer_recipient_pn"] = recipient.jid if recipient else None
    else:
        attrs["sender_pn"] = sender.account.jid
    return attrs


def _participants(node: Node) -> list[tuple[Jid, list[Node]]]:
    participants = node.child("participants")
    found = []
    for entry in participants.children() if participants else []:
        jid = entry.jid("jid")
        if jid is not None:
            found.append((jid, entry.children()))
    return found


def _for_device(node: Node, copies: list[Node], shared: list[Node]) -> list[Node]:
    """Return the content of one device's message; a session's first message comes with the sender's identity."""
    identity = node.child("device-identity")
    opens = any(copy.attrs.get("type") == "pkmsg" for copy in copies)
    return [*copies, *([identity] if identity and opens else []), *shared]
