"""App state: the account's settings as a log of encrypted patches, from which a linked device learns its push name.

A *collection* has a version and a hash over all its present values (LTHash: a sum of 64 numbers modulo 65536 per value,
so that a value can be added without knowing the others). Each patch carries a MAC of the hash it leads to and one of
its own values, and a device refuses a patch that does not fit. All keys come from one 32-byte key by HKDF. Read from
whatsmeow's package `appstate` and checked against the client itself.
"""

import hmac
import json
import secrets
import struct
import time
from dataclasses import dataclass
from typing import Final

from bridge.protos import server_sync, sync_action
from bridge.sandbox.accounts import Account
from bridge.sandbox.keys import hkdf
from bridge.sandbox.signal.kdf import aes_encrypt
from bridge.sandbox.state import State

KEY_ID: Final = b"\0\0\0\0\0\x01"
PUSH_NAME_COLLECTION: Final = "critical_block"
_SET: Final = b"\x01"
_EMPTY_HASH: Final = bytes(128)
_HASH_NUMBERS: Final = "<64H"


@dataclass(frozen=True, slots=True)
class Patch:
    """One step of a collection, serialised as `SyncdPatch`."""

    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Keys:
    index: bytes
    cipher: bytes
    value_mac: bytes
    snapshot_mac: bytes
    patch_mac: bytes

    @classmethod
    def of(cls, key: bytes) -> "_Keys":
        derived = hkdf(key, b"", b"WhatsApp Mutation Keys", 160)
        return cls(*(derived[at : at + 32] for at in range(0, 160, 32)))


@dataclass(frozen=True, slots=True)
class _Step:
    """Where a patch leads to."""

    collection: str
    version: int
    hash: bytes


class AppState:
    """The collections of all accounts, in the state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def patches(self, account: Account, collection: str, after: int) -> list[Patch]:
        """Return the steps of a collection behind a version."""
        rows = self._state.rows(
            "SELECT version, patch FROM app_state WHERE phone = ? AND collection = ? AND version > ? ORDER BY version",
            account.phone,
            collection,
            after,
        )
        return [Patch(version, body) for version, body in rows]

    def set_push_name(self, account: Account) -> None:
        """Add the account's name to its settings, once."""
        if self.patches(account, PUSH_NAME_COLLECTION, 0):
            return
        value = sync_action.SyncActionValue(timestamp=int(time.time() * 1000))
        value.pushNameSetting.name = account.name
        self._append(account, PUSH_NAME_COLLECTION, ["setting_pushName"], value)

    def _append(
        self, account: Account, collection: str, index: list[str], value: "sync_action.SyncActionValue"
    ) -> None:
        row = self._state.one(
            "SELECT version, hash FROM app_state WHERE phone = ? AND collection = ? ORDER BY version DESC LIMIT 1",
            account.phone,
            collection,
        )
        before, old_hash = row or (0, _EMPTY_HASH)
        version = before + 1
        keys = _Keys.of(account.app_state_key)
        mutation, value_mac = _mutation(keys, index, value)
        new_hash = _add(old_hash, value_mac)
        patch = _patch(keys, _Step(collection, version, new_hash), mutation, value_mac)
        self._state.run(
            "INSERT INTO app_state VALUES (?, ?, ?, ?, ?)", account.phone, collection, version, new_hash, patch
        )


def _mutation(
    keys: _Keys, index: list[str], value: "sync_action.SyncActionValue"
) -> tuple["server_sync.SyncdMutation", bytes]:
    """Return the change that sets a value, and the value's MAC."""
    name = json.dumps(index, separators=(",", ":")).encode()
    iv = secrets.token_bytes(16)
    plaintext = sync_action.SyncActionData(index=name, value=value, padding=b"", version=1).SerializeToString()
    ciphertext = iv + aes_encrypt(keys.cipher, iv, plaintext)
    bound = _SET + KEY_ID
    length = len(bound).to_bytes(8, "big")
    value_mac = hmac.digest(keys.value_mac, bound + ciphertext + length, "sha512")[:32]
    record = server_sync.SyncdRecord(
        index=server_sync.SyncdIndex(blob=hmac.digest(keys.index, name, "sha256")),
        value=server_sync.SyncdValue(blob=ciphertext + value_mac),
        keyID=server_sync.KeyId(ID=KEY_ID),
    )
    return server_sync.SyncdMutation(operation=server_sync.SyncdMutation.SET, record=record), value_mac


def _add(old: bytes, value_mac: bytes) -> bytes:
    """Return the hash of a collection after one value was added."""
    added = hkdf(value_mac, b"", b"WhatsApp Patch Integrity", 128)
    pairs = zip(struct.unpack(_HASH_NUMBERS, old), struct.unpack(_HASH_NUMBERS, added), strict=True)
    return struct.pack(_HASH_NUMBERS, *((one + other) & 0xFFFF for one, other in pairs))


def _patch(keys: _Keys, step: _Step, mutation: "server_sync.SyncdMutation", value_mac: bytes) -> bytes:
    number, name = step.version.to_bytes(8, "big"), step.collection.encode()
    snapshot_mac = hmac.digest(keys.snapshot_mac, step.hash + number + name, "sha256")
    patch_mac = hmac.digest(keys.patch_mac, snapshot_mac + value_mac + number + name, "sha256")
    patch = server_sync.SyncdPatch(
        version=server_sync.SyncdVersion(version=step.version),
        mutations=[mutation],
        snapshotMAC=snapshot_mac,
        patchMAC=patch_mac,
        keyID=server_sync.KeyId(ID=KEY_ID),
    )
    return bytes(patch.SerializeToString())
