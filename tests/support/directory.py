"""The directory of instances without a WhatsApp, for tests of the API over the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import trio

from bridge.domain.ids import CommandId, InstanceKey, MessageId
from bridge.domain.pacing import Turn
from bridge.domain.questions import OnWhatsApp, Question
from bridge.domain.sends import SendOptions
from bridge.errors import BridgeError
from bridge.ids import new_instance_key
from bridge.instances.errors import AlreadyConnected, NotConnected
from bridge.instances.phonebook import Lookup
from bridge.store.errors import InstanceNotFound
from bridge.store.rows import InstanceRow
from tests.support.memory import MemoryStore, instance_row, now

T = TypeVar("T")


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
    failures: dict[type[Question[Any]], BaseException] = field(default_factory=dict)
    """Raised in the place of an answer."""
    outcome: str = "sent"
    repeats: BridgeError | None = None
    """What a repeated send is refused with."""
    hold: trio.Event | None = None
    """While set and not fired, calls wait for it after they began."""
    turns: dict[CommandId, Turn] = field(default_factory=dict)
    """Of messages that pacing holds."""
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
        settings: Mapping[str, object] | None = None,
    ) -> InstanceRow:
        await self._work()
        row = instance_row(
            key or new_instance_key(),
            name=name,
            external_id=external_id,
            metadata=dict(metadata),
            settings=dict(settings or {}),
        )
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

    def holds(self, key: InstanceKey) -> Mapping[CommandId, Turn]:
        return self.turns

    async def query(self, key: InstanceKey, question: Question[T]) -> T:
        self._find(key)
        await self._work()
        self.asked.append((key, question))
        if type(question) in self.failures:
            raise self.failures[type(question)]
        return cast("T", self.answers[type(question)])

    async def look_up(self, key: InstanceKey, phones: Sequence[str], *, fresh: bool) -> list[Lookup]:
        return [Lookup(one) for one in await self.query(key, OnWhatsApp(tuple(phones)))]

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
