"""The receiver's database: connects, comes back after every loss, stores through the writer, reads pages of events."""

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
import trio
from psycopg.pq.abc import PGresult

from receiver import statements
from receiver.errors import ConnectionLost, QueryFailed, StoreUnavailable
from receiver.handlers import HandlerName
from receiver.libpq import Connection
from receiver.statements import encoded, text
from receiver.writer import Incoming, Writer

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PAGE_BYTES = 2_000_000
_READ_DEADLINE_S = 8.0
_READS = ("page", "newest", "last_cursor", "runs", "backlog", "retry", "forget")


@dataclass(frozen=True, slots=True)
class Page:
    """Which events to read: those behind the cursor `after` that match every filter given."""

    after: int = 0
    limit: int = 100
    instance: str | None = None
    type: str | None = None
    chat: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook as it was stored; `received_at` in RFC 3339 (UTC), `body` as it was signed."""

    cursor: int
    webhook_id: str
    received_at: str
    attempt: int | None
    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """An event that a handler still has to deal with, or that is parked. Times in RFC 3339 (UTC)."""

    cursor: int
    webhook_id: str
    parked: bool
    attempts: int
    error: str | None
    tried_at: str | None
    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much of a handler's work waits, how much is parked, and since when the oldest waits."""

    pending: int
    parked: int
    oldest_s: float | None


