"""A simulated phone: a contact that instances talk to, or the primary phone of a paired account.

A phone is device 0 of its account. Towards clients it encrypts and decrypts like a real one; what it learns goes into
its inbox and to the oracle. Between two phones of ours a one-to-one message is handed over as it is.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox import reading, receipts
from bridge.sandbox.accounts import Account, Device
from bridge.sandbox.appstate import KEY_ID
from bridge.sandbox.groups import Group
from bridge.sandbox.inbox import Received
from bridge.sandbox.moments import Moments
from bridge.sandbox.nodes import GROUP_SERVER, Jid, Node
from bridge.sandbox.relay import Attrs, new_message_id
from bridge.sandbox.signal import SignalDevice
from bridge.sandbox.stanzas import Outside, outside

if TYPE_CHECKING:
    from bridge.sandbox.phones import Phones


class UnknownMessage(BridgeError):
    """This phone neither sent nor received such a message."""

    code = "unknown_message"
    status = 404


class NotAllowed(BridgeError):
    """This phone may not write into the group: it is no member, or only admins may."""

    code = "not_allowed"
    status = 403


class Phone:
    """One phone: what its owner does with it, and what it does by itself."""

    def __init__(self, phones: "Phones", account: Account, signal: SignalDevice | None = None) -> None:
        self.all = phones
        self.account = account
        self.moments = Moments()
        self.asked_again: dict[str, int] = {}
        """How often it asked for a message to be sent again."""
        self._signal = signal
        self._arrival = trio.Event()
        self._told: dict[str, frozenset[Device]] = {}
        """Who has this phone's sender key of a group, since the sandbox started."""

    @property
    def number(self) -> str:
        return self.account.phone

    @property
    def device(self) -> Device:
        return self.account.devices[0]

    @property
    def signal(self) -> SignalDevice:
        """Return its keys and sessions, read from the state when they are first needed."""
        if self._signal is None:
            rows = self.all.state.rows("SELECT name, body FROM signal WHERE phone = ?", self.number)
            self._signal = SignalDevice.restore(dict(rows))
        self.all.note_change(self)
        return self._signal

    def save(self) -> None:
        """Write what changed in keys and sessions since the last time."""
        if self._signal is None:
            return
        for name, body in self._signal.changes().items():
            if body is None:
                self.all.state.run("DELETE FROM signal WHERE phone = ? AND name = ?", self.number, name)
            else:
                self.all.state.run("INSERT OR REPLACE INTO signal VALUES (?, ?, ?)", self.number, name, body)

    def send(self, to: Account | Group, message: "e2e.Message", words: str | None) -> str:
        """Send a message; return its id. `words` are what the oracle compares it by. Raises `NotAllowed`."""
        if isinstance(to, Group) and not self.all.groups.may_send(self.account, to):
            raise NotAllowed(str(to.jid))
        message_id, body, out = new_message_id(), message.SerializeToString(), outside(message)
        attrs: Attrs = {"id": message_id, "type": out.type, "edit": out.edit}
        if isinstance(to, Group):
            chat = to.jid
            content = self._for_group(to, body, out)
        else:
            chat = to.lid
            content = self._for_account(to, message, body, out)
        self.all.inboxes.sent(self.number, message_id, chat, body)
        self.all.relay.message(self.device, Node("message", {**attrs, "to": chat}, content), words)
        if isinstance(to, Account):
            reading.take_content(self.all.phone_of(to), message_id, self.device, self.account.lid, message)
            if not to.linked():
                self.all.note_direct(message_id, self.device, to)
        return message_id

    def say(self, message_ids: list[str], word: str) -> None:
        """Send receipts of that kind for messages in the inbox; raise `UnknownMessage` and `UnknownReceipt`.

        Messages of one author in one chat share a stanza, as they do from a real phone. What ends in `_self` is for the
        other devices of the account, not for the author.
        """
        stanzas: dict[tuple[str, str], list[str]] = {}
        for message_id in message_ids:
            found = self.all.inboxes.find(self.number, message_id)
            if found is None:
                raise UnknownMessage(message_id)
            stanzas.setdefault((found.sender, found.chat), []).append(message_id)
        for (sender, chat), ids in stanzas.items():
            author, where = self.all.accounts.find(Jid.parse(sender)), Jid.parse(chat)
            group = where if where.server == GROUP_SERVER else None
            node = receipts.stanza(self.device, ids, word, group)
            own = word == "sender" or word in receipts.OWN
            if own and group is None:
                mine = author is self.account
                node = node.with_attrs(recipient=where if mine else Jid.parse(sender).bare())
            for device in self._hearers(word, author, Jid.parse(sender)):
                self.all.relay.deliver(device, node)

    def _hearers(self, word: str, author: Account | None, sender: Jid) -> list[Device]:
        """Return whom a receipt of that kind for a message is for."""
        if word == "sender":
            device = self.all.accounts.device(sender)
            return [device] if device is not None and device.account is self.account else []
        account = self.account if word in receipts.OWN else author
        return [device for device in account.devices.values() if device is not self.device] if account else []

    def inbox(self, after: int, limit: int, *, own: bool = False) -> list[Received]:
        """Return what it received behind a cursor, in order; with `own` also what its other devices sent."""
        return self.all.inboxes.after(self.number, after, limit, own=own)

    def forget(self, account: Account, groups: Iterable[Group]) -> None:
        """Lose the sessions with an account's devices: their next message cannot be read, and is asked for again."""
        for device in account.linked():
            self.signal.forget(str(device.lid))
            for group in groups:
                self.signal.forget_sender(str(group.jid), str(device.lid))

    def take(self, node: Node) -> None:
        """Receive a stanza: read a message and confirm it, answer a request to send one again, note the rest."""
        match node.tag:
            case "message":
                reading.take_message(self, node)
            case "receipt" if node.text("type") == "retry":
                self._send_again(node)
            case "receipt":
                self.all.receipts.take(self.number, node)
            case "presence" | "chatstate" | "call":
                self.moments.take(node)
            case _:
                return
        self.wake()

    def wake(self) -> None:
        """Wake who waits for something to arrive."""
        self._arrival.set()
        self._arrival = trio.Event()

    async def arrived(self) -> None:
        """Return when something arrives next."""
        await self._arrival.wait()

    def provision(self, device: Device) -> None:
        """Share the account's app state key with a newly linked device, which then learns the push name."""
        self.all.app_state.set_push_name(self.account)
        message = e2e.Message()
        message.protocolMessage.type = e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE
        key = message.protocolMessage.appStateSyncKeyShare.keys.add()
        key.keyID.keyID = KEY_ID
        key.keyData.keyData = self.account.app_state_key
        key.keyData.timestamp = int(time.time() * 1000)
        key.keyData.fingerprint.rawID = 1
        self.send_peer(device, message)

    def send_peer(self, device: Device, message: "e2e.Message") -> None:
        """Tell a device of this account something that is meant for it alone."""
        entry = self._entry(device, message.SerializeToString())
        attrs: Attrs = {"id": new_message_id(), "type": "text", "category": "peer", "to": device.jid}
        self.all.relay.message(self.device, Node("message", attrs, entry.children()))

    def _for_account(self, to: Account, message: "e2e.Message", body: bytes, out: Outside) -> list[Node]:
        """Return a copy for each device of the account, and for this account's other ones."""
        entries = [self._entry(device, body, out.media_type) for device in to.linked()]
        if to is not self.account and len(self.account.devices) > 1:
            copy = _sent_by_other_device(to.lid, message)
            entries += [self._entry(device, copy, out.media_type) for device in self.account.linked()]
        return [Node("participants", {}, entries), *out.nodes]

    def _for_group(self, group: Group, body: bytes, out: Outside) -> list[Node]:
        """Return one ciphertext for all, and our sender key for those who lack it; a new one when somebody left."""
        signal, name = self.signal, str(group.jid)
        accounts = self.all.groups.members_of(group.jid)
        members = frozenset(d for account in accounts for d in account.devices.values() if d is not self.device)
        told = self._told.get(name, frozenset())
        if told - members:
            signal.renew_group_key(name)
            told = frozenset()
        self._told[name] = members
        entries = []
        if members - told:
            key = self._sender_key(name).SerializeToString()
            entries = [self._entry(device, key) for device in sorted(members - told, key=lambda device: device.name)]
        enc: Attrs = {"v": "2", "type": "skmsg", "mediatype": out.media_type}
        signal.distribution(name)
        ciphertext = signal.encrypt_group(name, body)
        return [Node("participants", {}, entries), Node("enc", enc, ciphertext), *out.nodes]

    def _sender_key(self, group: str) -> "e2e.Message":
        told = e2e.SenderKeyDistributionMessage(groupID=group)
        told.axolotlSenderKeyDistributionMessage = self.signal.distribution(group)
        return e2e.Message(senderKeyDistributionMessage=told)

    def _entry(self, device: Device, body: bytes, media_type: str = "") -> Node:
        """Return a device's copy of a message; a first one opens a session with one of the device's prekeys."""
        address = str(device.lid)
        if not self.signal.has_session(address):
            self.signal.start(address, self.all.bundle(device))
        kind, ciphertext = self.signal.encrypt(address, body)
        enc: Attrs = {"v": "2", "type": kind, "mediatype": media_type}
        return Node("to", {"jid": device.lid}, [Node("enc", enc, ciphertext)])

    def _send_again(self, node: Node) -> None:
        """Answer a retry receipt: begin a new session with that device and send it the same under the same id."""
        chat = node.jid("from")
        device = self.all.accounts.device(node.jid("participant") or chat) if chat else None
        if device is None or chat is None:
            return
        self.signal.start(str(device.lid), self.all.bundle(device))
        message_id = node.text("id")
        sent = self.all.inboxes.body_sent(self.number, message_id)
        if sent is None:
            if device.account is self.account:
                self.provision(device)
            return
        to, body = sent
        message = e2e.Message.FromString(body)
        out = outside(message)
        attrs: Attrs = {"id": message_id, "type": out.type, "edit": out.edit}
        if to.server == GROUP_SERVER:
            attrs |= {"to": to, "participant": device.lid}
            message.MergeFrom(self._sender_key(str(to)))
            body = message.SerializeToString()
        else:
            attrs |= {"to": device.lid, "recipient": to}
            if device.account is self.account:
                body = _sent_by_other_device(to, message)
        content = [*self._entry(device, body, out.media_type).children(), *out.nodes]
        self.all.relay.message(self.device, Node("message", attrs, content))


def _sent_by_other_device(to: Jid, message: "e2e.Message") -> bytes:
    """Return the form in which an account's other devices are told of a message."""
    copy = e2e.DeviceSentMessage(destinationJID=str(to), message=message)
    return bytes(e2e.Message(deviceSentMessage=copy).SerializeToString())
