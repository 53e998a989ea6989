"""A running API for tests: the real application and server on a socket, over an instance directory in memory."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import httpx2
import trio

from bridge.api.app import create_app
from bridge.api.context import ApiContext, Limits
from bridge.api.hypercorn_fixes import App, Timing
from bridge.api.server import Bound, HttpServer
from bridge.domain.ids import CommandId, EndpointId, Epoch, InstanceKey, MessageId, NodeId
from bridge.domain.questions import Question
from bridge.domain.sends import SendOptions
from bridge.errors import BridgeError
from bridge.ids import new_instance_key
from bridge.instances.errors import AlreadyConnected, NotConnected
from bridge.net.guard import Guard
from bridge.store.contacts import ContactRow
from bridge.store.errors import InstanceNotFound
from bridge.store.instance_log import LogRow
from bridge.store.rows import InstanceRow, Page
from bridge.webhooks import own_headers
from supervisor import Snapshot
from supervisor.snapshot import Kind
from supervisor.snapshot import State as NodeState
from tests.support.keys import MemoryAudit, MemoryKeys

T = TypeVar("T")

API_KEY = "wab_test_key_of_an_administrator"
DEADLINE_S = 10.0


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Connecting:
    status: str
    state: str


@dataclass(frozen=True, slots=True)
class QrCode:
    code: str
    attempt: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PairCode:
    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    state: str = "awaiting_pairing"
    reason: str | None = None
    qr: QrCode | None = None
    code: PairCode | None = None
    paired: bool = False
    over: bool = False


@dataclass
class Watch:
    """A pairing that goes through these states of things, one at each look."""

    states: list[Progress]

    def look(self) -> Progress:
        return self.states.pop(0)

    async def next(self, seen: Progress, within_s: float) -> Progress:
        await trio.lowlevel.checkpoint()
        return self.states.pop(0)


@dataclass(frozen=True, slots=True)
class Ref:
    status: str
    message_id: MessageId | None
    to: str
    at: datetime
    command_id: CommandId


@dataclass(frozen=True, slots=True)
class Asked:
    """A send as the API asked for it."""

    key: InstanceKey
    kind: str
    to: str
    body: Mapping[str, object]
    request_hash: bytes
    idempotency_key: str | None
    options: SendOptions


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
class MemoryStore:
    """Instances, endpoints and keys; `broken` makes calls on the first two, whose repositories it is itself, fail."""

    rows: dict[InstanceKey, InstanceRow] = field(default_factory=dict)
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    webhooks: dict[EndpointId, tuple[InstanceKey | None, str, tuple[str, ...], bytes]] = field(default_factory=dict)
    broken: BridgeError | None = None
    contacts: MemoryContacts = field(default_factory=MemoryContacts)
    log: MemoryLog = field(default_factory=MemoryLog)

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


class FormOnly:
    """Judges the form of URLs as the real thing does, and resolves nothing."""

    async def admit(self, url: str) -> None:
        await trio.lowlevel.checkpoint()
        Guard().judge(url)

    def admit_headers(self, headers: Mapping[str, str]) -> None:
        own_headers.judge(headers)

    async def test(self, id: EndpointId, instance: InstanceKey | None) -> None:
        await trio.lowlevel.checkpoint()

    def resumed(self, id: EndpointId) -> None:
        pass

    def held(self) -> frozenset[EndpointId]:
        return frozenset()


@dataclass
class MemoryDirectory:
    """Instances without a WhatsApp: remembers what it was told, and waits where a test wants it to."""

    store: MemoryStore
    qr_code: QrCode | None = None
    pair_codes: list[tuple[InstanceKey, str, bool]] = field(default_factory=list)
    heard: dict[InstanceKey, float] = field(default_factory=dict)
    watch: Watch = field(default_factory=lambda: Watch([]))
    failure: BaseException | None = None
    sent: list[Asked] = field(default_factory=list)
    asked: list[tuple[InstanceKey, Question[Any]]] = field(default_factory=list)
    answers: dict[type[Question[Any]], object] = field(default_factory=dict)
    outcome: str = "sent"
    repeats: BridgeError | None = None
    """What a repeated send is refused with."""
    hold: trio.Event | None = None
    """While set and not fired, calls wait for it after they began."""
    calls: int = 0
    begun: trio.Event = field(default_factory=trio.Event)
    finished: trio.Event = field(default_factory=trio.Event)

    async def create(
        self,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        *,
        key: InstanceKey | None = None,
    ) -> InstanceRow:
        await self._work()
        row = instance_row(key or new_instance_key(), name=name, external_id=external_id, metadata=dict(metadata))
        self.store.rows[row.key] = row
        return row

    async def connect(self, key: InstanceKey, wait_s: float) -> Connecting:
        await self._work()
        row = self._find(key)
        if row.jid is not None:
            self.store.rows[key] = replace(row, state="online")
            return Connecting("already_logged_in", "online")
        self.store.rows[key] = replace(row, state="awaiting_pairing", needs="scan_qr")
        self.qr_code = QrCode("2@code," + "x" * 200, 1, now() + timedelta(seconds=60))
        return Connecting("qr_generated", "awaiting_pairing")

    async def qr(self, key: InstanceKey, wait_s: float) -> QrCode | None:
        await self._work()
        if self._find(key).jid is not None:
            raise AlreadyConnected
        if self.qr_code is None:
            await trio.sleep(wait_s)
        return self.qr_code

    async def pair_code(self, key: InstanceKey, phone: str, *, notify: bool) -> PairCode:
        await self._work()
        if self._find(key).jid is not None:
            raise AlreadyConnected(state="online")
        self.pair_codes.append((key, phone, notify))
        return PairCode("ABCD-1234", now() + timedelta(seconds=160))

    def watch_pairing(self, key: InstanceKey) -> Watch:
        self._find(key)
        return self.watch

    async def change(self, key: InstanceKey, changes: Mapping[str, Any]) -> InstanceRow:
        await self._work()
        row = self.store.rows[key] = replace(self._find(key), **changes)
        return row

    def heard_ago_s(self, key: InstanceKey) -> float | None:
        return self.heard.get(key)

    async def logout(self, key: InstanceKey) -> InstanceRow:
        await self._work()
        row = self._find(key)
        if row.state != "online":
            raise NotConnected(f"Its state is {row.state}.", state=row.state)
        row = self.store.rows[key] = replace(row, state="logged_out", jid=None, needs="scan_qr")
        return row

    async def disconnect(self, key: InstanceKey) -> InstanceRow:
        await self._work()
        row = self.store.rows[key] = replace(self._find(key), state="paused", desired="paused")
        return row

    async def restart(self, key: InstanceKey) -> InstanceRow:
        await self._work()
        row = self.store.rows[key] = replace(self._find(key), state="connecting")
        return row

    async def delete(self, key: InstanceKey) -> None:
        await self._work()
        del self.store.rows[self._find(key).key]

    async def query(self, key: InstanceKey, question: Question[T]) -> T:
        self._find(key)
        await self._work()
        self.asked.append((key, question))
        return cast("T", self.answers[type(question)])

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
    ) -> Ref:
        self._find(key)
        await self._work()
        self.sent.append(Asked(key, kind, to, body, request_hash, idempotency_key, options))
        number = f"{len(self.sent):02}"
        status = "queued" if options.queued else self.outcome
        return Ref(status, MessageId(f"3EB0{number}"), to, now(), CommandId(f"cmd_{number}"))

    async def repeated(self, key: InstanceKey, idempotency_key: str, request_hash: bytes) -> Ref | None:
        await trio.lowlevel.checkpoint()
        if self.repeats is not None:
            raise self.repeats
        return None

    def _find(self, key: InstanceKey) -> InstanceRow:
        row = self.store.rows.get(key)
        if row is None:
            raise InstanceNotFound(instance=key)
        return row

    async def _work(self) -> None:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        self.finished.set()


@dataclass
class Probes:
    alive: bool = True
    is_started: bool = True
    is_ready: bool = True

    def live(self) -> bool:
        return self.alive

    def started(self) -> bool:
        return self.is_started

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return self.is_ready, {"store": self.is_ready, "draining": not self.is_ready}

    async def metrics(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"bridge_ready 1.0\n"

    def tree(self) -> Snapshot:
        name = f"instance {'a' * 32}"
        child = Snapshot(
            name, Kind.WORKER, NodeState.PARKED, restarts=8, last_error="EngineDown: secret", detail={"state": "failed"}
        )
        return Snapshot("root", Kind.SUPERVISOR, NodeState.RUNNING, since_s=1.5, children=(child,))


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


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about without saying so; fails after a deadline."""
    with trio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # the condition is the server's inside or its peer's socket
            await trio.sleep(0.01)


