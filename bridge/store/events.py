"""Stores events, and with them their messages and deliveries, in transactions that many callers share.

Callers that wait while a transaction is on its way are put into the next one together (group commit); nobody waits for
a timer. What an append returns is committed.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psycopg
import structlog
import trio

from bridge.domain.events import Event
from bridge.domain.ids import Epoch, EventId, InstanceKey, NodeId
from bridge.meters import EVENTS
from bridge.store.errors import StaleOwner, StoreUnavailable
from bridge.store.pool import Pool
from bridge.store.prepared import Statement
from bridge.store.queries import load
from bridge.store.trio_psycopg import TrioConnection

BATCH_MAX = 400
"""Drafts in one transaction, give or take one caller's."""
KEY_MAX = 200
"""Characters of what is indexed; a peer chooses message ids, and a B-tree refuses rows above 2,700 bytes."""
YEAR_3000_S = 32_503_680_000.0
"""What lies beyond is no time but an error of its clock."""
_TRY_AGAIN = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
_SQL = load("events")
_APPEND = Statement(_SQL["append"])


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is ready to be stored: its body is `head`, the `seq` that it gets, and `tail`."""

    event: Event
    id: EventId
    head: str
    tail: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An event that is in the store; `new` is False when it had been there before, under this id and `seq`."""

    id: EventId
    seq: int
    new: bool


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is read again."""

    id: EventId
    seq: int
    type: str
    body: str
    received_at: datetime


@dataclass(slots=True)
class _Waiting:
    """A caller of `append`, until its transaction is through."""

    key: InstanceKey
    owner: NodeId
    epoch: Epoch
    drafts: Sequence[Draft]
    done: trio.Event
    result: tuple[Stored, ...] | Exception = ()


@dataclass(frozen=True, slots=True)
class _Written:
    """What a transaction did: whether it stored something new, and whether that is to be delivered somewhere."""

    stored: bool
    to_deliver: bool


class Ingest:
    """Stores events. `run` is the one task that commits; without it `append` raises `StoreUnavailable`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queue: list[_Waiting] = []
        self._wake = trio.Event()
        self._running = False
        self._listeners: list[Callable[[], None]] = []
        self._stored_listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that made deliveries."""
        self._listeners.append(listener)

    async def append(
        self, key: InstanceKey, owner: NodeId, epoch: Epoch, drafts: Sequence[Draft]
    ) -> tuple[Stored, ...]:
        """Return when `drafts` are committed, in their order; a draft whose `dedup_key` is stored already stays out.

        Raises `StaleOwner` when `owner` and `epoch` are no longer the instance's, and `StoreUnavailable` when
        PostgreSQL did not answer: then it is unknown whether they are stored, and storing them again is safe.
        """
        if not drafts:
            return ()
        if not self._running:
            raise StoreUnavailable("Events are not being stored now.")
        waiting = _Waiting(key, owner, epoch, drafts, trio.Event())
        self._queue.append(waiting)
        self._wake.set()
        await waiting.done.wait()
        if isinstance(waiting.result, Exception):
            raise waiting.result
        return waiting.result

    @property
    def waiting(self) -> int:
        """How many events wait for their commit."""
        return sum(len(waiting.drafts) for waiting in self._queue)

    def on_stored(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that stored something new."""
        self._stored_listeners.append(listener)

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what is appended until `stop`; then what still waits, and end."""
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wake_on, stop)
                task_status.started()
                while self._queue or not stop.is_set():
                    await self._wake.wait()
                    self._wake = trio.Event()
                    while batch := self._next_batch():
                        await self._commit(batch)
                    if stop.is_set():
                        self._running = False
                        self._wake.set()
                nursery.cancel_scope.cancel()
        finally:
            self._running = False
            _fail(self._queue, StoreUnavailable("Events are not being stored any more."))
            self._queue = []

    async def after(
        self, instance: InstanceKey, seq: int, *, limit: int = 100, types: Iterable[str] = ()
    ) -> tuple[StoredEvent, ...]:
        """Return the instance's next events behind `seq`."""
        params = {"instance": instance, "seq": seq, "limit": limit, "types": list(types)}
        async with self._pool.connection() as conn:
            rows = await (await conn.execute(_SQL["after"], params)).fetchall()
        return tuple(StoredEvent(*row) for row in rows)

    async def _wake_on(self, stop: trio.Event) -> None:
        await stop.wait()
        self._wake.set()

    def _next_batch(self) -> list[_Waiting]:
        count = size = 0
        while count < len(self._queue) and size < BATCH_MAX:
            size += len(self._queue[count].drafts)
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Store a batch in one transaction; when PostgreSQL refuses it, each caller's in one of its own."""
        outcome: Exception = StoreUnavailable("The task that stores events was stopped.")
        try:
            async with self._pool.connection() as conn:
                written = [await self._write_twice(conn, batch)]
                if written == [None] and len(batch) > 1:
                    written = [await self._write_twice(conn, [waiting]) for waiting in batch]
            self._tell([one for one in written if one is not None])
        except (StoreUnavailable, psycopg.Error) as error:
            outcome = error
        finally:
            _fail((waiting for waiting in batch if waiting.result == ()), outcome)
            for waiting in batch:
                waiting.done.set()

    def _tell(self, written: Sequence[_Written]) -> None:
        if any(one.stored for one in written):
            for listener in self._stored_listeners:
                listener()
        if any(one.to_deliver for one in written):
            for listener in self._listeners:
                listener()

    async def _write_twice(self, conn: TrioConnection, batch: Sequence[_Waiting]) -> _Written | None:
        """Store a batch as `_write` does, at the second try if need be; None when PostgreSQL refuses what is in it."""
        refused: Exception | None = None
        for _ in range(2):
            try:
                return await self._write(conn, batch)
            except _TRY_AGAIN as error:
                refused = error  # somebody stored one of these, or took the locks crosswise, since our snapshot
            except _REFUSED as error:
                refused = error
                break
        log.warning("events.batch_refused", callers=len(batch), error=type(refused).__name__)
        for waiting in batch:
            waiting.result = refused or StoreUnavailable()
        return None

    async def _write(self, conn: TrioConnection, batch: Sequence[_Waiting]) -> _Written:
        """Run the statement, give each caller its result, and return what came of it."""
        drafts = [(waiting, draft) for waiting in batch for draft in waiting.drafts]
        params = {"drafts": _encode([_row(ord_, *item) for ord_, item in enumerate(drafts)]).decode()}
        rows = {row[0]: row for row in await conn.call(_APPEND, params)}
        ord_ = 0
        for waiting in batch:
            mine = [rows.get(number) for number in range(ord_, ord_ + len(waiting.drafts))]
            ord_ += len(waiting.drafts)
            found = tuple(Stored(row[1], row[2], row[3]) for row in mine if row is not None)
            _count(waiting.drafts, found)
            waiting.result = found if len(found) == len(mine) else StaleOwner(instance=waiting.key)
        return _Written(any(row[3] for row in rows.values()), any(row[4] for row in rows.values()))


