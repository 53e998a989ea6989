"""A stream encrypted with a passphrase: written and read in chunks, so that neither side holds it in memory.

A head (magic, JSON with the parameters of scrypt), then chunks: a length and AES-256-GCM. A chunk's nonce is a prefix
of the file's own, its number, and whether it is the last one, so that a chunk that is changed, moved, left out or cut
off at the end is noticed (the STREAM construction). The head is authenticated with every chunk.
"""

import hashlib
import json
import secrets
import struct
from typing import BinaryIO, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.errors import BridgeError

MAGIC = b"wab-backup\x00\x01"
CHUNK_BYTES = 256 * 1024
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**16, 8, 1
"""64 MiB and a tenth of a second for each guess of a passphrase. RFC 7914."""
SCRYPT_N_MAX = 2**20
_LENGTH = struct.Struct(">I")
_HEAD_MAX = 4096
_PREFIX_BYTES = 7


class BadBackup(BridgeError):
    """This backup can't be read:"""

    code: ClassVar[str] = "bad_backup"


class Sealer:
    """A file to write into; `close` is what makes it whole."""

    def __init__(self, out: BinaryIO, passphrase: str, *, n: int | None = None) -> None:
        n = n or SCRYPT_N
        salt, self._prefix = secrets.token_bytes(16), secrets.token_bytes(_PREFIX_BYTES)
        head = json.dumps({"salt": salt.hex(), "prefix": self._prefix.hex(), "n": n, "r": SCRYPT_R, "p": SCRYPT_P})
        self._head = head.encode()
        self._cipher = AESGCM(_key(passphrase, salt, n, SCRYPT_R, SCRYPT_P))
        self._out = out
        self._buffer = bytearray()
        self._number = 0
        out.write(MAGIC + _LENGTH.pack(len(self._head)) + self._head)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add `data`; a chunk goes out when it is known that another follows."""
        self._buffer += data
        while len(self._buffer) > CHUNK_BYTES:
            self._put(bytes(self._buffer[:CHUNK_BYTES]), last=False)
            del self._buffer[:CHUNK_BYTES]

    def close(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _put(self, plain: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._prefix, self._number, last), plain, self._head)
        self._out.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class Opener:
    """A file to read from; raises `BadBackup` for a wrong passphrase and for anything that was changed."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        self._source = source
        if self._exactly(len(MAGIC)) != MAGIC:
            raise BadBackup("it is no backup, or one of another version.")
        self._head = self._exactly(min(_LENGTH.unpack(self._exactly(_LENGTH.size))[0], _HEAD_MAX))
        try:
            head = json.loads(self._head)
            n, r, p = int(head["n"]), int(head["r"]), int(head["p"])
            salt, self._prefix = bytes.fromhex(head["salt"]), bytes.fromhex(head["prefix"])
        except (ValueError, KeyError, TypeError):
            raise BadBackup("its head is damaged.") from None
        if not (
            1 < n <= SCRYPT_N_MAX
            and n & (n - 1) == 0
            and (r, p) == (SCRYPT_R, SCRYPT_P)
            and len(self._prefix) == _PREFIX_BYTES
        ):
            raise BadBackup("its head is damaged.")
        self._cipher = AESGCM(_key(passphrase, salt, n, r, p))
        self._number = 0
        self._plain = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        while not self._plain and not self._ended:
            self._plain = self._next()
        data, self._plain = self._plain[:size], self._plain[size:]
        return data

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes; raise `BadBackup` when there are fewer."""
        parts, missing = [], size
        while missing:
            part = self.read(missing)
            if not part:
                raise BadBackup("it ends too early.")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _next(self) -> bytes:
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if not 16 <= length <= CHUNK_BYTES + 16:
            raise BadBackup("it is damaged.")
        sealed = self._exactly(length)
        for last in (False, True):
            try:
                plain = self._cipher.decrypt(_nonce(self._prefix, self._number, last), sealed, self._head)
            except InvalidTag:
                continue
            self._number += 1
            self._ended = last
            return plain
        raise BadBackup("the passphrase is wrong." if self._number == 0 else "it is damaged.")

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) != size:
            raise BadBackup("it ends too early.")
        return data


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + _LENGTH.pack(number) + bytes([last])


def _key(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, maxmem=n * r * 130 + 2**20, dklen=32)
