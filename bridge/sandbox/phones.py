"""Simulated phones: the contacts that instances talk to, and the primary phone of every paired account.

A phone is device 0 of its account. Towards clients it encrypts and decrypts like a real one; what it learns goes into
its inbox and to the oracle. Between two phones of ours a text is handed over as it is.
"""

import random
import time
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox.accounts import Account, Accounts, Device, SignedPrekey
from bridge.sandbox.appstate import KEY_ID, AppState
from bridge.sandbox.groups import Group, Groups
from bridge.sandbox.nodes import GROUP_SERVER, Jid, Node
from bridge.sandbox.oracle import Oracle
from bridge.sandbox.relay import Attrs, Relay, new_message_id, now_text
from bridge.sandbox.signal import DeviceKeys, Duplicate, PreKeyBundle, SignalDevice, SignalError
from bridge.sandbox.state import State

log = structlog.get_logger()

_PREKEYS: Final = 20
"""One-time prekeys of a contact; further sessions are begun without one, which clients accept."""


class UnknownMessage(BridgeError):
    """This phone did not receive such a message."""

    code = "unknown_message"
    status = 404


class NotANumber(BridgeError):
    """A phone number has 6 to 15 digits."""

    code = "bad_phone"
    status = 400


@dataclass(frozen=True, slots=True)
class Received:
    """A text in a phone's inbox. `sender` and `chat` are LIDs; `cursor` is its place among all."""

    cursor: int
    id: str
    sender: str
    chat: str
    text: str
    at: float


