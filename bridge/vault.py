"""Encrypts secrets before they are stored, under a main key that is never in the database.

AES-256-GCM. What a value is for is authenticated with it, so that a row's secret is useless in another row. A sealed
value names its key, which makes a change of the main key a matter of sealing everything again at a start.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.errors import BridgeError

KEY_BYTES = 32
MAGIC = b"\x00wab\x01"
"""Begins every sealed value; the rest is key id, nonce, ciphertext and tag."""
KEY_ID_BYTES = 8
NONCE_BYTES = 12
OPENED_MAX = 4_096
"""Opened values that are kept: a claim opens the secrets of every endpoint that has something to do."""


class BadMainKey(BridgeError):
    """The main key must be 32 bytes, as base64 or as 64 hexadecimal digits."""

    code: ClassVar[str] = "bad_main_key"


class NoMainKey(BridgeError):
    """This process was given no main key, so that it can neither store nor read secrets."""

    code: ClassVar[str] = "no_main_key"


class SecretUnreadable(BridgeError):
    """This secret was encrypted under a main key that is not here."""

    code: ClassVar[str] = "secret_unreadable"


class Vault:
    """Seals with one key, opens with that and with older ones."""

    def __init__(self, key: bytes, older: Iterable[bytes] = ()) -> None:
        self.key_id = _id_of(key)
        self._key = AESGCM(key)
        self._keys = {_id_of(one): AESGCM(one) for one in (*older, key)}
        self._opened: dict[tuple[bytes, str], bytes] = {}

    def __repr__(self) -> str:
        return f"Vault({self.key_id.hex()})"

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return `plain` encrypted, to be opened for the same `purpose` only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return MAGIC + self.key_id + nonce + self._key.encrypt(nonce, plain, purpose.encode())

    def open(self, stored: bytes, purpose: str) -> bytes:
        """Return what was sealed; what was stored before there was a vault comes back as it is.

        Raises `SecretUnreadable`.
        """
        if not stored.startswith(MAGIC):
            return stored
        if (opened := self._opened.get((stored, purpose))) is not None:
            return opened
        rest = stored[len(MAGIC) :]
        key_id, nonce = rest[:KEY_ID_BYTES], rest[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES]
        try:
            plain = self._keys[key_id].decrypt(nonce, rest[KEY_ID_BYTES + NONCE_BYTES :], purpose.encode())
        except (KeyError, InvalidTag, ValueError) as error:
            raise SecretUnreadable(f"It names key {key_id.hex()}.") from error
        if len(self._opened) >= OPENED_MAX:
            self._opened.clear()
        self._opened[stored, purpose] = plain
        return plain

    def current(self, stored: bytes) -> bool:
        """Say whether a stored value is sealed under the key that seals now."""
        return stored.startswith(MAGIC + self.key_id)


def read_key(text: str) -> bytes:
    """Return the bytes of a main key, written as base64 or hexadecimal; raise `BadMainKey`."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadMainKey
    return key


def open_vault(given: str, older: Iterable[str], file: Path) -> Vault:
    """Return the vault of the key that was `given`, else of the one in `file`, made once and for its owner only."""
    text = given or _kept(file)
    return Vault(read_key(text), [read_key(one) for one in older])


def _kept(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123
            opened.write(text + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        return text


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"main key\0" + key).digest()[:KEY_ID_BYTES]
