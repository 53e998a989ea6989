"""Group commit: webhooks that wait at the same time are stored by one statement, which is one commit.

Nobody waits for a timer: while one commit runs, what arrives becomes the next batch. One task writes, over one
connection, so that cursors grow in the order of commits.
"""

import struct
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import trio

from receiver.envelope import Index
from receiver.errors import ConnectionLost, NotStored, QueryFailed, ReceiverError, StoreUnavailable
from receiver.handlers import HandlerName
from receiver.libpq import BIGINT, BYTEA, INTEGER, TEXT, Connection, binary_array

log = structlog.get_logger()

_BATCH_ROWS = 256
_BATCH_BYTES = 8_000_000
_TRIES = 2
_FAULT_OF_A_ROW = ("22", "23", "54")
"""Classes of SQLSTATE that a single row can cause: data, integrity, limits."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified webhook on its way into the store; `body` is what was signed, byte by byte."""

    webhook_id: str
    attempt: int | None
    index: Index
    body: bytes


class _Waiter:
    __slots__ = ("answered", "error", "incoming", "stored", "tries")

    def __init__(self, incoming: Incoming | None) -> None:
        self.incoming = incoming  # None asks only whether the database takes writes
        self.answered = trio.Event()
        self.stored = False
        self.error: ReceiverError | None = None
        self.tries = 0

    def fail(self, error: ReceiverError) -> None:
        self.error = error
        self.answered.set()


class Writer:
    """The queue of webhooks that want to be stored, and the loop that stores them over a connection."""

    def __init__(self, deadline_s: float, handlers: Sequence[HandlerName] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.committed = trio.Event()
        self._handlers = binary_array(TEXT, [handler.encode() for handler in handlers])
        self._waiting: deque[_Waiter] = deque()
        self._work = trio.Event()
        self._deadline_s = deadline_s
        self._open = False

    async def store(self, incoming: Incoming | None) -> bool:
        """Return True when it is committed now, False when it was before; raise `StoreUnavailable` or `NotStored`."""
        if not self._open:
            raise StoreUnavailable
        waiter = _Waiter(incoming)
        self._waiting.append(waiter)
        self._work.set()
        await waiter.answered.wait()
        if waiter.error is not None:
            raise waiter.error
        return waiter.stored

    def refuse(self) -> None:
        """Answer all who wait, and all who come until the next `drive`, that the database is away."""
        self._open = False
        while self._waiting:
            self._waiting.popleft().fail(StoreUnavailable())

    async def drive(self, connection: Connection) -> None:
        """Store what waits and what comes, until the connection is lost; then raise `ConnectionLost`.

        What was in flight then is tried once more over the next connection: storing it twice changes nothing.
        """
        self._open = True
        while True:
            if not self._waiting:
                self._work = trio.Event()
                await self._work.wait()
            batch = self._take()
            try:
                with trio.fail_after(self._deadline_s):
                    await self._store(connection, batch)
            except trio.TooSlowError as error:
                self._put_back(batch)
                self.refuse()  # a second try would outlast the senders' patience
                raise ConnectionLost("no answer in time") from error
            except BaseException:
                self._put_back(batch)
                raise

    def _take(self) -> list[_Waiter]:
        batch, size = list[_Waiter](), 0
        while self._waiting and len(batch) < _BATCH_ROWS and size < _BATCH_BYTES:
            waiter = self._waiting.popleft()
            size += len(waiter.incoming.body) if waiter.incoming is not None else 0
            batch.append(waiter)
        return batch

    def _put_back(self, batch: Sequence[_Waiter]) -> None:
        for waiter in reversed(batch):
            waiter.tries += 1
            if waiter.answered.is_set():
                continue
            if waiter.tries < _TRIES:
                self._waiting.appendleft(waiter)
            else:
                waiter.fail(StoreUnavailable())

    async def _store(self, connection: Connection, batch: Sequence[_Waiter]) -> None:
        try:
            await self._insert(connection, batch)
        except QueryFailed as error:
            refusal = error
        else:
            return
        await trio.lowlevel.checkpoint()
        log.warning("store.refused", rows=len(batch), sqlstate=refusal.sqlstate)
        self.counts["refused_statements"] += 1
        if not refusal.sqlstate.startswith(_FAULT_OF_A_ROW):
            raise ConnectionLost(str(refusal)) from refusal  # a full disk, a standby: the next one may do better
        if len(batch) == 1:
            batch[0].fail(NotStored(refusal.sqlstate))
            return
        for waiter in batch:
            await self._store(connection, [waiter])

    async def _insert(self, connection: Connection, batch: Sequence[_Waiter]) -> None:
        rows = [waiter.incoming for waiter in batch if waiter.incoming is not None]
        result = await connection.call("insert", [*_columns(rows), self._handlers], binary=True)
        new = {result.get_value(row, 0) for row in range(result.ntuples)}
        self.counts["batches"] += 1
        self.counts["stored"] += len(new)
        self.counts["duplicates"] += len(rows) - len(new)
        for waiter in batch:
            if waiter.incoming is not None:
                webhook_id = waiter.incoming.webhook_id.encode()
                waiter.stored = webhook_id in new
                new.discard(webhook_id)  # the second of two equal ones in a batch is the duplicate
            waiter.answered.set()
        if result.ntuples:
            self.committed.set()
            self.committed = trio.Event()


def _columns(rows: Sequence[Incoming]) -> list[bytes]:
    return [
        binary_array(TEXT, [row.webhook_id.encode() for row in rows]),
        binary_array(INTEGER, [None if row.attempt is None else struct.pack("!i", row.attempt) for row in rows]),
        binary_array(TEXT, [_utf8(row.index.instance) for row in rows]),
        binary_array(TEXT, [_utf8(row.index.type) for row in rows]),
        binary_array(BIGINT, [None if row.index.seq is None else struct.pack("!q", row.index.seq) for row in rows]),
        binary_array(TEXT, [_utf8(row.index.chat) for row in rows]),
        binary_array(BYTEA, [row.body for row in rows]),
    ]


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
