"""The four messages of Signal as bytes, and WhatsApp's padding of what is inside.

Each is a version byte (high nibble: the version spoken, low nibble: the highest one known; both 3), a protobuf, and
what proves its origin: 8 bytes of a MAC between two devices, a 64-byte signature in a group, nothing for the two that
begin something. Public keys carry a type byte in front, 05 for Curve25519, which is added and taken away here.

neonize ships no Python classes for these, so the descriptors are built below from a table (field numbers: libsignal's
`wire.proto`) and handed to the protobuf library, which parses what a stranger sends in C and with bounds.
"""

import secrets
from typing import Any, Final

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from bridge.sandbox.signal.errors import Undecryptable

VERSION: Final = b"\x33"
KEY_TYPE: Final = b"\x05"
MAC_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64

_FIELDS: Final = {
    "SignalMessage": {"ratchet_key": (1, bytes), "counter": (2, int), "previous": (3, int), "ciphertext": (4, bytes)},
    "PreKeySignalMessage": {
        "one_time_id": (1, int),
        "base_key": (2, bytes),
        "identity": (3, bytes),
        "message": (4, bytes),
        "registration_id": (5, int),
        "signed_id": (6, int),
    },
    "SenderKeyMessage": {"key_id": (1, int), "iteration": (2, int), "ciphertext": (3, bytes)},
    "SenderKeyDistribution": {
        "key_id": (1, int),
        "iteration": (2, int),
        "chain_key": (3, bytes),
        "signing_key": (4, bytes),
    },
}


def _message_classes() -> dict[str, Any]:
    """Return a protobuf class per entry of the table; all fields optional, so that absence can be told from zero."""
    file = descriptor_pb2.FileDescriptorProto(
        name="bridge/sandbox/signal.proto", package="bridge.sandbox.signal", syntax="proto2"
    )
    kind = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, python_type) in fields.items():
            protobuf_type = kind.TYPE_BYTES if python_type is bytes else kind.TYPE_UINT32
            message.field.add(name=field, number=number, type=protobuf_type, label=kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bridge.sandbox.signal.{name}"))
        for name in _FIELDS
    }


_CLASSES = _message_classes()
_SignalMessage = _CLASSES["SignalMessage"]
_PreKeySignalMessage = _CLASSES["PreKeySignalMessage"]
_SenderKeyMessage = _CLASSES["SenderKeyMessage"]
_SenderKeyDistribution = _CLASSES["SenderKeyDistribution"]


def _parse(kind: Any, body: bytes) -> Any:
    if body[:1] != VERSION:
        raise Undecryptable("unknown version")
    try:
        return kind.FromString(body[1:])
    except DecodeError as error:
        raise Undecryptable("not a message") from error


def _key(typed: bytes) -> bytes:
    if len(typed) != 33 or typed[:1] != KEY_TYPE:
        raise Undecryptable("not a Curve25519 key")
    return typed[1:]


class SignalMessage(msgspec.Struct, frozen=True):
    """A message between two devices: the sender's ratchet key, the message's number in that chain, the content."""

    ratchet_key: bytes
    counter: int
    ciphertext: bytes
    signed: bytes
    mac: bytes

    @staticmethod
    def encode(ratchet_key: bytes, counter: int, previous: int, ciphertext: bytes) -> bytes:
        """Return all but the MAC, which is computed over it."""
        message = _SignalMessage(
            ratchet_key=KEY_TYPE + ratchet_key, counter=counter, previous=previous, ciphertext=ciphertext
        )
        return VERSION + bytes(message.SerializeToString())

    @classmethod
    def parse(cls, data: bytes) -> "SignalMessage":
        signed = data[:-MAC_BYTES]
        message = _parse(_SignalMessage, signed)
        return cls(_key(message.ratchet_key), message.counter, message.ciphertext, signed, data[-MAC_BYTES:])


class PreKeyMessage(msgspec.Struct, frozen=True):
    """A first message: what the other side needs to compute the same session, around a `SignalMessage`.

    All messages are of this form until the other side has answered, since any of them may be the first to arrive.
    """

    registration_id: int
    one_time_id: int | None
    signed_id: int
    base_key: bytes
    identity: bytes
    message: bytes

    def encode(self) -> bytes:
        message = _PreKeySignalMessage(
            registration_id=self.registration_id,
            signed_id=self.signed_id,
            base_key=KEY_TYPE + self.base_key,
            identity=KEY_TYPE + self.identity,
            message=self.message,
        )
        if self.one_time_id is not None:
            message.one_time_id = self.one_time_id
        return VERSION + bytes(message.SerializeToString())

    @classmethod
    def parse(cls, data: bytes) -> "PreKeyMessage":
        message = _parse(_PreKeySignalMessage, data)
        return cls(
            registration_id=message.registration_id,
            one_time_id=message.one_time_id if message.HasField("one_time_id") else None,
            signed_id=message.signed_id,
            base_key=_key(message.base_key),
            identity=_key(message.identity),
            message=message.message,
        )


class SenderKeyMessage(msgspec.Struct, frozen=True):
    """A message to a group: which of the sender's keys, its number in that chain, the content."""

    key_id: int
    iteration: int
    ciphertext: bytes
    signed: bytes
    signature: bytes

    @staticmethod
    def encode(key_id: int, iteration: int, ciphertext: bytes) -> bytes:
        """Return all but the signature, which is made over it."""
        message = _SenderKeyMessage(key_id=key_id, iteration=iteration, ciphertext=ciphertext)
        return VERSION + bytes(message.SerializeToString())

    @classmethod
    def parse(cls, data: bytes) -> "SenderKeyMessage":
        signed = data[:-SIGNATURE_BYTES]
        message = _parse(_SenderKeyMessage, signed)
        return cls(message.key_id, message.iteration, message.ciphertext, signed, data[-SIGNATURE_BYTES:])


class SenderKeyDistribution(msgspec.Struct, frozen=True):
    """The key for one sender's messages to a group, sent to each member's device in a message between two devices."""

    key_id: int
    iteration: int
    chain_key: bytes
    signing_key: bytes

    def encode(self) -> bytes:
        message = _SenderKeyDistribution(
            key_id=self.key_id,
            iteration=self.iteration,
            chain_key=self.chain_key,
            signing_key=KEY_TYPE + self.signing_key,
        )
        return VERSION + bytes(message.SerializeToString())

    @classmethod
    def parse(cls, data: bytes) -> "SenderKeyDistribution":
        message = _parse(_SenderKeyDistribution, data)
        if len(message.chain_key) != 32:
            raise Undecryptable("not a chain key")
        return cls(message.key_id, message.iteration, message.chain_key, _key(message.signing_key))


def pad(plaintext: bytes) -> bytes:
    """Return the plaintext with 1 to 15 bytes behind it, each of which says how many they are: the length is hidden."""
    count = secrets.randbits(4) or 15
    return plaintext + bytes((count,)) * count


def unpad(padded: bytes) -> bytes:
    """Return what `pad` was given; raise `Undecryptable` where the padding is not one."""
    count = padded[-1] if padded else 0
    if not 1 <= count <= len(padded) or padded[-count:] != bytes((count,)) * count:
        raise Undecryptable("wrong padding")
    return padded[:-count]
