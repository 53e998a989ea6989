"""All simulated phones: who makes them, finds them, and gives them what they share."""

import random
from typing import Final

from bridge.errors import BridgeError
from bridge.protos import e2e
from bridge.sandbox.accounts import Account, Accounts, Device, SignedPrekey
from bridge.sandbox.appstate import AppState
from bridge.sandbox.contents import summary
from bridge.sandbox.groups import Group, Groups
from bridge.sandbox.inbox import Inboxes
from bridge.sandbox.nodes import GROUP_SERVER, Jid
from bridge.sandbox.oracle import Oracle
from bridge.sandbox.phone import Phone, UnknownMessage
from bridge.sandbox.receipts import Receipts
from bridge.sandbox.relay import Relay
from bridge.sandbox.signal import DeviceKeys, PreKeyBundle, SignalDevice
from bridge.sandbox.state import State

__all__ = ["NotANumber", "Phone", "Phones", "UnknownMessage"]

_PREKEYS: Final = 20
"""One-time prekeys of a contact; further sessions are begun without one, which clients accept."""


class NotANumber(BridgeError):
    """A phone number has 6 to 15 digits."""

    code = "bad_phone"
    status = 400


class Phones:
    """All simulated phones."""

    def __init__(self, state: State, accounts: Accounts, oracle: Oracle, groups: Groups, relay: Relay) -> None:
        self.state = state
        self.accounts = accounts
        self.oracle = oracle
        self.groups = groups
        self.relay = relay
        self.app_state = AppState(state)
        self.inboxes = Inboxes(state)
        self.receipts = Receipts(state)
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
        return sender.send(self.recipient(to), e2e.Message(conversation=text), text)

    def send_message(self, sender: Phone, to: str, message: "e2e.Message") -> str:
        """Send a message of any kind; raise `UnknownPhone` where there is no such recipient."""
        return sender.send(self.recipient(to), message, summary(message))

    def recipient(self, to: str) -> Account | Group:
        """Return the account or group behind a number, a LID or a group's address; raise `UnknownPhone`."""
        jid = Jid.parse(to)
        group = self.groups.find(jid) if jid.server == GROUP_SERVER else None
        return group or self.accounts.by_phone(to)

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
