"""What the API needs of the store: the repositories that its handlers use themselves, as the API sees them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import trio

from bridge.domain.ids import CommandId, EndpointId, EventId, InstanceKey, KeyId
from bridge.store.consumers import Consumers
from bridge.store.contacts import ContactRow
from bridge.store.deliveries import DeliveryRow
from bridge.store.endpoints import EndpointRow, EndpointSpec, Lag
from bridge.store.feed import Batch, Filter
from bridge.store.instance_log import LogRow
from bridge.store.messages import StoredMessage
from bridge.store.replays import ReplayRow, Selection
from bridge.store.replies import Asked, Reply
from bridge.store.rows import AuditRow, CommandRow, InstanceRow, KeyRow, NewKey, Page


class Messages(Protocol):
    """The messages that instances know, for reading."""

    async def find(self, key: InstanceKey, message_id: str, /) -> StoredMessage | None: ...
    async def data(self, key: InstanceKey, message: StoredMessage, /) -> Mapping[str, Any] | None: ...


class Commands(Protocol):
    """The sends and how far they are, for reading."""

    async def get(self, id: CommandId, /) -> CommandRow | None: ...
    async def outbox(
        self, instance: InstanceKey, states: Collection[str], /, *, limit: int, cursor: str | None
    ) -> Page[CommandRow]: ...


class Keys(Protocol):
    """The API keys."""

    async def find(self, key_hash: bytes, /) -> KeyRow | None: ...
    async def get(self, id: KeyId, /) -> KeyRow | None: ...
    async def add(self, key: NewKey, /) -> KeyRow | None: ...
    async def page(self, *, limit: int, cursor: str | None) -> Page[KeyRow]: ...
    async def revoke(self, id: KeyId, /) -> bool: ...


class Audit(Protocol):
    """The audit trail."""

    async def insert(self, row: AuditRow, /) -> None: ...
    async def page(
        self, *, instance_key: str | None, key_id: str | None, limit: int, cursor: str | None
    ) -> Page[AuditRow]: ...


class Instances(Protocol):
    """The rows of the instances, for reading."""

    async def get(self, key: InstanceKey, /) -> InstanceRow | None: ...
    async def list(
        self,
        *,
        state: str | None,
        external_id: str | None,
        limit: int,
        cursor: str | None,
        only: frozenset[str] | None = None,
    ) -> Page[InstanceRow]: ...


class Endpoints(Protocol):
    """The endpoints that events are delivered to."""

    async def upsert(
        self, id: EndpointId, instance_key: InstanceKey | None, url: str, events: Sequence[str], secret: bytes
    ) -> object: ...
    async def insert(self, id: EndpointId, spec: EndpointSpec, secret: bytes, /) -> bool: ...
    async def change(
        self,
        id: EndpointId,
        *,
        instance_key: InstanceKey | None,
        every_instance: bool,
        url: str | None,
        events: Sequence[str] | None,
        headers: Mapping[str, str] | None,
        ordering: str | None,
        timeout_s: float | None,
        max_age_s: float | None,
    ) -> EndpointRow | None: ...
    async def get(self, id: EndpointId, /) -> EndpointRow | None: ...
    async def page(
        self,
        *,
        instance_key: InstanceKey | None,
        limit: int,
        cursor: str | None,
        only: frozenset[str] | None,
    ) -> Page[EndpointRow]: ...
    async def lag(self, ids: Sequence[EndpointId], /) -> Mapping[EndpointId, Lag]: ...
    async def rotate(self, id: EndpointId, secret: bytes, /) -> EndpointRow | None: ...
    async def set_state(self, id: EndpointId, state: str, reason: str | None = None, /) -> EndpointRow | None: ...
    async def remove(self, id: EndpointId, /) -> bool: ...


class Deliveries(Protocol):
    """What is, was or will be delivered."""

    async def page(
        self, endpoint: EndpointId, state: str | None, /, *, limit: int, before: EventId | None
    ) -> Sequence[DeliveryRow]: ...
    async def hurry(self, event: EventId, endpoint: EndpointId, /) -> str | None: ...


class Replays(Protocol):
    """Events that endpoints get again."""

    async def insert(
        self, id: str, endpoint: EndpointId, chosen: Selection, request_hash: bytes, /
    ) -> ReplayRow | None: ...
    async def get(self, id: str, /) -> ReplayRow | None: ...
    async def list(self, endpoint: EndpointId, /, *, limit: int) -> Sequence[ReplayRow]: ...
    async def cancel(self, id: str, /) -> None: ...


class Feed(Protocol):
    """What was committed, in that order, for those who pull."""

    @property
    def changed(self) -> trio.Event: ...
    async def read(self, after: int, wanted: Filter, /, *, limit: int) -> Batch: ...
    async def head(self) -> int: ...
    async def position_of(self, instance: InstanceKey, seq: int, /) -> int: ...


class Contacts(Protocol):
    """The people whom an instance knows."""

    async def page(self, jid: str, *, search: str | None, limit: int, cursor: str | None) -> Page[ContactRow]: ...
    async def find(self, jid: str, *, phone: str | None = None, lid: str | None = None) -> ContactRow | None: ...
    async def other_address(self, *, phone: str | None = None, lid: str | None = None) -> str | None: ...


class InstanceLog(Protocol):
    """What happened to instances."""

    async def page(self, key: InstanceKey, *, last_seq: int, limit: int, cursor: str | None) -> Page[LogRow]: ...


class Replies(Protocol):
    """What calls with an Idempotency-Key have answered."""

    async def begin(self, asked: Asked, /) -> Reply | datetime: ...
    async def finish(self, asked: Asked, begun_at: datetime, reply: Reply, /) -> None: ...
    async def forget(self, asked: Asked, begun_at: datetime, /) -> None: ...


class ApiStore(Protocol):
    """The part of the store that handlers use themselves."""

    @property
    def keys(self) -> Keys: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def instances(self) -> Instances: ...
    @property
    def endpoints(self) -> Endpoints: ...
    @property
    def feed(self) -> Feed: ...
    @property
    def consumers(self) -> Consumers: ...
    @property
    def contacts(self) -> Contacts: ...
    @property
    def log(self) -> InstanceLog: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def replays(self) -> Replays: ...
    @property
    def messages(self) -> Messages: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def replies(self) -> Replies: ...