class Phone:
    """One phone: what its owner does with it, and what it does by itself."""

    def __init__(self, phones: "Phones", account: Account, signal: SignalDevice | None = None) -> None:
        self._all = phones
        self.account = account
        self._signal = signal
        self._arrival = trio.Event()

    @property
    def device(self) -> Device:
        return self.account.devices[0]

    @property
    def signal(self) -> SignalDevice:
        """Return its keys and sessions, read from the state when they are first needed."""
        if self._signal is None:
            rows = self._all.state.rows("SELECT name, body FROM signal WHERE phone = ?", self.account.phone)
            self._signal = SignalDevice.restore(dict(rows))
        self._all.note_change(self)
        return self._signal

    def save(self) -> None:
        """Write what changed in keys and sessions since the last time."""
        if self._signal is None:
            return
        for name, body in self._signal.changes().items():
            if body is None:
                self._all.state.run("DELETE FROM signal WHERE phone = ? AND name = ?", self.account.phone, name)
            else:
                self._all.state.run("INSERT OR REPLACE INTO signal VALUES (?, ?, ?)", self.account.phone, name, body)

    def send_text(self, to: Account, text: str) -> str:
        """Send a text to an account: to each of its devices, and to this account's other ones. Return the id."""
        message_id = new_message_id()
        message = e2e.Message(conversation=text)
        body = message.SerializeToString()
        entries = [self._entry(device, body) for device in to.linked()]
        if to is not self.account and len(self.account.devices) > 1:
            copy = _sent_by_other_device(to.lid, message)
            entries += [self._entry(device, copy) for device in self.account.linked()]
        attrs: Attrs = {"id": message_id, "type": "text", "to": to.lid}
        self._all.relay.message(self.device, Node("message", attrs, [Node("participants", {}, entries)]), text)
        self._all.phone_of(to).take_text(message_id, self.device, self.account.lid, text)
        if not to.linked():
            self._all.note_direct(message_id, self.device, to)
        return message_id

    def send_group_text(self, group: Group, text: str) -> str:
        """Send a text to a group, and before it our sender key to those who may not have it."""
        message_id = new_message_id()
        signal, name = self.signal, str(group.jid)
        entries = []
        if not signal.has_group_key(name):
            told = e2e.Message()
            told.senderKeyDistributionMessage.groupID = name
            told.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage = signal.distribution(name)
            body = told.SerializeToString()
            members = self._all.groups.members_of(group.jid)
            devices = [device for account in members for device in account.devices.values()]
            entries = [self._entry(device, body) for device in devices if device is not self.device]
        ciphertext = signal.encrypt_group(name, e2e.Message(conversation=text).SerializeToString())
        content = [Node("participants", {}, entries), Node("enc", {"v": "2", "type": "skmsg"}, ciphertext)]
        attrs: Attrs = {"id": message_id, "type": "text", "to": group.jid}
        self._all.relay.message(self.device, Node("message", attrs, content), text)
        return message_id

    def read(self, message_id: str) -> None:
        """Tell the sender that its message was read; raise `UnknownMessage` if it did not arrive here."""
        row = self._all.state.one("SELECT sender FROM inbox WHERE phone = ? AND id = ?", self.account.phone, message_id)
        if row is None:
            raise UnknownMessage(message_id)
        sender = self._all.accounts.find(Jid.parse(row[0]))
        attrs: Attrs = {"from": self.account.lid, "id": message_id, "type": "read", "t": now_text()}
        for device in sender.linked() if sender else []:
            self._all.relay.deliver(device, Node("receipt", attrs))

    def inbox(self, after: int, limit: int) -> list[Received]:
        """Return the texts behind a cursor, in the order they arrived."""
        rows = self._all.state.rows(
            "SELECT cursor, id, sender, chat, text, at FROM inbox WHERE phone = ? AND cursor > ?"
            " ORDER BY cursor LIMIT ?",
            self.account.phone,
            after,
            limit,
        )
        return [Received(*row) for row in rows]

    def take(self, node: Node) -> None:
        """Receive a stanza: read a message and confirm it, answer a request to send one again."""
        if node.tag == "message":
            self._take_message(node)
        elif node.tag == "receipt" and node.text("type") == "retry":
            self._send_again(node)

    def take_text(self, message_id: str, sender: Device, chat: Jid, text: str) -> None:
        """Put a text into the inbox."""
        self._all.state.run(
            "INSERT INTO inbox (phone, id, sender, chat, text, at) VALUES (?, ?, ?, ?, ?, ?)",
            self.account.phone,
            message_id,
            str(sender.lid),
            str(chat),
            text,
            time.time(),
        )
        self._arrival.set()
        self._arrival = trio.Event()

    async def arrived(self) -> None:
        """Return when the next text arrives."""
        await self._arrival.wait()

    def provision(self, device: Device) -> None:
        """Share the account's app state key with a newly linked device, which then learns the push name."""
        self._all.app_state.set_push_name(self.account)
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
        self._all.relay.message(self.device, Node("message", attrs, entry.children()))

    def _entry(self, device: Device, body: bytes) -> Node:
        """Return a device's copy of a message; a first one opens a session with one of the device's prekeys."""
        address = str(device.lid)
        if not self.signal.has_session(address):
            self.signal.start(address, self._all.bundle(device))
        kind, ciphertext = self.signal.encrypt(address, body)
        return Node("to", {"jid": device.lid}, [Node("enc", {"v": "2", "type": kind}, ciphertext)])

    def _take_message(self, node: Node) -> None:
        group = node.jid("from") if node.jid("participant") else None
        author = node.jid("participant") or node.jid("from")
        sender = self._all.accounts.device(author) if author else None
        if sender is None:
            return
        message_id = node.text("id")
        for enc in node.all("enc"):
            try:
                message = self._decrypt(sender, group, enc)
            except Duplicate:
                continue
            except SignalError as error:
                log.warning("sandbox.undecryptable", phone=self.account.phone, message=message_id, error=error.code)
                continue
            if message.HasField("senderKeyDistributionMessage") and group is not None:
                told = message.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage
                self.signal.accept_distribution(str(group), str(sender.lid), told)
            self._take_content(message_id, sender, group, message)
        if sender.number and sender.account is not self.account:
            self._confirm(message_id, sender, group)
            if not self.account.linked():
                self._all.oracle.acknowledged(message_id, self.device.name)

    def _decrypt(self, sender: Device, group: Jid | None, enc: Node) -> "e2e.Message":
        address, kind = str(sender.lid), enc.text("type")
        if kind == "skmsg":
            plaintext = self.signal.decrypt_group(str(group), address, enc.data())
        else:
            plaintext = self.signal.decrypt(address, "pkmsg" if kind == "pkmsg" else "msg", enc.data())
        return e2e.Message.FromString(plaintext)

    def _take_content(self, message_id: str, sender: Device, group: Jid | None, message: "e2e.Message") -> None:
        own = message.HasField("deviceSentMessage")
        inside = message.deviceSentMessage.message if own else message
        text = inside.conversation or inside.extendedTextMessage.text
        if not text:
            return
        self._all.oracle.read(message_id, sender.name, text)
        if not own:
            self.take_text(message_id, sender, group or sender.account.lid, text)

    def _confirm(self, message_id: str, sender: Device, group: Jid | None) -> None:
        attrs: Attrs = {"from": group or self.device.lid, "id": message_id, "t": now_text()}
        if group is not None:
            attrs["participant"] = self.device.lid
        self._all.relay.deliver(sender, Node("receipt", attrs))

    def _send_again(self, node: Node) -> None:
        """Answer a retry receipt: begin a new session with that device and send it the same text under the same id."""
        asking = node.jid("from")
        device = self._all.accounts.device(asking) if asking else None
        if device is None or asking is None or asking.server == GROUP_SERVER:
            return
        self.signal.start(str(device.lid), self._all.bundle(device))
        message_id = node.text("id")
        written = self._all.oracle.written(message_id, self.device.name)
        if written is None:
            if device.account is self.account:
                self.provision(device)
            return
        text, recipient = written
        message = e2e.Message(conversation=text)
        body = message.SerializeToString()
        to = self._all.accounts.by_phone(recipient).lid
        if device.account is self.account:
            body = _sent_by_other_device(to, message)
        attrs: Attrs = {"id": message_id, "type": "text", "to": device.lid, "recipient": to}
        self._all.relay.message(self.device, Node("message", attrs, self._entry(device, body).children()))


