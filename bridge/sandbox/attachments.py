"""How a file is sealed before it goes to the media host, and opened after it came from there.

A fresh media key of 32 bytes is expanded by HKDF, with a word for the kind of file as info, to IV, cipher key and MAC
key. The sealed file is AES-256-CBC of the content (PKCS#7) and behind it the first 10 bytes of HMAC-SHA256 over IV and
ciphertext. The message carries the media key, the hash of the content and the hash of the sealed file; the host sees
nothing but the latter. Read from whatsmeow's `upload.go` and `download.go`, and checked against the client itself.

Files are read and written piece by piece, so a large one costs no memory.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as hmacs
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from bridge.errors import BridgeError
from bridge.sandbox.keys import hkdf

_PIECE_BYTES: Final = 1 << 20
MAC_BYTES: Final = 10
_BLOCK_BYTES: Final = 16


class BadMedia(BridgeError):
    """The file is not what its message says: a hash or the MAC is wrong."""

    code = "bad_media"
    status = 422


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: `info` goes into its keys, `mms` is its word in the host's addresses."""

    info: bytes
    mms: str


FILE_KINDS: Final[Mapping[str, FileKind]] = {
    "image": FileKind(b"WhatsApp Image Keys", "image"),
    "sticker": FileKind(b"WhatsApp Image Keys", "image"),
    "video": FileKind(b"WhatsApp Video Keys", "video"),
    "audio": FileKind(b"WhatsApp Audio Keys", "audio"),
    "document": FileKind(b"WhatsApp Document Keys", "document"),
    "history": FileKind(b"WhatsApp History Keys", "md-msg-hist"),
    "app_state": FileKind(b"WhatsApp App State Keys", "md-app-state"),
    "thumbnail": FileKind(b"WhatsApp Link Thumbnail Keys", "thumbnail-link"),
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a message says about its file."""

    media_key: bytes
    sha256: bytes
    sealed_sha256: bytes
    size: int
    """Bytes of the content, without padding and MAC."""


class Sink(Protocol):
    """Where bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class _Keys:
    iv: bytes
    cipher: bytes
    mac: bytes

    @classmethod
    def of(cls, media_key: bytes, kind: FileKind) -> "_Keys":
        derived = hkdf(media_key, b"", kind.info, 112)
        return cls(derived[:16], derived[16:48], derived[48:80])


def seal(content: BinaryIO, sealed: Sink, kind: FileKind) -> Sealed:
    """Write the content's sealed form; return what its message has to say."""
    media_key = secrets.token_bytes(32)
    keys = _Keys.of(media_key, kind)
    cipher, padder = Cipher(algorithms.AES(keys.cipher), modes.CBC(keys.iv)).encryptor(), PKCS7(128).padder()
    mac = hmacs.HMAC(keys.mac, hashes.SHA256())
    mac.update(keys.iv)
    plain, whole, size = hashlib.sha256(), hashlib.sha256(), 0

    def write(ciphertext: bytes) -> None:
        mac.update(ciphertext)
        whole.update(ciphertext)
        sealed.write(ciphertext)

    while piece := content.read(_PIECE_BYTES):
        size += len(piece)
        plain.update(piece)
        write(cipher.update(padder.update(piece)))
    write(cipher.update(padder.finalize()) + cipher.finalize())
    tag = mac.finalize()[:MAC_BYTES]
    whole.update(tag)
    sealed.write(tag)
    return Sealed(media_key, plain.digest(), whole.digest(), size)


def open_sealed(sealed: BinaryIO, sealed_bytes: int, content: Sink, said: Sealed, kind: FileKind) -> None:
    """Write the content of a sealed file of that size; raise `BadMedia` where it is not what its message says.

    What was written is to be thrown away then: it is checked at the end.
    """
    keys = _Keys.of(said.media_key, kind)
    left = sealed_bytes - MAC_BYTES
    if left <= 0 or left % _BLOCK_BYTES:
        raise BadMedia(f"a sealed file of {sealed_bytes} bytes")
    cipher, unpadder = Cipher(algorithms.AES(keys.cipher), modes.CBC(keys.iv)).decryptor(), PKCS7(128).unpadder()
    mac = hmacs.HMAC(keys.mac, hashes.SHA256())
    mac.update(keys.iv)
    plain, whole, size = hashlib.sha256(), hashlib.sha256(), 0

    def write(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        plain.update(piece)
        content.write(piece)

    while left and (piece := sealed.read(min(left, _PIECE_BYTES))):
        left -= len(piece)
        mac.update(piece)
        whole.update(piece)
        write(unpadder.update(cipher.update(piece)))
    try:
        write(unpadder.update(cipher.finalize()) + unpadder.finalize())
    except ValueError as error:
        raise BadMedia("wrong filling") from error
    tag = sealed.read(MAC_BYTES)
    whole.update(tag)
    if not hmac.compare_digest(tag, mac.finalize()[:MAC_BYTES]):
        raise BadMedia("the MAC is wrong")
    if whole.digest() != said.sealed_sha256:
        raise BadMedia("the hash of the sealed file is another")
    if plain.digest() != said.sha256 or size != said.size:
        raise BadMedia("hash or size of the content is another")
