"""Who may call: API keys in headers, looked up by their SHA-256 and believed for a few seconds.

A key is 256 random bits, so that its plain hash cannot be searched for and needs no salt. Only the hash is ever
compared: how long that takes says nothing about the key. Keys are never read from the URL, which ends up in logs.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

import trio

from bridge.api.address import IPAddress, IPNetwork, client_address, networks, within
from bridge.api.context import Limits
from bridge.api.problems import Forbidden, RateLimited, Unauthorized, UnknownKey
from bridge.api.rate import Buckets
from bridge.api.stores import Keys
from bridge.api.tenure import Tenure, Tenures
from bridge.domain.ids import KeyId
from bridge.keyform import is_mistyped
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
    ADMIN = "admin"
    """Keys and the audit trail: whoever may make keys may do everything."""


class Reach(Enum):
    """Which instances a call touches, and so what a key that is limited to some of them may do with it."""

    ONE = "one"
    """The one that path, body or header name, or the key implies: `Call.instance` says which, and refuses others."""
    SHOWN = "shown"
    """Those that the key may see: the handler asks `Call.only`."""
    ALL = "all"
    """All of them, or none: refused to a limited key."""


ROLES: Mapping[str, frozenset[Access]] = {
    "admin": frozenset(Access),
    "operator": frozenset({Access.READ, Access.SEND, Access.MANAGE}),
    "sender": frozenset({Access.READ, Access.SEND}),
    "viewer": frozenset({Access.READ}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from where. Without a key when the bridge asks for none: then everything is allowed."""

    key: KeyRow | None
    address: IPAddress | None
    tenure: Tenure = field(default_factory=Tenure)
    """For how long the key may be used, of which what stays open takes heed."""

    @property
    def only(self) -> frozenset[str] | None:
        """The instances that this caller may touch; None: all of them."""
        return None if self.key is None or self.key.instances is None else frozenset(self.key.instances)


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

    def __init__(self, keys: Keys, limits: Limits, *, on: bool = True, trusted: Sequence[IPNetwork] = ()) -> None:
        self._keys = keys
        self._on = on
        self._cache_s = limits.key_cache_s
        self._rate_per_s = limits.rate_per_s
        self._trusted = trusted
        self._cache: dict[bytes, tuple[KeyRow | None, float]] = {}
        self._generation = 0
        self._buckets = Buckets()
        self._tenures = Tenures()

    async def identify(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who asks; raise `Unauthorized`, `UnknownKey`, `Forbidden` for a wrong address, or `RateLimited`."""
        headers = tuple(headers)
        by_name = dict(headers)
        address = client_address(peer, headers, self._trusted)
        if not self._on:
            if from_another_site(by_name):
                raise Forbidden("A page of another site cannot call a bridge that asks for no key.")
            return Caller(None, address)
        key = presented_key(by_name)
        if key is None:
            raise Unauthorized
        if is_mistyped(key.decode("latin-1")):
            raise UnknownKey("Its checksum is wrong: it was mistyped or cut.")
        row = await self._find(hashlib.sha256(key).digest())
        if row is None or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
            raise UnknownKey
        if row.networks is not None and (address is None or not within(address, networks(tuple(row.networks)))):
            raise Forbidden("It cannot be used from this address.", address=str(address), key_id=row.id)
        self._count(row)
        return Caller(row, address, self._tenures.of(row))

    @staticmethod
    def allow(caller: Caller, access: Access, reach: Reach) -> None:
        """Raise `Forbidden` unless the role of the caller's key, and what it is limited to, allow the call."""
        if caller.key is None:
            return
        if access not in ROLES.get(caller.key.role, frozenset()):
            raise Forbidden(f"Its role is {caller.key.role}.", role=caller.key.role, needs=access.value)
        if reach is Reach.ALL and caller.only is not None:
            raise Forbidden("It is limited to some instances, and the call is about all of them.", role=caller.key.role)

    async def known(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether the caller may see what is inside, for answers that tell strangers less."""
        try:
            self.allow(await self.identify(peer, headers), Access.READ, Reach.ALL)
        except (Unauthorized, UnknownKey, Forbidden, RateLimited):
            return False
        return True

    def forget(self, id: KeyId) -> None:
        """Let a key do nothing more that was revoked in the store just now, and end what it has left open."""
        self._cache.clear()  # by hash, which is not known here
        self._generation += 1
        self._tenures.revoke(id)

    def _count(self, row: KeyRow) -> None:
        rate_per_s = row.rate_per_s or self._rate_per_s
        if rate_per_s:
            wait_s = self._buckets.take(row.id, rate_per_s, trio.current_time())
            if wait_s:
                raise RateLimited(retry_after_s=round(wait_s, 3), rate_per_s=rate_per_s)

    async def _find(self, key_hash: bytes) -> KeyRow | None:
        now = trio.current_time()
        cached = self._cache.get(key_hash)
        if cached is not None and now < cached[1]:
            return cached[0]
        generation = -1
        while generation != self._generation:  # else it may have been revoked while we asked
            generation = self._generation
            row = await self._keys.find(key_hash)
        while len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        believed_s = min(self._cache_s, UNKNOWN_S) if row is None else self._cache_s
        self._cache[key_hash] = (row, now + believed_s)
        return row