class Phones:
    """All simulated phones."""

    def __init__(self, state: State, accounts: Accounts, oracle: Oracle, groups: Groups, relay: Relay) -> None:
        self.state = state
        self.accounts = accounts
        self.oracle = oracle
        self.groups = groups
        self.relay = relay
        self.app_state = AppState(state)
        self._phones: dict[str, Phone] = {}
        self._changed: set[Phone] = set()
        state.before_commit(self._save)
        for account in accounts:
            self._attach(Phone(self, account))

    def create(self, phone: str | None, name: str | None) -> tuple[Phone, bool]:
        """Return the phone with this number, and whether it is new. Without a number it gets an unused one."""
        number = self._unused() if phone is None else phone.strip().removeprefix("+")
        if not (number.isascii() and number.isdigit() and 6 <= len(number) <= 15):
            raise NotANumber(number)
        if number in self._phones:
            return self._phones[number], False
        keys = DeviceKeys(one_time_keys=_PREKEYS)
        account = self.accounts.create(number, name or f"User {number}", keys.identity)
        signed = SignedPrekey(keys.signed_id.to_bytes(3, "big"), keys.signed.public, keys.signature)
        device = Device(account, 0, keys.identity.public, keys.registration_id.to_bytes(4, "big"), signed)
        self.accounts.add_device(device)
        prekeys = [(key_id.to_bytes(3, "big"), pair.public) for key_id, pair in keys.one_time.items()]
        self.accounts.add_prekeys(device, prekeys)
        fresh = Phone(self, account, SignalDevice(keys))
        self._attach(fresh)
        self.note_change(fresh)
        return fresh, True

    def phone_of(self, account: Account) -> Phone:
        return self._phones[account.phone]

    def find(self, phone: str) -> Phone:
        """Return the phone with this number or address; raise `UnknownPhone`."""
        return self.phone_of(self.accounts.by_phone(phone))

    def send(self, sender: Phone, to: str, text: str) -> str:
        """Send a text to a number, a LID or a group; raise `UnknownPhone` where there is none."""
        jid = Jid.parse(to)
        group = self.groups.find(jid) if jid.server == GROUP_SERVER else None
        if group is not None:
            return sender.send_group_text(group, text)
        return sender.send_text(self.accounts.by_phone(to), text)

    def bundle(self, device: Device) -> PreKeyBundle:
        """Return what begins a session with a device; one of its prekeys is used up."""
        prekey = self.accounts.take_prekey(device)
        return PreKeyBundle(
            registration_id=int.from_bytes(device.registration, "big"),
            identity=device.identity,
            signed_id=int.from_bytes(device.signed.id, "big"),
            signed_key=device.signed.key,
            signature=device.signed.signature,
            one_time_id=int.from_bytes(prekey[0], "big") if prekey else None,
            one_time_key=prekey[1] if prekey else None,
        )

    def note_change(self, phone: Phone) -> None:
        """Have a phone's sessions written with the next commit."""
        self._changed.add(phone)
        self.state.touch()

    def note_direct(self, message_id: str, sender: Device, to: Account) -> None:
        """Record a text between two phones of ours, which arrives as it is sent."""
        seq = self.oracle.find(message_id, sender.name)
        name = to.devices[0].name
        if seq is not None:
            self.oracle.relayed(seq, name)
            self.oracle.acknowledged(message_id, name)

    def _attach(self, phone: Phone) -> None:
        self._phones[phone.account.phone] = phone
        phone.device.handset = phone

    def _save(self) -> None:
        changed, self._changed = self._changed, set()
        for phone in changed:
            phone.save()

    def _unused(self) -> str:
        while True:
            number = f"4915{random.randrange(10**8):08}"  # noqa: S311 - a made-up number, no secret
            if number not in self._phones:
                return number


def _sent_by_other_device(to: Jid, message: "e2e.Message") -> bytes:
    """Return the form in which an account's other devices are told of a message."""
    copy = e2e.DeviceSentMessage(destinationJID=str(to), message=message)
    return bytes(e2e.Message(deviceSentMessage=copy).SerializeToString())