class Store:
    """Stores and reads webhooks. `run` owns the connections; without it every call raises `StoreUnavailable`."""

    def __init__(self, url: str, handlers: Sequence[HandlerName] = (), *, deadline_s: float = 4.0) -> None:
        """`handlers` are those that what is stored from now on has to be given to.

        `deadline_s` is that of one batch: it and a reconnect fit into the 10 s for which the bridge waits.
        """
        self._url = url
        self._writer = Writer(deadline_s, handlers)
        self._connected = trio.Event()
        self._has_schema = False
        self._reader: Connection | None = None
        self._reading = trio.Lock()

    async def store(self, incoming: Incoming) -> bool:
        """Return True when it is committed now, False when it was before; raise `StoreUnavailable` or `NotStored`."""
        return await self._writer.store(incoming)

    async def check(self, deadline_s: float) -> None:
        """Return when the database takes writes, or raise `StoreUnavailable`."""
        with trio.move_on_after(deadline_s):
            await self._writer.store(None)
            return
        raise StoreUnavailable

    @property
    def was_connected(self) -> bool:
        """Say whether the database has been reached once."""
        return self._connected.is_set()

    async def connected(self) -> None:
        """Wait until the database has been reached once and its schema is there."""
        await self._connected.wait()

    def counts(self) -> Mapping[str, int]:
        """Return what was counted since the start: stored, duplicates, batches, refused statements, connections."""
        return dict(self._writer.counts)

    @property
    def committed(self) -> trio.Event:
        """What is set at the next commit of something new; there is another one after each."""
        return self._writer.committed

    async def page(self, page: Page) -> tuple[StoredEvent, ...]:
        """Return the next events in the order of their cursors; raise `StoreUnavailable`."""
        result = await self._ask("page", page.after, page.limit, page.instance, page.type, page.chat, _PAGE_BYTES)
        return tuple(_event(result, row) for row in range(result.ntuples))

    async def before_newest(self, page: Page, count: int) -> int:
        """Return the cursor behind which the `count` newest events of `page` are; raise `StoreUnavailable`."""
        if count == 0:
            return int(text(await self._ask("last_cursor"), 0, 0))
        result = await self._ask("newest", page.instance, page.type, page.chat, page.after, count)
        return max(page.after, int(text(result, 0, 0)))

    async def runs(self, handler: str, *, parked: bool, after: int, limit: int) -> tuple[Run, ...]:
        """Return what `handler` still has to do, or what is parked, behind a cursor; raise `StoreUnavailable`."""
        result = await self._ask("runs", handler, after, str(parked).lower(), limit)
        return tuple(_run(result, row) for row in range(result.ntuples))

    async def backlog(self, handler: str) -> Backlog:
        """Return how much `handler` has to do; raise `StoreUnavailable`."""
        result = await self._ask("backlog", handler)
        oldest = statements.value(result, 0, 2)
        return Backlog(int(text(result, 0, 0)), int(text(result, 0, 1)), None if oldest is None else float(oldest))

    async def retry(self, handler: str, webhook_id: str | None) -> int:
        """Take parked runs up again, all or one; return how many. Raise `StoreUnavailable`."""
        return int(text(await self._ask("retry", handler, webhook_id), 0, 0))

    async def forget(self, days: int, *, after: int, limit: int) -> tuple[int, int | None]:
        """Delete what is older of the `limit` events behind a cursor, unless a handler still has to deal with it.

        Return how many, and the cursor behind which there may be more, or None. Raise `StoreUnavailable`.
        """
        result = await self._ask("forget", after, limit, days)
        more = statements.value(result, 0, 1)
        return int(text(result, 0, 0)), None if more is None else int(more)

    async def _ask(self, name: str, *values: str | int | None) -> PGresult:
        try:
            with trio.fail_after(_READ_DEADLINE_S):
                async with self._reading:
                    return await self._read(name, encoded(values))
        except (ConnectionLost, QueryFailed, trio.TooSlowError) as error:
            log.warning("store.read_failed", query=name, reason=str(error))
            raise StoreUnavailable from error

    async def _read(self, name: str, values: list[bytes | None]) -> PGresult:
        """Read over a connection beside the writer's, so that a long page never holds a commit back."""
        kept, self._reader = self._reader, None
        if kept is not None:
            with contextlib.suppress(ConnectionLost):  # the server may have restarted since: once more below
                return await self._read_over(kept, name, values)
        return await self._read_over(await statements.connect(self._url, _READS), name, values)

    async def _read_over(self, connection: Connection, name: str, values: list[bytes | None]) -> PGresult:
        try:
            result = await connection.call(name, values, binary=False)
        except BaseException:
            connection.close()
            raise
        self._reader = connection
        return result

    async def run(self) -> None:
        """Keep a connection for the writer until cancelled.

        A connection that was of use is replaced at once, and what it had in flight is tried again; after a second
        failure in a row senders are told to come back, and the pauses grow from 0.1 s to 5 s.
        """
        failures = 0
        try:
            while True:
                batches = self._writer.counts["batches"]
                try:
                    await self._serve()
                except (ConnectionLost, QueryFailed) as error:
                    log.warning("store.disconnected", reason=str(error))
                failures = 1 if self._writer.counts["batches"] > batches else failures + 1
                if failures > 1:
                    self._writer.refuse()
                await trio.sleep(pause_s(failures))
        finally:
            self._writer.refuse()
            if self._reader is not None:
                self._reader.close()

    async def _serve(self) -> None:
        schema_first, self._has_schema = not self._has_schema, False
        connection = await statements.connect(self._url, ("insert",), schema=schema_first)
        self._has_schema = True
        try:
            self._writer.counts["connections"] += 1
            self._connected.set()
            log.info("store.connected")
            await self._writer.drive(connection)
        finally:
            connection.close()


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: not at all, then 0.1 s up to 5 s, half of it jitter."""
    if failures < 2:
        return 0
    return min(_FIRST_PAUSE_S * 2.0 ** min(failures - 2, 10), _LONGEST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311


def _event(result: PGresult, row: int) -> StoredEvent:
    value = statements.row(result, row)
    attempt, seq, body = value[3], value[6], text(result, row, 8)
    return StoredEvent(
        cursor=int(text(result, row, 0)),
        webhook_id=text(result, row, 1),
        received_at=text(result, row, 2),
        attempt=None if attempt is None else int(attempt),
        instance=value[4],
        type=value[5],
        seq=None if seq is None else int(seq),
        chat=value[7],
        body=statements.as_bytes(body),
    )


def _run(result: PGresult, row: int) -> Run:
    value = statements.row(result, row)
    seq = value[8]
    return Run(
        cursor=int(text(result, row, 0)),
        webhook_id=text(result, row, 1),
        parked=value[2] == "t",
        attempts=int(text(result, row, 3)),
        error=value[4],
        tried_at=value[5],
        instance=value[6],
        type=value[7],
        seq=None if seq is None else int(seq),
        chat=value[9],
    )
