"""Who exists: accounts (a phone number, its LID, its name) and their devices, with the public keys a server keeps.

Device 0 of an account is its phone, which is always simulated (`phones.py`). The others are linked devices: real
clients. Both have the same kind of address in the two name spaces, phone number and LID.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bridge.errors import BridgeError
from bridge.sandbox.keys import KeyPair
from bridge.sandbox.nodes import LID_SERVER, USER_SERVER, Jid, Node
from bridge.sandbox.state import Row, State


class UnknownPhone(BridgeError):
    """There is no such phone in the sandbox."""

    code = "unknown_phone"
    status = 404


class Link(Protocol):
    """The connection of a linked device."""

    def post(self, stanza: bytes) -> None:
        """Send an encoded stanza after everything that was posted before."""


class Handset(Protocol):
    """The simulated phone behind device 0."""

    def take(self, node: Node) -> None:
        """Receive a stanza, decrypt what is in it, answer with receipts."""


@dataclass(frozen=True, slots=True)
class SignedPrekey:
    """The public half of a medium-term key, as it stands in `encrypt` queries."""

    id: bytes
    key: bytes
    signature: bytes


@dataclass(slots=True, eq=False)
class Device:
    """One device of an account. `link` is its connection while it has one that asked for stanzas."""

    account: "Account"
    number: int
    identity: bytes
    registration: bytes
    signed: SignedPrekey
    noise: bytes | None = None
    provisioned: bool = False
    """Whether the phone has shared its app state key with this device."""
    link: Link | None = None
    handset: Handset | None = None
    jid: Jid = field(init=False)
    lid: Jid = field(init=False)
    name: str = field(init=False)
    """The address by phone number as text: how rows and the oracle call this device."""

    def __post_init__(self) -> None:
        self.jid = self.account.jid.with_device(self.number)
        self.lid = self.account.lid.with_device(self.number)
        self.name = str(self.jid)


@dataclass(slots=True, eq=False)
class Account:
    """A phone number. `identity` signs the account's devices and is the identity key of device 0."""

    phone: str
    lid_user: str
    name: str
    identity: KeyPair
    next_device: int = 1
    about: str = "Hey there! I am using WhatsApp."
    picture: str | None = None
    blocked: list[Jid] = field(default_factory=list)
    app_state_key: bytes = b""
    """What the account's app state is encrypted with; its phone shares it with each linked device."""
    devices: dict[int, Device] = field(default_factory=dict)
    online: bool = False
    seen_at: float = 0.0
    """When it was last available, as far as its presence told; seconds since 1970."""
    watchers: set[Device] = field(default_factory=set)
    """Linked devices that subscribed to this account's presence."""
    listed_by: set[Device] = field(default_factory=set)
    """Linked devices that know this account's device list and must hear when it changes."""
    jid: Jid = field(init=False)
    lid: Jid = field(init=False)

    def __post_init__(self) -> None:
        self.jid = Jid(self.phone, USER_SERVER)
        self.lid = Jid(self.lid_user, LID_SERVER)

    def linked(self) -> list[Device]:
        """Return the devices that are real clients."""
        return [device for device in self.devices.values() if device.number]


