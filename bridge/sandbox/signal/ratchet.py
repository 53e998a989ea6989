"""One cryptographic session between two devices: begun with X3DH, carried on with the Double Ratchet.

**X3DH.** The one who begins (Alice) computes four secrets from her identity key and a fresh *base key* with what the
other (Bob) published: DH(IK_A, SPK_B), DH(EK_A, IK_B), DH(EK_A, SPK_B) and DH(EK_A, OPK_B) where there is a one-time
prekey. Bob computes the same from the first message. The base key is also the session's name.

**Double Ratchet.** Every message names its sender's present ratchet key. Within one key the messages come from a chain
(one HMAC each); whoever receives a new ratchet key answers with a new one of its own, and each change mixes a fresh
DH result into the root. A key that leaks is of use for a few messages only.

Two choices of ours. As in libsignal, the last few receiving chains are kept, so late messages of an older chain are
read from there and the number of messages in the previous chain is sent but not needed. Other than libsignal, the new
sending chain is made when something is sent, not when the new key arrives: the same result, for two of three costly
operations less on a device that only listens.

A message that proves to be false changes nothing: all is computed first and kept once the MAC was right.
"""

import hmac
from typing import Final

import msgspec

from bridge.sandbox.keys import KeyPair
from bridge.sandbox.signal import kdf
from bridge.sandbox.signal.errors import Duplicate, TooFarAhead, Undecryptable
from bridge.sandbox.signal.identity import DeviceKeys, PreKeyBundle
from bridge.sandbox.signal.wire import KEY_TYPE, MAC_BYTES, PreKeyMessage, SignalMessage

MAX_RECEIVING_CHAINS: Final = 5


class Chain(msgspec.Struct, array_like=True):
    """What we can read of one ratchet key of the other side's. (msgspec copies an empty default for every struct.)"""

    ratchet_key: bytes
    key: bytes
    counter: int = 0
    """The number of the next message; all below were read or have their seed in `skipped`."""
    skipped: dict[int, bytes] = {}


class Pending(msgspec.Struct, array_like=True):
    """Which keys of the other side we began with; sent along until it has answered."""

    one_time_id: int | None
    signed_id: int


