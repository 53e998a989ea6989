"""The cryptography under everything here: key pairs on Curve25519, XEdDSA signatures, HKDF.

One kind of key serves two purposes. A Curve25519 key pair agrees on secrets (X25519, RFC 7748) and, through XEdDSA,
also signs, so that one identity key is enough for a device. Source: "The XEdDSA and VXEdDSA Signature Schemes", Trevor
Perrin, revision 1, section 2 (conversion) and 4 (XEdDSA).

Key objects are expensive next to what is done with them (deriving a public key takes as long as an agreement, about
50 us), therefore a `KeyPair` keeps them and the conversions of XEdDSA are cached. Agreement is the `cryptography`
package's and XEdDSA is built on libsodium (pynacl), the only one of the two that multiplies a scalar as it is.
"""

import hashlib
import secrets
from functools import lru_cache
from typing import Final

import nacl.bindings
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.exceptions import BadSignatureError

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_P: Final = 2**255 - 19
"""The prime of the field of Curve25519."""
_Q: Final = 2**252 + 27742317777372353535851937790883648493
"""The order of its base point (RFC 7748, section 4.1)."""
_HASH_1: Final = (2**256 - 2).to_bytes(32, "little")
"""The prefix of XEdDSA's hash_1 (section 2.5): no encoded point looks like it, so the hashes never meet."""
_SHA256: Final = SHA256()
_NO_SALT: Final = bytes(32)


class KeyPair:
    """A private and a public Curve25519 key, 32 bytes each."""

    __slots__ = ("_key", "private", "public")

    def __init__(self, private: bytes | None = None, public: bytes | None = None) -> None:
        """Take the private key given, or a new random one.

        Who has stored the public key too may give it: then nothing is computed before the first agreement, which
        makes thousands of stored pairs cheap to load.
        """
        self._key: X25519PrivateKey | None = None
        if private is not None and public is not None:
            self.private, self.public = private, public
            return
        self._key = X25519PrivateKey.generate() if private is None else X25519PrivateKey.from_private_bytes(private)
        self.private = self._key.private_bytes_raw()
        self.public = self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """Return the secret shared with the owner of `public`; raise ValueError for a key that is none."""
        if self._key is None:
            self._key = X25519PrivateKey.from_private_bytes(self.private)
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes derived with HKDF-SHA256 (RFC 5869); an empty salt stands for 32 zero bytes."""
    return HKDF(_SHA256, length, salt or _NO_SALT, info).derive(ikm)


def xeddsa_sign(private: bytes, message: bytes) -> bytes:
    """Return the 64 bytes of the signature with a Curve25519 private key (XEdDSA, section 4, `xeddsa_sign`)."""
    scalar, point = _signing_key(private)
    secret = scalar.to_bytes(32, "little")
    nonce = _scalar(hashlib.sha512(_HASH_1 + secret + message + secrets.token_bytes(64)).digest())
    commitment: bytes = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
    challenge = _scalar(hashlib.sha512(commitment + point + message).digest())
    return commitment + ((nonce + challenge * scalar) % _Q).to_bytes(32, "little")


def xeddsa_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether the owner of the Curve25519 key signed the message.

    Signal's implementation, which WhatsApp uses, keeps the sign bit of the Ed25519 key in the last bit of the
    signature instead of forcing it to zero as the document does. Both kinds are accepted here: ours has a zero there.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    sign = signature[63] & 0x80
    key = _verifying_key(public, sign)
    if key is None:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature[:63] + bytes((signature[63] ^ sign,)) + message, key)
    except BadSignatureError:
        return False
    return True


def _scalar(digest: bytes) -> int:
    return int.from_bytes(digest, "little") % _Q


@lru_cache(maxsize=4096)
def _signing_key(private: bytes) -> tuple[int, bytes]:
    """Return the Ed25519 scalar and point of a Curve25519 key, its sign forced to zero (`calculate_key_pair`)."""
    clamped = bytearray(private)
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    scalar = int.from_bytes(clamped, "little") % _Q
    point: bytes = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
    if point[31] & 0x80:
        return _Q - scalar, point[:31] + bytes((point[31] & 0x7F,))
    return scalar, point


@lru_cache(maxsize=4096)
def _verifying_key(public: bytes, sign: int) -> bytes | None:
    """Return the Ed25519 key of a Curve25519 one: y = (u - 1) / (u + 1) (`convert_mont`); None if there is none."""
    u = int.from_bytes(public, "little")
    if u >= _P or u == _P - 1:
        return None
    y = bytearray(((u - 1) * pow(u + 1, -1, _P) % _P).to_bytes(32, "little"))
    y[31] |= sign
    return bytes(y)