class Accounts:
    """All accounts, in memory and in the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._by_phone: dict[str, Account] = {}
        self._by_lid: dict[str, Account] = {}
        for row in state.rows(
            "SELECT phone, lid, name, identity, next_device, about, picture, blocked, app_state_key FROM account"
        ):
            self._keep(_account(row))
        for row in state.rows(
            "SELECT phone, number, identity, registration, signed_id, signed_key, signature, noise, provisioned"
            " FROM device ORDER BY phone, number"
        ):
            account = self._by_phone[row[0]]
            account.devices[row[1]] = _device(account, row)

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._by_phone.values()))

    def __len__(self) -> int:
        return len(self._by_phone)

    def create(self, phone: str, name: str, identity: KeyPair) -> Account:
        """Add an account without devices. The LID follows from the number, so that it is the same in every run."""
        digest = int.from_bytes(hashlib.sha256(phone.encode()).digest()[:8], "big")
        lid = str(10**14 + digest % (9 * 10**14))
        account = Account(phone, lid, name, identity, app_state_key=secrets.token_bytes(32))
        self._keep(account)
        self.save(account)
        return account

    def save(self, account: Account) -> None:
        """Write what changed in an account."""
        self._state.run(
            "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            account.phone,
            account.lid_user,
            account.name,
            account.identity.private,
            account.next_device,
            account.about,
            account.picture,
            json.dumps([str(jid) for jid in account.blocked]),
            account.app_state_key,
        )

    def find(self, jid: Jid) -> Account | None:
        """Return the account behind a phone number's or a LID's address, of whatever device."""
        return self._by_lid.get(jid.user) if jid.server == LID_SERVER else self._by_phone.get(jid.user)

    def by_phone(self, phone: str) -> Account:
        """Return the account of a number given as digits, with or without `+`, or as a JID or LID."""
        jid = Jid.parse(phone)
        account = self.find(jid) if jid.user else self._by_phone.get(phone.strip().removeprefix("+"))
        if account is None:
            raise UnknownPhone(phone)
        return account

    def device(self, jid: Jid) -> Device | None:
        account = self.find(jid)
        return account.devices.get(jid.device) if account else None

    def add_device(self, device: Device) -> None:
        device.account.devices[device.number] = device
        self.save_device(device)

    def save_device(self, device: Device) -> None:
        self._state.run(
            "INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            device.account.phone,
            device.number,
            device.noise,
            device.identity,
            device.registration,
            device.signed.id,
            device.signed.key,
            device.signed.signature,
            device.provisioned,
        )

    def remove_device(self, device: Device) -> None:
        """Forget a device, its prekeys, and what was waiting for it."""
        account = device.account
        account.devices.pop(device.number, None)
        for other in self._by_phone.values():
            other.watchers.discard(device)
            other.listed_by.discard(device)
        self._state.run("DELETE FROM device WHERE phone = ? AND number = ?", account.phone, device.number)
        self._state.run("DELETE FROM prekey WHERE phone = ? AND device = ?", account.phone, device.number)
        self._state.run("DELETE FROM pending WHERE device = ?", device.name)

    def add_prekeys(self, device: Device, keys: list[tuple[bytes, bytes]]) -> None:
        """Keep one-time prekeys (id, public key)."""
        phone, number = device.account.phone, device.number
        self._state.run_many(
            "INSERT OR REPLACE INTO prekey VALUES (?, ?, ?, ?)", [(phone, number, *pair) for pair in keys]
        )

    def count_prekeys(self, device: Device) -> int:
        row = self._state.one(
            "SELECT count(*) FROM prekey WHERE phone = ? AND device = ?", device.account.phone, device.number
        )
        return int(row[0]) if row else 0

    def take_prekey(self, device: Device) -> tuple[bytes, bytes] | None:
        """Return one prekey and forget it: each serves one session. None when they have run out."""
        phone, number = device.account.phone, device.number
        row = self._state.one(
            "SELECT id, key FROM prekey WHERE phone = ? AND device = ? ORDER BY id LIMIT 1", phone, number
        )
        if row is None:
            return None
        self._state.run("DELETE FROM prekey WHERE phone = ? AND device = ? AND id = ?", phone, number, row[0])
        return row[0], row[1]

    def _keep(self, account: Account) -> None:
        self._by_phone[account.phone] = account
        self._by_lid[account.lid_user] = account


def _account(row: Row) -> Account:
    phone, lid, name, identity, next_device, about, picture, blocked, app_key = row
    return Account(
        phone,
        lid,
        name,
        KeyPair(identity),
        next_device,
        about,
        picture,
        [Jid.parse(text) for text in json.loads(blocked)],
        app_key,
    )


def _device(account: Account, row: Row) -> Device:
    _phone, number, identity, registration, signed_id, signed_key, signature, noise, provisioned = row
    signed = SignedPrekey(signed_id, signed_key, signature)
    return Device(account, number, identity, registration, signed, noise, bool(provisioned))