class Ratchet(msgspec.Struct, array_like=True, dict=True):
    """The state of a session; serialised as it stands."""

    own_identity: bytes
    own_registration_id: int
    remote_identity: bytes
    base_key: bytes
    root: bytes
    own_private: bytes
    own_public: bytes
    remote_key: bytes
    """The other side's ratchet key that our next sending chain is made with."""
    sending: bytes | None = None
    """The key of our sending chain; None where the other side's key is new and we have not sent since."""
    counter: int = 0
    previous: int = 0
    receiving: list[Chain] = []
    pending: Pending | None = None

    @classmethod
    def outgoing(cls, keys: DeviceKeys, bundle: PreKeyBundle) -> "Ratchet":
        """Begin a session with the device behind the bundle; raise `BadSignature` for a forged one."""
        bundle.check()
        base = KeyPair()
        secrets = keys.identity.agree(bundle.signed_key) + base.agree(bundle.identity) + base.agree(bundle.signed_key)
        if bundle.one_time_key is not None:
            secrets += base.agree(bundle.one_time_key)
        # The chain key beside the root would be Bob's first sending chain; he never uses it, since he receives first.
        root, _ = kdf.master(secrets)
        return cls(
            own_identity=keys.identity.public,
            own_registration_id=keys.registration_id,
            remote_identity=bundle.identity,
            base_key=base.public,
            root=root,
            own_private=b"",
            own_public=b"",
            remote_key=bundle.signed_key,
            pending=Pending(bundle.one_time_id, bundle.signed_id),
        )

    @classmethod
    def incoming(cls, keys: DeviceKeys, first: PreKeyMessage) -> "Ratchet":
        """Follow into the session that a first message begins; raise `PreKeyGone` without the keys that it uses."""
        signed = keys.signed_key(first.signed_id)
        secrets = signed.agree(first.identity) + keys.identity.agree(first.base_key) + signed.agree(first.base_key)
        if first.one_time_id is not None:
            secrets += keys.one_time_key(first.one_time_id).agree(first.base_key)
        root, _ = kdf.master(secrets)
        return cls(
            own_identity=keys.identity.public,
            own_registration_id=keys.registration_id,
            remote_identity=first.identity,
            base_key=first.base_key,
            root=root,
            own_private=signed.private,
            own_public=signed.public,
            remote_key=b"",
        )

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the message; `pending` says whether it is one of the first (pkmsg)."""
        if self.sending is None:
            self._turn()
            assert self.sending is not None
        seed, self.sending = kdf.chain_step(self.sending)
        keys = kdf.message_keys(seed)
        ciphertext = kdf.aes_encrypt(keys.cipher, keys.iv, plaintext)
        signed = SignalMessage.encode(self.own_public, self.counter, self.previous, ciphertext)
        self.counter += 1
        message = signed + _mac(keys.mac, self.own_identity, self.remote_identity, signed)
        if self.pending is None:
            return message
        return PreKeyMessage(
            registration_id=self.own_registration_id,
            one_time_id=self.pending.one_time_id,
            signed_id=self.pending.signed_id,
            base_key=self.base_key,
            identity=self.own_identity,
            message=message,
        ).encode()

    def _turn(self) -> None:
        """Answer the other side's new ratchet key with one of ours, and begin a sending chain."""
        own = KeyPair()
        self.root, self.sending = kdf.root_step(self.root, own.agree(self.remote_key))
        self.own_private, self.own_public = own.private, own.public
        self._own = own
        self.previous, self.counter = max(self.counter - 1, 0), 0

    def knows(self, ratchet_key: bytes) -> bool:
        """Say whether a chain for this key of the other side exists."""
        return any(chain.ratchet_key == ratchet_key for chain in self.receiving)

    def decrypt(self, message: SignalMessage) -> bytes:
        """Return the plaintext.

        Raise `Undecryptable` where the message is not of this session, `Duplicate` where it was read before; then
        nothing has changed.
        """
        for chain in self.receiving:
            if chain.ratchet_key == message.ratchet_key:
                plaintext = self._read(chain, message)
                break
        else:
            root, key = self._follow(message.ratchet_key)
            chain = Chain(message.ratchet_key, key)
            plaintext = self._read(chain, message)
            self.root, self.remote_key, self.sending = root, message.ratchet_key, None
            self.receiving = [*self.receiving[1 - MAX_RECEIVING_CHAINS :], chain]
        self.pending = None
        return plaintext

    def _follow(self, ratchet_key: bytes) -> tuple[bytes, bytes]:
        """Return the root and the receiving chain that follow from a new ratchet key."""
        if not self.own_private:
            raise Undecryptable("nothing was sent to answer to")
        own: KeyPair | None = self.__dict__.get("_own")
        if own is None:
            own = self._own = KeyPair(self.own_private, self.own_public)
        try:
            return kdf.root_step(self.root, own.agree(ratchet_key))
        except ValueError as error:
            raise Undecryptable("not a Curve25519 key") from error

    def _read(self, chain: Chain, message: SignalMessage) -> bytes:
        """Decrypt from the chain and move it on, but only if the message is genuine."""
        number = message.counter
        if number < chain.counter:
            seed = chain.skipped.get(number)
            if seed is None:
                raise Duplicate(f"message {number}")
            plaintext = self._open(seed, message)
            del chain.skipped[number]
            return plaintext
        if number - chain.counter > kdf.MAX_AHEAD:
            raise TooFarAhead(f"by {number - chain.counter}")
        missing: dict[int, bytes] = {}
        seed, key = kdf.chain_step(chain.key)
        for late in range(chain.counter, number):
            missing[late] = seed
            seed, key = kdf.chain_step(key)
        plaintext = self._open(seed, message)
        chain.key, chain.counter = key, number + 1
        if missing:
            chain.skipped.update(missing)
            for oldest in list(chain.skipped)[: -kdf.MAX_AHEAD]:
                del chain.skipped[oldest]
        return plaintext

    def _open(self, seed: bytes, message: SignalMessage) -> bytes:
        keys = kdf.message_keys(seed)
        mac = _mac(keys.mac, self.remote_identity, self.own_identity, message.signed)
        if not hmac.compare_digest(mac, message.mac):
            raise Undecryptable("wrong MAC")
        return kdf.aes_decrypt(keys.cipher, keys.iv, message.ciphertext)


def _mac(key: bytes, sender: bytes, receiver: bytes, signed: bytes) -> bytes:
    """Return the MAC over both identity keys, the sender's first, and the message."""
    return hmac.digest(key, KEY_TYPE + sender + KEY_TYPE + receiver + signed, "sha256")[:MAC_BYTES]