def _count(drafts: Sequence[Draft], stored: Sequence[Stored]) -> None:
    if len(stored) == len(drafts):
        for draft, result in zip(drafts, stored, strict=True):
            if result.new:
                EVENTS.labels(draft.event.type).inc()


def _fail(waiting: Iterable[_Waiting], error: Exception) -> None:
    for one in waiting:
        one.result = error
        one.done.set()


def _row(ord_: int, waiting: _Waiting, draft: Draft) -> dict[str, object]:
    """Return the draft as the statement takes it; what is absent is null."""
    event = draft.event
    row: dict[str, object] = {
        "ord": ord_,
        "instance": waiting.key,
        "owner": waiting.owner,
        "epoch": waiting.epoch,
        "id": draft.id,
        "type": event.type,
        "name": event.name,
        "chat": indexable(event.chat),
        "dedup_key": indexable(event.dedup_key),
        "head": draft.head,
        "tail": draft.tail,
    }
    if (message := event.message) is not None:
        row["message_chat"] = indexable(message.chat)
        row["sender"] = indexable(message.sender)
        row["message_id"] = indexable(message.message_id)
        row["from_me"] = message.from_me
        row["kind"] = message.kind
        row["text"] = None if message.text is None else storable(message.text)
        row["status"] = message.status
        row["at"] = message.at if 0 <= message.at < YEAR_3000_S else 0
    if (change := event.status) is not None:
        row["changed_ids"] = [indexable(message_id) for message_id in change.message_ids]
        row["changed_to"] = change.status
        row["changed_at"] = event.at
    if (outcome := event.outcome) is not None:
        row["command"] = outcome.command
        row["command_state"] = outcome.state
        row["command_message_id"] = outcome.message_id
        row["command_error"] = None if outcome.error is None else storable(outcome.error)
    return row


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL's text refuses: NUL and half surrogate pairs become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def indexable(text: str) -> str:
    """Return `text` in a form that fits an index: of what is too long, the beginning and a hash."""
    text = storable(text)
    if len(text) <= KEY_MAX:
        return text
    return text[:64] + "~" + hashlib.sha256(text.encode()).hexdigest()
