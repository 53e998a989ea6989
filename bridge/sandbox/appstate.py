"""App state: the account's settings as a log of encrypted patches, from which a linked device learns its push name,
the names of contacts, and which chats are muted, pinned or archived; and to which it adds its own changes.

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

from google.protobuf.json_format import MessageToDict

from bridge.protos import server_sync, sync_action
from bridge.sandbox.accounts import Account
from bridge.sandbox.keys import hkdf
from bridge.sandbox.signal.kdf import aes_decrypt, aes_encrypt
from bridge.sandbox.state import State

KEY_ID: Final = b"\0\0\0\0\0\x01"
PUSH_NAME_COLLECTION: Final = "critical_block"
_SET: Final = b"\x01"
_EMPTY_HASH: Final = bytes(128)
_HASH_NUMBERS: Final = "<64H"
_MAC_BYTES: Final = 32
_IV_BYTES: Final = 16


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


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a collection under its index: the kind of setting, then what it concerns (a JID)."""

    collection: str
    index: tuple[str, ...]
    value: "sync_action.SyncActionValue"
    version: int = 1
    """Of the kind of setting, a fixed number for each."""


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
        if not self.patches(account, PUSH_NAME_COLLECTION, 0):
            self.set(account, self.name_of(account))

    def name_of(self, account: Account) -> Setting:
        """Return the account's name as a value of its settings."""
        value = sync_action.SyncActionValue()
        value.pushNameSetting.name = account.name
        return Setting(PUSH_NAME_COLLECTION, ("setting_pushName",), value)

    def set(self, account: Account, setting: Setting) -> int:
        """Add a step that sets one value, as the phone does; return the collection's new version."""
        setting.value.timestamp = int(time.time() * 1000)
        keys = _Keys.of(account.app_state_key)
        mutation = _mutation(keys, setting)
        step = self._next(account, setting.collection, [mutation])
        self._store(account, step, _sealed(keys, step, [mutation]), [(mutation, setting)])
        return step.version

    def values(self, account: Account) -> list[tuple[str, str, dict[str, object]]]:
        """Return all present values: collection, index, value. What client and phone have agreed on."""
        rows = self._state.rows(
            "SELECT collection, name, value FROM app_state_value WHERE phone = ? ORDER BY collection, name",
            account.phone,
        )
        return [
            (collection, name, MessageToDict(sync_action.SyncActionValue.FromString(value)))
            for collection, name, value in rows
        ]

    def accept(self, account: Account, collection: str, known: int, body: bytes) -> list[Setting] | None:
        """Add a client's step behind the version it knows, and return what it sets.

        None, and nothing changed, when another step came first or when its MACs are not those of the account's key.
        """
        patch = server_sync.SyncdPatch.FromString(body)
        mutations = list(patch.mutations)
        keys = _Keys.of(account.app_state_key)
        step = self._next(account, collection, mutations)
        sealed = _sealed(keys, step, mutations)
        if step.version != known + 1 or sealed.patchMAC != patch.patchMAC or sealed.snapshotMAC != patch.snapshotMAC:
            return None
        settings = [_opened(keys, collection, mutation) for mutation in mutations]
        self._store(account, step, sealed, list(zip(mutations, settings, strict=True)))
        return settings

    def _next(self, account: Account, collection: str, mutations: list["server_sync.SyncdMutation"]) -> _Step:
        row = self._state.one(
            "SELECT version, hash FROM app_state WHERE phone = ? AND collection = ? ORDER BY version DESC LIMIT 1",
            account.phone,
            collection,
        )
        before, old_hash = row or (0, _EMPTY_HASH)
        macs: dict[bytes, bytes] = {}
        for mutation in mutations:
            index = bytes(mutation.record.index.blob)
            replaced = macs.get(index) or self._value_mac(account, collection, index)
            if replaced is not None:
                old_hash = _mixed(old_hash, replaced, -1)
            macs[index] = _value_mac(mutation)
            old_hash = _mixed(old_hash, macs[index], 1)
        return _Step(collection, before + 1, old_hash)

    def _value_mac(self, account: Account, collection: str, index: bytes) -> bytes | None:
        row = self._state.one(
            "SELECT mac FROM app_state_value WHERE phone = ? AND collection = ? AND index_mac = ?",
            account.phone,
            collection,
            index,
        )
        return None if row is None else bytes(row[0])

    def _store(
        self,
        account: Account,
        step: _Step,
        patch: "server_sync.SyncdPatch",
        values: list[tuple["server_sync.SyncdMutation", Setting]],
    ) -> None:
        body = patch.SerializeToString()
        self._state.run(
            "INSERT INTO app_state VALUES (?, ?, ?, ?, ?)",
            account.phone,
            step.collection,
            step.version,
            step.hash,
            body,
        )
        for mutation, setting in values:
            self._state.run(
                "INSERT OR REPLACE INTO app_state_value VALUES (?, ?, ?, ?, ?, ?)",
                account.phone,
                step.collection,
                bytes(mutation.record.index.blob),
                _value_mac(mutation),
                json.dumps(setting.index),
                setting.value.SerializeToString(),
            )


