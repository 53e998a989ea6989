"""How one key becomes the next: the derivations of X3DH, the Double Ratchet and sender keys, and the block cipher.

A chain key gives, per message, a seed for that message's keys (HMAC with 01) and the next chain key (HMAC with 02);
there is no way back ("The Double Ratchet Algorithm", section 5.2). A root key takes in a fresh Diffie-Hellman result
and gives a new root and a new chain. The texts given to HKDF as `info` are libsignal's: both sides must use the same.
"""

import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bridge.sandbox.keys import hkdf
from bridge.sandbox.signal.errors import Undecryptable

MAX_AHEAD: Final = 2000
"""How many messages a chain may be ahead, and how many keys of missing messages are kept (libsignal's bound)."""

_BLOCK: Final = 16
_ZEROS: Final = bytes(32)
_X3DH_FIRST: Final = b"\xff" * 32
"""What X3DH puts before the secrets for Curve25519 (its section 2.2, `F`), to tell them from an XEdDSA encoding."""


class MessageKeys(NamedTuple):
    """The three keys of one message."""

    cipher: bytes
    mac: bytes
    iv: bytes


def master(secrets: bytes) -> tuple[bytes, bytes]:
    """Return the first root key and chain key of a session from the concatenated results of X3DH."""
    derived = hkdf(_X3DH_FIRST + secrets, _ZEROS, b"WhisperText", 64)
    return derived[:32], derived[32:]


def root_step(root: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return the next root key, and the chain key of the direction whose turn it is."""
    derived = hkdf(secret, root, b"WhisperRatchet", 64)
    return derived[:32], derived[32:]


def chain_step(chain: bytes) -> tuple[bytes, bytes]:
    """Return the seed of the chain's present message, and the next chain key."""
    return hmac.digest(chain, b"\x01", "sha256"), hmac.digest(chain, b"\x02", "sha256")


def message_keys(seed: bytes) -> MessageKeys:
    """Return the keys of a message between two devices."""
    derived = hkdf(seed, _ZEROS, b"WhisperMessageKeys", 80)
    return MessageKeys(derived[:32], derived[32:64], derived[64:])


def group_message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Return cipher key and IV of a message in a group, which is signed and so has no MAC key."""
    derived = hkdf(seed, _ZEROS, b"WhisperGroup", 48)
    return derived[16:], derived[:16]


def aes_encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """Return the plaintext under AES-256-CBC, filled up to whole blocks as PKCS#7 says (RFC 5652, section 6.3)."""
    fill = _BLOCK - len(plaintext) % _BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plaintext + bytes((fill,)) * fill) + encryptor.finalize()


def aes_decrypt(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Return what `aes_encrypt` was given; raise `Undecryptable` for anything that it did not make."""
    if not ciphertext or len(ciphertext) % _BLOCK:
        raise Undecryptable("no whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    filled = decryptor.update(ciphertext) + decryptor.finalize()
    fill = filled[-1]
    if not 1 <= fill <= _BLOCK or filled[-fill:] != bytes((fill,)) * fill:
        raise Undecryptable("wrong filling")
    return filled[:-fill]
