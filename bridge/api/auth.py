"""Who may call: API keys in headers, looked up by their SHA-256 and believed for a few seconds.

A key is 256 random bits, so that its plain hash cannot be searched for and needs no salt. Only the hash is ever
compared: how long that takes says nothing about the key. Keys are never read from the URL, which ends up in logs.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

import trio

from bridge.api.context import Keys
from bridge.api.problems import Forbidden, Unauthorized, UnknownKey
from bridge.store.rows import KeyRow

HEADERS = (b"x-api-key", b"apikey", b"token")
"""Where users of other gateways put their key, besides `Authorization: Bearer`."""
UNKNOWN_S = 1.0
"""How long a key stays unknown without asking again: bounds what guessing costs the store."""
CACHE_SIZE = 10_000


class Access(Enum):
    """What a call does, and so which roles may make it."""

    READ = "read"
    SEND = "send"
    MANAGE = "manage"


_ALLOWED: Mapping[str, frozenset[Access]] = {
    "admin": frozenset(Access),
    "operator": frozenset(Access),
    "sender": frozenset({Access.READ, Access.SEND}),
    "viewer": frozenset({Access.READ}),
}


def presented_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key that a request carries, the first of the headers that has one."""
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and credentials.strip():
        return credentials.strip()
    return next((key for name in HEADERS if (key := headers.get(name, b"").strip())), None)


def from_another_site(headers: Mapping[bytes, bytes]) -> bool:
    """Say whether a browser sends this on behalf of a page of another site: without keys nothing else would stop it."""
    return headers.get(b"sec-fetch-site") in {b"cross-site", b"same-site"}


class Gate:
    """Lets a call pass or raises."""

    def __init__(self, keys: Keys, *, on: bool, cache_s: float) -> None:
        self._keys = keys
        self._on = on
        self._cache_s = cache_s
        self._cache: dict[bytes, tuple[KeyRow | None, float]] = {}

    async def admit(self, headers: Mapping[bytes, bytes], access: Access) -> None:
        """Raise `Unauthorized`, `UnknownKey` or `Forbidden` unless the key in `headers` may do this."""
        if not self._on:
            if from_another_site(headers):
                raise Forbidden("A page of another site cannot call a bridge that asks for no key.")
            return
        key = presented_key(headers)
        if key is None:
            raise Unauthorized
        row = await self._find(hashlib.sha256(key).digest())
        if row is None or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
            raise UnknownKey
        if access not in _ALLOWED.get(row.role, frozenset()):
            raise Forbidden(role=row.role)

    async def known(self, headers: Mapping[bytes, bytes]) -> bool:
        """Say whether the caller may see what is inside, for answers that tell strangers less."""
        try:
            await self.admit(headers, Access.READ)
        except (Unauthorized, UnknownKey, Forbidden):
            return False
        return True

    async def _find(self, key_hash: bytes) -> KeyRow | None:
        now = trio.current_time()
        cached = self._cache.get(key_hash)
        if cached is not None and now < cached[1]:
            return cached[0]
        row = await self._keys.find(key_hash)
        while len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        believed_s = min(self._cache_s, UNKNOWN_S) if row is None else self._cache_s
        self._cache[key_hash] = (row, now + believed_s)
        return row
