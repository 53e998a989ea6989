"""The handshake that every connection to WhatsApp begins with: Noise_XX_25519_AESGCM_SHA256, the server's side.

Source: "The Noise Protocol Framework", revision 34. In the pattern XX neither side knows the other's static key:

    client -> server   e
    server -> client   e, ee, s, es      and as payload the certificate chain that vouches for s
    client -> server   s, se             and as payload the login or registration (ClientPayload)

Each DH token is mixed into a chaining key, everything that was sent into a hash, and every encryption is bound to
that hash. In the end both sides hold two keys, one for each direction.

`SymmetricState` is section 5.2 of the specification and knows nothing of WhatsApp. `NoiseResponder` walks the three
messages; the protobuf around them (`HandshakeMessage`) is the caller's. Both are machines without I/O.

    responder = NoiseResponder()
    hello = responder.answer(client_ephemeral, static, chain)
    client_static, payload = responder.accept(encrypted_static, encrypted_payload)
    receive, send = responder.finish()
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.errors import BridgeError
from bridge.sandbox.keys import KeyPair, hkdf

PROLOGUE: Final = b"WA\x06\x03"
"""What the client sends before its first frame: protocol version 6, dictionary version 3. Also the Noise prologue."""

_NAME: Final = b"Noise_XX_25519_AESGCM_SHA256".ljust(32, b"\0")


class HandshakeFailed(BridgeError):
    """The other side's handshake or frame does not fit the keys."""

    code = "sandbox_handshake_failed"
    status = 400


class Cipher:
    """AES-GCM with a counter as nonce: one direction of a connection. Messages must come in the order they were sent.

    The nonce is the counter in 12 bytes, big-endian (section 12.4).
    """

    __slots__ = ("_aead", "_counter")

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def encrypt(self, plaintext: bytes, bound_to: bytes = b"") -> bytes:
        """Return the ciphertext with its tag, bound to the additional data."""
        return self._aead.encrypt(self._nonce(), plaintext, bound_to)

    def decrypt(self, ciphertext: bytes, bound_to: bytes = b"") -> bytes:
        """Return the plaintext; raise `HandshakeFailed` where it was not made with this key, order or data."""
        try:
            return self._aead.decrypt(self._nonce(), ciphertext, bound_to)
        except InvalidTag as error:
            raise HandshakeFailed(f"message {self._counter - 1}") from error

    def _nonce(self) -> bytes:
        nonce = self._counter.to_bytes(12, "big")
        self._counter += 1
        return nonce


class SymmetricState:
    """What both sides of a Noise handshake compute alike: a chaining key, a hash, and the cipher of the moment."""

    __slots__ = ("_chaining_key", "_cipher", "_hash")

    def __init__(self, prologue: bytes) -> None:
        self._hash = self._chaining_key = _NAME  # 32 bytes: not longer than a hash, so padded and not hashed
        self._cipher = Cipher(_NAME)
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        """Take a Diffie-Hellman result in: new chaining key, new cipher whose counter starts at zero."""
        derived = hkdf(secret, self._chaining_key, b"", 64)
        self._chaining_key = derived[:32]
        self._cipher = Cipher(derived[32:])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(plaintext, self._hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt(ciphertext, self._hash)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[Cipher, Cipher]:
        """Return the ciphers from the initiator to the responder and back."""
        derived = hkdf(b"", self._chaining_key, b"", 64)
        return Cipher(derived[:32]), Cipher(derived[32:])


@dataclass(frozen=True, slots=True)
class ServerHello:
    """The second message: our ephemeral key in the open, our static key and the certificate chain encrypted."""

    ephemeral: bytes
    static: bytes
    payload: bytes


class NoiseResponder:
    """The server's side of one handshake: `answer`, `accept`, `finish`, in this order."""

    __slots__ = ("_ephemeral", "_state")

    def __init__(self, prologue: bytes = PROLOGUE, ephemeral: KeyPair | None = None) -> None:
        """Begin with what the client sent in the open first. The ephemeral key is given by tests alone."""
        self._state = SymmetricState(prologue)
        self._ephemeral = ephemeral or KeyPair()

    def answer(self, client_ephemeral: bytes, static: KeyPair, payload: bytes) -> ServerHello:
        """Take the client's `e`, return our `e, ee, s, es` with the payload (the certificate chain)."""
        state = self._state
        state.mix_hash(client_ephemeral)
        state.mix_hash(self._ephemeral.public)
        state.mix_key(_agree(self._ephemeral, client_ephemeral))
        encrypted_static = state.encrypt_and_hash(static.public)
        state.mix_key(_agree(static, client_ephemeral))
        return ServerHello(self._ephemeral.public, encrypted_static, state.encrypt_and_hash(payload))

    def accept(self, static: bytes, payload: bytes) -> tuple[bytes, bytes]:
        """Take the client's `s, se`, return its static key and its payload, both decrypted."""
        client_static = self._state.decrypt_and_hash(static)
        self._state.mix_key(_agree(self._ephemeral, client_static))
        return client_static, self._state.decrypt_and_hash(payload)

    def finish(self) -> tuple[Cipher, Cipher]:
        """Return the ciphers (receive, send). From here on no additional data is bound in."""
        return self._state.split()


def _agree(own: KeyPair, public: bytes) -> bytes:
    try:
        return own.agree(public)
    except ValueError as error:
        raise HandshakeFailed("not a Curve25519 key") from error
