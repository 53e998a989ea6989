"""One simulated phone's encryption as a whole: its keys, its sessions, its sender keys, and how they are stored.

Everything here is what is *inside* an `<enc>` node: the plaintext is a serialised `Message` protobuf, and WhatsApp's
padding is added and removed here.

A record per thing (`keys`, `session <address>`, `own <group>`, `sender <group> <address>`), each replaced as a whole.
`changes()` hands out those that were touched since it was last called; who stores them before the ciphertext leaves,
or before the acknowledgement of a received one leaves, can be killed at any time and resumed with `restore`.
"""

from collections.abc import Mapping

from bridge.sandbox.signal.errors import NoSession
from bridge.sandbox.signal.group import SenderKey, SenderKeyRing
from bridge.sandbox.signal.identity import DeviceKeys, PreKeyBundle
from bridge.sandbox.signal.session import Ciphertext, Kind, Session
from bridge.sandbox.signal.wire import pad, unpad

_KEYS = "keys"


class SignalDevice:
    """The end of all encrypted conversations of one device. Addresses and groups are texts of the caller's."""

    def __init__(self, keys: DeviceKeys | None = None) -> None:
        self.keys = keys or DeviceKeys()
        self._sessions: dict[str, Session] = {}
        self._own: dict[str, SenderKey] = {}
        self._rings: dict[tuple[str, str], SenderKeyRing] = {}
        self._touched: set[tuple[str, ...]] = {(_KEYS,)}

    def has_session(self, address: str) -> bool:
        """Say whether we can write to this device without asking the server for its prekeys."""
        session = self._sessions.get(address)
        return session is not None and session.can_send

    def start(self, address: str, bundle: PreKeyBundle) -> None:
        """Begin a session, or a new one after a retry receipt."""
        self._session(address).start(bundle)
        self._touched.add(("session", address))

    def forget(self, address: str) -> None:
        """Drop the sessions with a device, as after it was paired anew. It then counts as never met."""
        self._sessions.pop(address, None)
        self._touched.add(("session", address))

    def encrypt(self, address: str, plaintext: bytes) -> Ciphertext:
        """Return the plaintext, padded, for that device; raise `NoSession` before `start` or a first message of it."""
        session = self._sessions.get(address)
        if session is None:
            raise NoSession(address)
        self._touched.add(("session", address))
        return session.encrypt(pad(plaintext))

    def decrypt(self, address: str, kind: Kind, body: bytes) -> bytes:
        """Return the plaintext of a message from that device; raise `Duplicate` or a kind of `Undecryptable`."""
        prekeys = len(self.keys.one_time)
        plaintext = unpad(self._session(address).decrypt(kind, body))
        self._touched.add(("session", address))
        if len(self.keys.one_time) != prekeys:  # the message began a session; all until our first answer look like it
            self._touched.add((_KEYS,))
        return plaintext

    def refill(self, count: int) -> dict[int, bytes]:
        """Make new one-time prekeys; return their public halves by id, to be published."""
        self._touched.add((_KEYS,))
        return self.keys.refill(count)

    def has_group_key(self, group: str) -> bool:
        """Say whether we have a sender key for the group; if not, all must be told the one `distribution` makes."""
        return group in self._own

    def distribution(self, group: str) -> bytes:
        """Return our sender key for the group, to be told to each device of its members; make it if there is none."""
        if group not in self._own:
            self.renew_group_key(group)
        return self._own[group].distribution()

    def renew_group_key(self, group: str) -> None:
        """Use a new sender key from here on, as one does when a member leaves."""
        self._own[group] = SenderKey.create()
        self._touched.add(("own", group))

    def encrypt_group(self, group: str, plaintext: bytes) -> bytes:
        """Return the plaintext, padded, for all who were told our key; raise `NoSession` before `distribution`."""
        key = self._own.get(group)
        if key is None:
            raise NoSession(group)
        self._touched.add(("own", group))
        return key.encrypt(pad(plaintext))

    def accept_distribution(self, group: str, address: str, distribution: bytes) -> None:
        """Take in the sender key that this device told us for the group."""
        self._rings.setdefault((group, address), SenderKeyRing()).accept(distribution)
        self._touched.add(("sender", group, address))

    def decrypt_group(self, group: str, address: str, body: bytes) -> bytes:
        """Return the plaintext of that device's message to the group; raise as `decrypt` does."""
        ring = self._rings.get((group, address))
        if ring is None:
            raise NoSession(f"{group} {address}")
        self._touched.add(("sender", group, address))
        return unpad(ring.decrypt(body))

    def forget_sender(self, group: str, address: str) -> None:
        """Drop the sender keys that this device told us for the group."""
        self._rings.pop((group, address), None)
        self._touched.add(("sender", group, address))

    def changes(self) -> dict[str, bytes | None]:
        """Return the records that changed since the last call, None for one that is gone."""
        touched, self._touched = self._touched, set()
        return {" ".join(name): self._record(name) for name in touched}

    @classmethod
    def restore(cls, records: Mapping[str, bytes]) -> "SignalDevice":
        """Return the device whose records these are (the last value of each name)."""
        device = cls(DeviceKeys.from_bytes(records[_KEYS]))
        device._touched.clear()
        for name, data in records.items():
            match name.split(" "):
                case ["session", address]:
                    device._sessions[address] = Session.from_bytes(data, device.keys)
                case ["own", group]:
                    device._own[group] = SenderKey.from_bytes(data)
                case ["sender", group, address]:
                    device._rings[group, address] = SenderKeyRing.from_bytes(data)
        return device

    def _session(self, address: str) -> Session:
        session = self._sessions.get(address)
        if session is None:
            session = self._sessions[address] = Session(self.keys)
        return session

    def _record(self, name: tuple[str, ...]) -> bytes | None:
        match name:
            case ("session", address):
                session = self._sessions.get(address)
                return session.to_bytes() if session else None
            case ("own", group):
                return self._own[group].to_bytes()
            case ("sender", group, address):
                ring = self._rings.get((group, address))
                return ring.to_bytes() if ring else None
            case _:
                return self.keys.to_bytes()