def _mutation(keys: _Keys, setting: Setting) -> "server_sync.SyncdMutation":
    """Return the change that sets a value."""
    name = json.dumps(setting.index, separators=(",", ":")).encode()
    iv = secrets.token_bytes(_IV_BYTES)
    data = sync_action.SyncActionData(index=name, value=setting.value, padding=b"", version=setting.version)
    ciphertext = iv + aes_encrypt(keys.cipher, iv, data.SerializeToString())
    record = server_sync.SyncdRecord(
        index=server_sync.SyncdIndex(blob=hmac.digest(keys.index, name, "sha256")),
        value=server_sync.SyncdValue(blob=ciphertext + _content_mac(keys, ciphertext)),
        keyID=server_sync.KeyId(ID=KEY_ID),
    )
    return server_sync.SyncdMutation(operation=server_sync.SyncdMutation.SET, record=record)


def _content_mac(keys: _Keys, ciphertext: bytes) -> bytes:
    bound = _SET + KEY_ID
    length = len(bound).to_bytes(8, "big")
    return hmac.digest(keys.value_mac, bound + ciphertext + length, "sha512")[:_MAC_BYTES]


def _opened(keys: _Keys, collection: str, mutation: "server_sync.SyncdMutation") -> Setting:
    """Return what a change sets; the patch's MACs vouch for it."""
    blob = bytes(mutation.record.value.blob)[:-_MAC_BYTES]
    plain = aes_decrypt(keys.cipher, blob[:_IV_BYTES], blob[_IV_BYTES:])
    data = sync_action.SyncActionData.FromString(plain)
    return Setting(collection, tuple(json.loads(data.index)), data.value, data.version)


def _value_mac(mutation: "server_sync.SyncdMutation") -> bytes:
    return bytes(mutation.record.value.blob)[-_MAC_BYTES:]


def _mixed(old: bytes, value_mac: bytes, sign: int) -> bytes:
    """Return the hash of a collection after one value was added (1) or taken away (-1)."""
    change = hkdf(value_mac, b"", b"WhatsApp Patch Integrity", 128)
    pairs = zip(struct.unpack(_HASH_NUMBERS, old), struct.unpack(_HASH_NUMBERS, change), strict=True)
    return struct.pack(_HASH_NUMBERS, *((one + sign * other) & 0xFFFF for one, other in pairs))


def _sealed(keys: _Keys, step: _Step, mutations: list["server_sync.SyncdMutation"]) -> "server_sync.SyncdPatch":
    """Return the patch with the MACs of where it leads to and of its values."""
    number, name = step.version.to_bytes(8, "big"), step.collection.encode()
    snapshot_mac = hmac.digest(keys.snapshot_mac, step.hash + number + name, "sha256")
    value_macs = b"".join(_value_mac(mutation) for mutation in mutations)
    return server_sync.SyncdPatch(
        version=server_sync.SyncdVersion(version=step.version),
        mutations=mutations,
        snapshotMAC=snapshot_mac,
        patchMAC=hmac.digest(keys.patch_mac, snapshot_mac + value_macs + number + name, "sha256"),
        keyID=server_sync.KeyId(ID=KEY_ID),
    )