@dataclass
class Api:
    """A running API and a client that has its key."""

    store: MemoryStore
    directory: MemoryDirectory
    probes: Probes
    server: HttpServer
    bound: Bound
    stop: trio.Event
    client: httpx2.AsyncClient

    def add(self, **fields: object) -> InstanceKey:
        """Put an instance into the store as it might be found there."""
        row = instance_row(new_instance_key(), **fields)
        self.store.rows[row.key] = row
        return row.key

    def stranger(self) -> httpx2.AsyncClient:
        """Return a client without a key."""
        return httpx2.AsyncClient(base_url=self.bound.url, trust_env=False, verify=False, timeout=DEADLINE_S)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes on a connection of its own and return all that comes back until it is closed."""
        with trio.fail_after(DEADLINE_S):
            stream = await trio.open_tcp_stream("127.0.0.1", self.bound.port)
            async with stream:
                for part in parts:
                    await stream.send_all(part)
                return b"".join([chunk async for chunk in stream])


@asynccontextmanager
async def serving(app: App, **options: object) -> AsyncIterator[tuple[HttpServer, Bound, trio.Event]]:
    """Serve any ASGI application; at the end it must stop by itself within a deadline."""
    server = HttpServer(app, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(server.run, stop=stop))
        try:
            yield server, bound, stop
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE_S


@asynccontextmanager
async def running_api(
    *,
    auth_on: bool = True,
    limits: Limits | None = None,
    timing: Timing | None = None,
    drain_s: float = 1,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Run the API on a free port; the client sends the key of an administrator."""
    store = MemoryStore()
    store.add_key(API_KEY)
    directory = MemoryDirectory(store)
    probes = Probes()
    context = ApiContext(
        store,
        directory,
        probes,
        NodeId("node_test"),
        FormOnly(),
        auth_on=auth_on,
        limits=limits or Limits(),
        **settings,
    )
    async with (
        serving(create_app(context), timing=timing, drain_s=drain_s) as (server, bound, stop),
        httpx2.AsyncClient(
            base_url=bound.url, headers={"X-Api-Key": API_KEY}, trust_env=False, verify=False, timeout=DEADLINE_S
        ) as client,
    ):
        yield Api(store, directory, probes, server, bound, stop, client)
