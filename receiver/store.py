"""The receiver's database: connects, comes back after every loss, stores through the writer, reads pages of events."""

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import structlog
import trio
from psycopg.pq.abc import PGresult

from receiver.errors import ConnectionLost, QueryFailed, StoreUnavailable
from receiver.libpq import Connection
from receiver.writer import Incoming, Writer

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PAGE_BYTES = 2_000_000
_READ_DEADLINE_S = 8.0
_SET_UP_DEADLINE_S = 5.0


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


class Store:
    """Stores and reads webhooks. `run` owns the connections; without it every call raises `StoreUnavailable`."""

    def __init__(self, url: str, *, deadline_s: float = 4.0) -> None:
        """`deadline_s` is that of one batch: it and a reconnect fit into the 10 s for which the bridge waits."""
        self._url = url
        self._queries = _load_queries()
        self._schema = _file("schema.sql")
        self._writer = Writer(deadline_s)
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

    async def connected(self) -> None:
        """Wait until the database has been reached once and its schema is there."""
        await self._connected.wait()

    def counts(self) -> Mapping[str, int]:
        """Return what was counted since the start: stored, duplicates, batches, refused statements, connections."""
        return dict(self._writer.counts)

    async def page(self, page: Page) -> tuple[StoredEvent, ...]:
        """Return the next events in the order of their cursors; raise `StoreUnavailable`."""
        values = (str(page.after), str(page.limit), page.instance, page.type, page.chat, str(_PAGE_BYTES))
        encoded = [None if value is None else value.encode() for value in values]
        try:
            with trio.fail_after(_READ_DEADLINE_S):
                async with self._reading:
                    result = await self._read(encoded)
        except (ConnectionLost, QueryFailed, trio.TooSlowError) as error:
            log.warning("store.read_failed", reason=str(error))
            raise StoreUnavailable from error
        return tuple(_event(result, row) for row in range(result.ntuples))

    async def _read(self, values: list[bytes | None]) -> PGresult:
        """Read over a connection beside the writer's, so that a long page never holds a commit back."""
        kept, self._reader = self._reader, None
        if kept is not None:
            with contextlib.suppress(ConnectionLost):  # the server may have restarted since: once more below
                return await self._read_over(kept, values)
        return await self._read_over(await self._open("page"), values)

    async def _read_over(self, connection: Connection, values: list[bytes | None]) -> PGresult:
        try:
            result = await connection.call("page", values, binary=False)
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
                await trio.sleep(_pause_s(failures))
        finally:
            self._writer.refuse()
            if self._reader is not None:
                self._reader.close()

    async def _serve(self) -> None:
        schema_first, self._has_schema = not self._has_schema, False
        connection = await self._open("insert", schema=schema_first)
        self._has_schema = True
        try:
            self._writer.counts["connections"] += 1
            self._connected.set()
            log.info("store.connected")
            await self._writer.drive(connection)
        finally:
            connection.close()

    async def _open(self, query: str, *, schema: bool = False) -> Connection:
        """Connect, and prepare the one statement that this connection is for."""
        connection = await Connection.open(self._url)
        try:
            with trio.fail_after(_SET_UP_DEADLINE_S):
                await connection.run(self._queries["set_up"])
                if schema:
                    await connection.run(self._queries["schema_lock"] + self._schema)
                await connection.prepare(query, self._queries[query])
        except trio.TooSlowError as error:
            connection.close()
            raise ConnectionLost("no answer while setting up") from error
        except BaseException:
            connection.close()
            raise
        return connection


def _pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: not at all, then 0.1 s up to 5 s, half of it jitter."""
    if failures < 2:
        return 0
    return min(_FIRST_PAUSE_S * 2.0 ** min(failures - 2, 10), _LONGEST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311


def _event(result: PGresult, row: int) -> StoredEvent:
    cursor, webhook_id, received_at, attempt, instance, type_, seq, chat, body = (
        _text(result.get_value(row, column)) for column in range(9)
    )
    assert cursor is not None
    assert webhook_id is not None
    assert received_at is not None
    assert body is not None
    return StoredEvent(
        cursor=int(cursor),
        webhook_id=webhook_id,
        received_at=received_at,
        attempt=None if attempt is None else int(attempt),
        instance=instance,
        type=type_,
        seq=None if seq is None else int(seq),
        chat=chat,
        body=bytes.fromhex(body.removeprefix("\\x")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _file(name: str) -> str:
    return resources.files("receiver").joinpath(name).read_text(encoding="utf-8")


def _load_queries() -> Mapping[str, str]:
    """Return the named blocks of queries.sql."""
    blocks = _file("queries.sql").split("-- name: ")[1:]
    return {name.strip(): text for name, _, text in (block.partition("\n") for block in blocks)}
