"""Opens a file as WhatsApp's media hosts have it, piece by piece as it comes.

Its media key is expanded by HKDF-SHA256, with a word for the kind of file as info, to IV (16 bytes), cipher key (32)
and MAC key (32). The file is AES-256-CBC of the content (PKCS#7), and behind it the first 10 bytes of HMAC-SHA256 over
IV and ciphertext. So what the pieces give is only to be believed once `end` has found all of it right. As whatsmeow's
`download.go` does, whose words the errors have: they decide whether a download is tried again (bridge/domain/media.py).
"""

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

MAC_BYTES = 10
BLOCK_BYTES = 16
OVERHEAD_BYTES = MAC_BYTES + BLOCK_BYTES
"""A sealed file has at most so much more than its content."""
_KEY_BYTES = 112
"""The last 32 are of no use here."""


class BadFile(Exception):
    """The file is not what its message says:"""


class Plain:
    """One file that comes and is not sealed."""

    def __init__(self, sha256: bytes) -> None:
        self._hash = hashlib.sha256()
        self._expected = sha256

    def take(self, piece: memoryview | bytes) -> bytes:
        """Return the piece."""
        self._hash.update(piece)
        return bytes(piece)

    def end(self) -> bytes:
        """Return nothing; raise `BadFile` when it is another file."""
        if not hmac.compare_digest(self._hash.digest(), self._expected):
            raise BadFile("hash of unencrypted media doesn't match")
        return b""


class Opening:
    """One sealed file that comes. Everything it is given is checked at the end."""

    def __init__(self, media_key: bytes, info: str, *, sealed_sha256: bytes, sha256: bytes) -> None:
        derived = HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=info.encode()).derive(media_key)
        iv, key, mac_key = derived[:16], derived[16:48], derived[48:80]
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        self._unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
        self._mac = HMAC(mac_key, hashes.SHA256())
        self._mac.update(iv)
        self._sealed, self._plain = hashlib.sha256(), hashlib.sha256()
        self._expected = sealed_sha256, sha256
        self._held = b""
        """The last bytes so far, which may be the MAC."""
        self._size = 0

    def take(self, piece: memoryview | bytes) -> bytes:
        """Return what the next piece of the sealed file adds to the content."""
        self._sealed.update(piece)
        data = self._held + bytes(piece)
        body, self._held = data[:-MAC_BYTES], data[-MAC_BYTES:]
        self._size += len(body)
        self._mac.update(body)
        return self._opened(self._unpadder.update(self._cipher.update(body)))

    def end(self) -> bytes:
        """Return the last of the content; raise `BadFile` when any of it is not what it should be."""
        sealed_sha256, sha256 = self._expected
        if not self._size:
            raise BadFile("file too short")
        if not hmac.compare_digest(self._sealed.digest(), sealed_sha256):
            raise BadFile("hash of media ciphertext doesn't match")
        if not hmac.compare_digest(self._mac.finalize()[:MAC_BYTES], self._held):
            raise BadFile("invalid media hmac")
        try:
            last = self._opened(self._unpadder.update(self._cipher.finalize()) + self._unpadder.finalize())
        except ValueError as error:
            raise BadFile(f"failed to decrypt file: {error}") from None
        if not hmac.compare_digest(self._plain.digest(), sha256):
            raise BadFile("hash of media plaintext doesn't match")
        return last

    def _opened(self, content: bytes) -> bytes:
        self._plain.update(content)
        return content


def reader(media_key: bytes, info: str, *, sealed_sha256: bytes, sha256: bytes) -> Opening | Plain:
    """Return what takes a file in; one without a hash of its sealed form is not sealed, key or not."""
    if not sealed_sha256:
        return Plain(sha256)
    return Opening(media_key, info, sealed_sha256=sealed_sha256, sha256=sha256)
