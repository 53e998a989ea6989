"""The store of the API in memory, for tests over the wire: instances, endpoints, people; keys are in `keys`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import trio

from bridge.domain.ids import EndpointId, Epoch, InstanceKey
from bridge.errors import BridgeError
from bridge.store.contacts import ContactRow
from bridge.store.errors import IdempotencyMismatch, InProgress
from bridge.store.instance_log import LogRow
from bridge.store.replies import Asked, Reply
from bridge.store.rows import InstanceRow, Page
from tests.support.keys import MemoryAudit, MemoryKeys


def now() -> datetime:
    return datetime.now(UTC)


def instance_row(key: InstanceKey, **fields: object) -> InstanceRow:
    row = InstanceRow(
        key=key,
        name=None,
        external_id=None,
        metadata={},
        desired="paused",
        state="created",
        reason=None,
        since=now(),
        next_retry_at=None,
        needs="none",
        jid=None,
        lid=None,
        push_name=None,
        last_seq=0,
        last_event_at=None,
        owner=None,
        epoch=Epoch(0),
        created_at=now(),
    )
    return replace(row, **fields)  # type: ignore[arg-type]


@dataclass
class MemoryContacts:
    """The people of one address book, whichever device asks."""

    people: list[ContactRow] = field(default_factory=list)

    async def page(self, jid: str, *, search: str | None, limit: int, cursor: str | None) -> Page[ContactRow]:
        found = [one for one in self.people if search is None or search in (one.name or "")]
        found = [one for one in found if cursor is None or one.place > cursor]
        return Page(tuple(found[:limit]), found[limit - 1].place if len(found) > limit else None)

    async def find(self, jid: str, *, phone: str | None = None, lid: str | None = None) -> ContactRow | None:
        return next((one for one in self.people if (phone or one.phone, lid or one.lid) == (one.phone, one.lid)), None)

    async def other_address(self, *, phone: str | None = None, lid: str | None = None) -> str | None:
        return None


@dataclass
class MemoryLog:
    """What happened to instances, whichever is asked about; one page holds all."""

    entries: list[LogRow] = field(default_factory=list)
    asked: list[tuple[int, int, str | None]] = field(default_factory=list)

    async def page(self, key: InstanceKey, *, last_seq: int, limit: int, cursor: str | None) -> Page[LogRow]:
        self.asked.append((last_seq, limit, cursor))
        return Page(tuple(self.entries[:limit]), None)


@dataclass
class MemoryReplies:
    """Answers of calls with an Idempotency-Key; None for one that runs."""

    kept: dict[tuple[str, str, str], tuple[Asked, datetime, Reply | None]] = field(default_factory=dict)

    async def begin(self, asked: Asked) -> Reply | datetime:
        key = (asked.key_id, asked.route, asked.idempotency_key)
        if key not in self.kept:
            self.kept[key] = (asked, now(), None)
            return self.kept[key][1]
        earlier, _, reply = self.kept[key]
        if earlier.request_hash != asked.request_hash:
            raise IdempotencyMismatch
        if reply is None:
            raise InProgress
        return reply

    async def finish(self, asked: Asked, begun_at: datetime, reply: Reply) -> None:
        self.kept[asked.key_id, asked.route, asked.idempotency_key] = (asked, begun_at, reply)

    async def forget(self, asked: Asked, begun_at: datetime) -> None:
        del self.kept[asked.key_id, asked.route, asked.idempotency_key]


@dataclass
class MemoryStore:
    """Instances, endpoints and keys; `broken` makes calls on the first two, whose repositories it is itself, fail."""

    rows: dict[InstanceKey, InstanceRow] = field(default_factory=dict)
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    webhooks: dict[EndpointId, tuple[InstanceKey | None, str, tuple[str, ...], bytes]] = field(default_factory=dict)
    broken: BridgeError | None = None
    contacts: MemoryContacts = field(default_factory=MemoryContacts)
    log: MemoryLog = field(default_factory=MemoryLog)
    replies: MemoryReplies = field(default_factory=MemoryReplies)

    @property
    def instances(self) -> "MemoryStore":
        return self

    @property
    def endpoints(self) -> "MemoryStore":
        return self

    def add_key(self, key: str, role: str = "admin", expires_at: datetime | None = None, **limits: object) -> None:
        self.keys.put(key, role, expires_at, **limits)

    async def get(self, key: InstanceKey) -> InstanceRow | None:
        await self._touch()
        return self.rows.get(key)

    async def list(
        self,
        *,
        state: str | None,
        external_id: str | None,
        limit: int,
        cursor: str | None,
        only: frozenset[str] | None = None,
    ) -> Page[InstanceRow]:
        await self._touch()
        rows = sorted(self.rows.values(), key=lambda row: row.key)
        rows = [row for row in rows if state in {None, row.state} and external_id in {None, row.external_id}]
        rows = [row for row in rows if (cursor is None or row.key > cursor) and (only is None or row.key in only)]
        return Page(tuple(rows[:limit]), rows[limit - 1].key if len(rows) > limit else None)

    async def upsert(
        self, id: EndpointId, instance_key: InstanceKey | None, url: str, events: Sequence[str], secret: bytes
    ) -> None:
        await self._touch()
        self.webhooks[id] = (instance_key, url, tuple(events), secret)

    async def _touch(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
