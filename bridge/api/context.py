"""What the API needs of the rest of the bridge, as the API sees it: the interfaces that its handlers call.

The bridge's real parts fulfil these by their shape, so that this package imports neither actors nor engines.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

import trio

from bridge.domain.ids import CommandId, EndpointId, EventId, InstanceKey, KeyId, MessageId, NodeId
from bridge.domain.lanes import Answer
from bridge.domain.questions import PhoneFound, Question
from bridge.domain.sends import SendOptions
from bridge.media.service import MediaService
from bridge.store.consumers import Consumers
from bridge.store.contacts import ContactRow
from bridge.store.deliveries import DeliveryRow
from bridge.store.endpoints import EndpointRow, EndpointSpec, Lag
from bridge.store.feed import Batch, Filter
from bridge.store.instance_log import LogRow
from bridge.store.messages import StoredMessage
from bridge.store.replays import ReplayRow, Selection
from bridge.store.rows import AuditRow, CommandRow, InstanceRow, KeyRow, NewKey, Page

T = TypeVar("T")


class Connecting(Protocol):
    """What a call to connect led to."""

    @property
    def status(self) -> str: ...
    @property
    def state(self) -> str: ...


class QrCode(Protocol):
    """The code that the phone has to scan now."""

    @property
    def code(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def expires_at(self) -> datetime: ...


class PairCode(Protocol):
    """The code that the phone's owner has to type in."""

    @property
    def code(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...


class Progress(Protocol):
    """How far a pairing is: what can be scanned or typed now, and whether nobody can any more."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def qr(self) -> QrCode | None: ...
    @property
    def code(self) -> PairCode | None: ...
    @property
    def paired(self) -> bool: ...
    @property
    def over(self) -> bool: ...


class Watch(Protocol):
    """Follows the pairing of one instance."""

    def look(self) -> Progress: ...
    async def next(self, seen: Any, within_s: float) -> Progress: ...


class MessageRef(Protocol):
    """How far a message has come. `status` is `unknown` when the engine died in the middle of the send."""

    @property
    def status(self) -> str: ...
    @property
    def message_id(self) -> MessageId | None: ...
    @property
    def to(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def command_id(self) -> CommandId: ...


class Directory(Protocol):
    """The instances of this node. A call that was begun is finished even when its caller is cancelled.

    Raises `BridgeError`s: `unknown_instance` (404), mailbox full (429), store or engine down (503), and for a QR code
    of an instance that is paired already one with code `already_connected`.
    """

    async def create(
        self,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        *,
        key: InstanceKey | None = None,
    ) -> InstanceRow: ...
    async def connect(self, key: InstanceKey, wait_s: float) -> Connecting: ...
    async def qr(self, key: InstanceKey, wait_s: float) -> QrCode | None: ...
    async def pair_code(self, key: InstanceKey, phone: str, *, notify: bool) -> PairCode: ...
    def watch_pairing(self, key: InstanceKey) -> Watch: ...
    async def change(self, key: InstanceKey, changes: Mapping[str, object]) -> InstanceRow: ...
    def heard_ago_s(self, key: InstanceKey) -> float | None: ...
    async def logout(self, key: InstanceKey) -> InstanceRow: ...
    async def disconnect(self, key: InstanceKey) -> InstanceRow: ...
    async def restart(self, key: InstanceKey) -> InstanceRow: ...
    async def delete(self, key: InstanceKey) -> None: ...
    async def query(self, key: InstanceKey, question: Question[T]) -> T: ...
    async def send(
        self,
        key: InstanceKey,
        kind: str,
        to: str,
        body: Mapping[str, object],
        *,
        request_hash: bytes,
        idempotency_key: str | None,
        options: SendOptions,
    ) -> MessageRef: ...
    async def repeated(self, key: InstanceKey, idempotency_key: str, request_hash: bytes) -> MessageRef | None: ...
    async def look_up(self, key: InstanceKey, phones: Sequence[str], *, fresh: bool) -> "Sequence[Lookup]": ...
    async def cancel(self, key: InstanceKey, command: CommandId) -> None: ...


class Lookup(Protocol):
    """What is known of a number, and whether WhatsApp was asked just now."""

    @property
    def found(self) -> PhoneFound: ...
    @property
    def cached(self) -> bool: ...


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


class Webhooks(Protocol):
    """What delivery does for the API. `admit` raises `url_refused`, `admit_headers` `header_refused` (422)."""

    async def admit(self, url: str) -> None: ...
    def admit_headers(self, headers: Mapping[str, str]) -> None: ...
    async def test(self, id: EndpointId, instance: InstanceKey | None) -> Answer | None: ...
    def resumed(self, id: EndpointId) -> None: ...
    def hurried(self) -> None: ...
    def replaying(self) -> None: ...
    def held(self) -> frozenset[EndpointId]: ...


class Contacts(Protocol):
    """The people whom an instance knows."""

    async def page(self, jid: str, *, search: str | None, limit: int, cursor: str | None) -> Page[ContactRow]: ...
    async def find(self, jid: str, *, phone: str | None = None, lid: str | None = None) -> ContactRow | None: ...
    async def other_address(self, *, phone: str | None = None, lid: str | None = None) -> str | None: ...


class InstanceLog(Protocol):
    """What happened to instances."""

    async def page(self, key: InstanceKey, *, last_seq: int, limit: int, cursor: str | None) -> Page[LogRow]: ...


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


class TreeNode(Protocol):
    """A node of the process tree: a supervisor's snapshot."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def since_s(self) -> float: ...
    @property
    def last_error(self) -> str | None: ...
    @property
    def detail(self) -> Mapping[str, object]: ...
    @property
    def children(self) -> "tuple[TreeNode, ...]": ...


class Probes(Protocol):
    """The health of this process. A number that is logged out or banned changes none of the answers."""

    def live(self) -> bool: ...
    def started(self) -> bool: ...
    def ready(self) -> tuple[bool, Mapping[str, object]]: ...
    def tree(self) -> TreeNode: ...
    async def metrics(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request."""

    body_bytes: int = 1_048_576
    body_s: float = 30
    """How long the body of a request may take to arrive."""
    in_flight: int = 1_000
    """Requests at the same time, beyond which callers get 503; probes are not counted."""
    call_s: float = 60
    """How long a handler may go on with what it promised after its caller went away."""
    key_cache_s: float = 10
    """How long a key is believed without asking the store: so long does a revoked key live on."""
    rate_per_s: float = 0
    """Calls that one key may make per second, unless it has a rate of its own; 0: no limit."""
    metadata_bytes: int = 16_384
    inline_bytes: int = 25_165_824
    """Of a body that may hold a file as base64."""
    media_bytes: int = 134_217_728
    """Of a file that is uploaded; multipart may add a little."""
    upload_s: float = 600
    """How long an upload may take to arrive."""
    transfer_s: float = 360
    """How long a send with a file may take, beyond `call_s`."""
    text_chars: int = 65_536
    """WhatsApp's own limit of a text."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything that a handler may use."""

    store: ApiStore
    directory: Directory
    probes: Probes
    node: NodeId
    webhooks: Webhooks
    auth_on: bool = True
    limits: Limits = field(default_factory=Limits)
    stopping: trio.Event = field(default_factory=trio.Event)
    """Set when the bridge is about to stop: what would go on for ever ends then."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    metrics: str = "key"
    """Who may ask for them: key, open or off."""
    audit: str = "changes"
    """What is recorded: changes, all or off."""
    media: MediaService | None = None
    """None where media are of no interest."""
