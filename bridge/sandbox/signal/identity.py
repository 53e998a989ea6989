"""The keys that a device owns, and the part of them that it publishes so that others can write to it first.

X3DH needs three kinds of keys of the receiver ("The X3DH Key Agreement Protocol", section 2.4): the identity key for
good, a prekey that the identity key signed, and one-time prekeys, each of which the server hands out once and the
device forgets after its first use. Without a one-time prekey a session can be begun too, only less well protected.
"""

import secrets
from dataclasses import dataclass
from typing import Final

import msgspec

from bridge.sandbox.keys import KeyPair, xeddsa_sign, xeddsa_verify
from bridge.sandbox.signal.errors import PreKeyGone, SignalError
from bridge.sandbox.signal.wire import KEY_TYPE

ONE_TIME_KEYS: Final = 50
_MAX_REGISTRATION_ID: Final = 16380


class BadSignature(SignalError):
    """The signed prekey is not signed by the identity key: the bundle was tampered with."""

    code = "sandbox_bad_prekey_signature"


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What the server hands out about a device, to whoever wants to write to it first."""

    registration_id: int
    identity: bytes
    signed_id: int
    signed_key: bytes
    signature: bytes
    one_time_id: int | None = None
    one_time_key: bytes | None = None

    def check(self) -> None:
        """Raise `BadSignature` unless the identity key signed the signed prekey."""
        if not xeddsa_verify(self.identity, KEY_TYPE + self.signed_key, self.signature):
            raise BadSignature


class _Stored(msgspec.Struct, array_like=True):
    registration_id: int
    identity: tuple[bytes, bytes]
    signed_id: int
    signed: tuple[bytes, bytes]
    signature: bytes
    next_id: int
    one_time: dict[int, tuple[bytes, bytes]]


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(_Stored).decode


class DeviceKeys:
    """The private keys of one device."""

    __slots__ = ("_next_id", "identity", "one_time", "registration_id", "signature", "signed", "signed_id")

    def __init__(self, identity: KeyPair | None = None, one_time_keys: int = ONE_TIME_KEYS) -> None:
        """Make a device; the identity is given where it must be an account's (the phone itself, device 0)."""
        self.identity = identity or KeyPair()
        self.registration_id = secrets.randbelow(_MAX_REGISTRATION_ID) + 1
        self.signed_id = 1
        self.signed = KeyPair()
        self.signature = xeddsa_sign(self.identity.private, KEY_TYPE + self.signed.public)
        self.one_time: dict[int, KeyPair] = {}
        self._next_id = 1
        self.refill(one_time_keys)

    def refill(self, count: int) -> dict[int, bytes]:
        """Make new one-time prekeys and return their public halves by id, to be published."""
        fresh = {self._next_id + offset: KeyPair() for offset in range(count)}
        self._next_id += count
        self.one_time.update(fresh)
        return {key_id: pair.public for key_id, pair in fresh.items()}

    def bundle(self, one_time_id: int | None = None) -> PreKeyBundle:
        """Return what is public of this device, with the one-time prekey of that id if one is named."""
        return PreKeyBundle(
            registration_id=self.registration_id,
            identity=self.identity.public,
            signed_id=self.signed_id,
            signed_key=self.signed.public,
            signature=self.signature,
            one_time_id=one_time_id,
            one_time_key=None if one_time_id is None else self.one_time_key(one_time_id).public,
        )

    def signed_key(self, key_id: int) -> KeyPair:
        """Return the signed prekey of that id; raise `PreKeyGone` if it is another one."""
        if key_id != self.signed_id:
            raise PreKeyGone(f"signed prekey {key_id}")
        return self.signed

    def one_time_key(self, key_id: int) -> KeyPair:
        """Return the one-time prekey of that id; raise `PreKeyGone` if it was used or never made."""
        try:
            return self.one_time[key_id]
        except KeyError:
            raise PreKeyGone(f"one-time prekey {key_id}") from None

    def to_bytes(self) -> bytes:
        """Return everything, private keys included."""
        return _ENCODE(
            _Stored(
                registration_id=self.registration_id,
                identity=_halves(self.identity),
                signed_id=self.signed_id,
                signed=_halves(self.signed),
                signature=self.signature,
                next_id=self._next_id,
                one_time={key_id: _halves(pair) for key_id, pair in self.one_time.items()},
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "DeviceKeys":
        """Return the keys that `to_bytes` stored."""
        stored = _DECODE(data)
        keys = cls.__new__(cls)
        keys.registration_id = stored.registration_id
        keys.identity = KeyPair(*stored.identity)
        keys.signed_id = stored.signed_id
        keys.signed = KeyPair(*stored.signed)
        keys.signature = stored.signature
        keys.one_time = {key_id: KeyPair(*halves) for key_id, halves in stored.one_time.items()}
        keys._next_id = stored.next_id
        return keys


def _halves(pair: KeyPair) -> tuple[bytes, bytes]:
    return pair.private, pair.public
