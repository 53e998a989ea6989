"""Messages to a group: each sender has one key for the group and encrypts once, whatever the number of members.

A *sender key* is a chain (as in the ratchet, without ever taking new secrets in) and a signing key. Its owner tells it
to every device of the group in messages between two devices (SenderKeyDistributionMessage). Then one ciphertext with
one signature serves all. It is replaced by a new one when somebody leaves. Source: libsignal's `sender_keys.rs`.
"""

import secrets
from typing import Final

import msgspec

from bridge.sandbox.keys import KeyPair, xeddsa_sign, xeddsa_verify
from bridge.sandbox.signal import kdf
from bridge.sandbox.signal.errors import Duplicate, NoSession, TooFarAhead, Undecryptable
from bridge.sandbox.signal.wire import SenderKeyDistribution, SenderKeyMessage

MAX_KEYS_PER_SENDER: Final = 5


class SenderKey(msgspec.Struct, array_like=True):
    """One sender's key for one group: its owner's, who can sign, or a member's copy, who can only read."""

    key_id: int
    chain: bytes
    signing_public: bytes
    signing_private: bytes = b""
    iteration: int = 0
    skipped: dict[int, bytes] = {}

    @classmethod
    def create(cls) -> "SenderKey":
        """Return a new key to send with."""
        signing = KeyPair()
        return cls(secrets.randbits(31), secrets.token_bytes(32), signing.public, signing.private)

    @classmethod
    def from_distribution(cls, data: bytes) -> "SenderKey":
        """Return a member's copy, from what the owner's `distribution` returned."""
        told = SenderKeyDistribution.parse(data)
        return cls(told.key_id, told.chain_key, told.signing_key, iteration=told.iteration)

    def distribution(self) -> bytes:
        """Return what a member needs in order to read from the present message on, and no earlier one."""
        return SenderKeyDistribution(self.key_id, self.iteration, self.chain, self.signing_public).encode()

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return a message (skmsg) for all who have this key."""
        assert self.signing_private, "only the owner can send"
        number = self.iteration
        seed, self.chain = kdf.chain_step(self.chain)
        self.iteration += 1
        key, iv = kdf.group_message_keys(seed)
        signed = SenderKeyMessage.encode(self.key_id, number, kdf.aes_encrypt(key, iv, plaintext))
        return signed + xeddsa_sign(self.signing_private, signed)

    def decrypt(self, message: SenderKeyMessage) -> bytes:
        """Return the plaintext; raise `Duplicate` or a kind of `Undecryptable`; a forgery changes nothing."""
        if not xeddsa_verify(self.signing_public, message.signed, message.signature):
            raise Undecryptable("wrong signature")
        number = message.iteration
        if number < self.iteration:
            seed = self.skipped.pop(number, b"")
            if not seed:
                raise Duplicate(f"message {number}")
        else:
            seed = self._advance_past(number)
        key, iv = kdf.group_message_keys(seed)
        return kdf.aes_decrypt(key, iv, message.ciphertext)

    def _advance_past(self, number: int) -> bytes:
        """Return the seed of a message that is not behind, and keep those of the messages in between."""
        if number - self.iteration > kdf.MAX_AHEAD:
            raise TooFarAhead(f"by {number - self.iteration}")
        seed, self.chain = kdf.chain_step(self.chain)
        for late in range(self.iteration, number):
            self.skipped[late] = seed
            seed, self.chain = kdf.chain_step(self.chain)
        self.iteration = number + 1
        for oldest in list(self.skipped)[: -kdf.MAX_AHEAD]:
            del self.skipped[oldest]
        return seed

    def to_bytes(self) -> bytes:
        return _ENCODE(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SenderKey":
        return _DECODE_KEY(data)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE_KEY = msgspec.msgpack.Decoder(SenderKey).decode
_DECODE_KEYS = msgspec.msgpack.Decoder(list[SenderKey]).decode


class SenderKeyRing:
    """A member's copies of the keys of one sender in one group, the newest first: late messages need the older ones."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[SenderKey] | None = None) -> None:
        self._keys = keys or []

    def accept(self, distribution: bytes) -> None:
        """Take a key in. The same key told again changes nothing, so that no message can be read a second time."""
        key = SenderKey.from_distribution(distribution)
        for known in self._keys:
            if known.key_id == key.key_id and known.signing_public == key.signing_public:
                return
        others = [known for known in self._keys if known.key_id != key.key_id]
        self._keys = [key, *others][:MAX_KEYS_PER_SENDER]

    def decrypt(self, body: bytes) -> bytes:
        """Return the plaintext; raise `NoSession` where the sender's key was never told."""
        message = SenderKeyMessage.parse(body)
        for key in self._keys:
            if key.key_id == message.key_id:
                return key.decrypt(message)
        raise NoSession(f"sender key {message.key_id}")

    def to_bytes(self) -> bytes:
        return _ENCODE(self._keys)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SenderKeyRing":
        return cls(_DECODE_KEYS(data))
