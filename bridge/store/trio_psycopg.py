"""psycopg's async connection, driven by Trio.

psycopg's core is generators that say "wait to read" or "wait to write"; its `AsyncConnection` drives them with asyncio.
This subclass drives them with Trio and no asyncio loop ever runs. What it replaces in psycopg 3.3.9 is the lock,
`connect`, `wait`, `cancel_safe` and the ends of transactions and pipelines; it leans on private names, hence the pin in
pyproject.toml and `test_store_trio_psycopg.py`.
"""

import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import trio
from psycopg import AsyncConnection, AsyncPipeline, AsyncTransaction, pq
from psycopg import errors as e
from psycopg._capabilities import capabilities
from psycopg.abc import AdaptContext, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_attempts, make_conninfo, timeout_from_conninfo
from psycopg.rows import AsyncRowFactory

from bridge.store.drive import READ, drive, drive_connect, ready_now
from bridge.store.prepared import Prepared, Statement

RV = TypeVar("RV")

CLEANUP_S = 5.0
"""How long a cancelled task may take to put its connection right before the connection is closed instead."""
_lookups = trio.CapacityLimiter(2)


class OwnerlessLock:
    """Serialises the use of a connection.

    `trio.Lock` insists that the task that acquired it releases it, which breaks psycopg's async generators when another
    task finalises them.
    """

    def __init__(self) -> None:
        self._free = trio.Semaphore(1, max_value=1)

    def locked(self) -> bool:
        return self._free.value == 0

    async def __aenter__(self) -> None:
        try:  # no schedule point when free: `wait` brings one
            self._free.acquire_nowait()
        except trio.WouldBlock:
            await self._free.acquire()

    async def __aexit__(self, *exc: object) -> None:
        self._free.release()


class TrioTransaction(AsyncTransaction):
    """A transaction whose COMMIT or ROLLBACK is sent even when its task is cancelled.

    Trio's cancellation stays in force until the scope is left, so without a shield the end of the transaction would be
    refused at its first await.
    """

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        swallow: bool | None = None
        with trio.move_on_after(CLEANUP_S, shield=True):
            swallow = await super().__aexit__(exc_type, exc, tb)
        if swallow is not None:
            return swallow
        _abort(self._conn)
        raise e.OperationalError("the end of the transaction was not answered in time; the connection is closed")


class TrioPipeline(AsyncPipeline):
    """A pipeline that collects its answers even when its task is cancelled, so that the connection stays usable.

    What its body completed is carried out; of a cancelled body, the query that is running is stopped.
    """

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        done = False
        with trio.move_on_after(CLEANUP_S, shield=True):
            if isinstance(exc, trio.Cancelled):
                with suppress(e.Error):
                    await self._conn.cancel_safe(timeout=CLEANUP_S)
            await super().__aexit__(exc_type, exc, tb)
            done = True
        if not done:
            _abort(self._conn)
            raise e.OperationalError("the pipeline was not answered in time; the connection is closed")


class TrioConnection(AsyncConnection[Any]):
    """`psycopg.AsyncConnection` for Trio. Close it with `abort` or `close`; both are immediate."""

    answer_timeout_s: float | None = None
    """Without an answer for this long the connection is closed and `OperationalError` raised; None waits for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = OwnerlessLock()  # type: ignore[assignment]
        self.opened_at_s = self.idle_since_s = monotonic()
        self._called: Prepared | None = None

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Any] | None = None,
        cursor_factory: Any = None,
        **kwargs: ConnParam,
    ) -> Self:
        """Connect to the first address that answers; raise the last address's `psycopg.Error` when none does."""
        params = await cls._get_connection_params(conninfo, **kwargs)
        timeout_s = timeout_from_conninfo(params)
        last: e.Error = e.OperationalError("no address to connect to")
        for attempt in await _addresses(params):
            try:
                conn = await drive_connect(cls._connect_gen(make_conninfo("", **attempt)), timeout_s)
            except e._WaitTimeout:
                last = e.ConnectionTimeout("connection timeout expired")
            except e.Error as exc:
                last = exc
            else:
                conn._autocommit = autocommit
                conn.prepare_threshold = prepare_threshold
                if row_factory is not None:
                    conn.row_factory = row_factory
                if cursor_factory is not None:
                    conn.cursor_factory = cursor_factory
                if context is not None:
                    conn._adapters = AdaptersMap(context.adapters)
                return conn
        raise last.with_traceback(None)

    async def call(self, statement: Statement, params: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Run a prepared statement and return its rows, for half of what a cursor costs; raise psycopg's errors.

        Only in autocommit, also within `transaction()`, and not within a pipeline.
        """
        async with self.lock:
            if self._pipeline is not None or not self._autocommit:
                raise e.NotSupportedError("`call` needs autocommit and no pipeline")
            if self._called is None:
                self._called = Prepared(self)
            return await self.wait(self._called.call(statement, params))

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        if name is None and self._called is not None:  # psycopg lets go all statements after a ROLLBACK or DROP
            self._called.forget()
        yield from super()._deallocate(name)

    async def wait(self, gen: PQGen[RV], interval: float = 0, timeout: float | None = None) -> RV:
        """Run a psycopg generator to its end; when cancelled, stop the query on the server first."""
        limit_s = timeout if timeout is not None else self.answer_timeout_s
        try:
            return await drive(gen, self.pgconn.socket, limit_s)
        except (trio.Cancelled, KeyboardInterrupt):
            if self._busy():
                with trio.move_on_after(CLEANUP_S, shield=True):
                    await self._stop_query(gen)
                # A pipeline stays busy until its end collects the answers, which TrioPipeline does.
                if self._pipeline is None and self._busy():
                    self.abort()
            raise
        except e._WaitTimeout:
            if timeout is not None:
                raise
            self.abort()
            raise e.OperationalError(f"no answer from the server in {limit_s} s") from None

    def _busy(self) -> bool:
        return self.pgconn.status == pq.ConnStatus.OK and self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE

    async def _stop_query(self, gen: PQGen[Any]) -> None:
        """Ask the server to stop the query, and read what it still sends."""
        with suppress(e.Error, OSError):  # QueryCanceled is what was asked for; of other errors the state tells
            await self.cancel_safe(timeout=CLEANUP_S)
            await drive(gen, self.pgconn.socket)

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel the running query; raise `CancellationTimeout` after `timeout` seconds."""
        if not self._should_cancel():
            return
        if not capabilities.has_cancel_safe():  # libpq before 17, so psycopg without its [binary] wheel
            await trio.to_thread.run_sync(self.cancel, limiter=_lookups)
            return
        try:
            await drive_connect(self._cancel_gen(), timeout or None)
        except e._WaitTimeout:
            raise e.CancellationTimeout("cancellation timeout expired") from None

    def abort(self) -> None:
        """Close now, without an await; a task that waits for this connection gets `OperationalError`."""
        if self._closed and self.pgconn.status == pq.ConnStatus.BAD:
            return
        self._closed = True
        with suppress(e.OperationalError, OSError):  # a lost connection has no socket any more
            trio.lowlevel.notify_closing(self.pgconn.socket)
        self.pgconn.finish()

    async def close(self) -> None:
        """Close now."""
        self.abort()

    @property
    def clean(self) -> bool:
        """Whether the next user may have this connection: open, no transaction, no pipeline, nobody using it."""
        return (
            not self.closed
            and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
            and self._pipeline is None
            and self._num_transactions == 0
            and not self.lock.locked()
        )

    def readable(self) -> bool:
        """Whether the server sent something unasked: on an idle connection, most likely that it closed it."""
        return self.closed or bool(ready_now(self.pgconn.socket, READ))

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[TrioTransaction]:
        """Open a transaction, or a savepoint within one; its end is shielded from cancellation."""
        tx = TrioTransaction(self, savepoint_name, force_rollback)
        if self._pipeline is not None:
            async with self.pipeline(), tx, self.pipeline():
                yield tx
        else:
            async with tx:
                yield tx

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Send several queries without waiting for each answer; its end is shielded from cancellation."""
        async with self.lock:
            self._check_connection_ok()
            if self._pipeline is None:
                self._pipeline = TrioPipeline(self)
            pipeline = self._pipeline
        try:
            async with pipeline:
                yield pipeline
        finally:
            if pipeline.level == 0:
                self._pipeline = None

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[AsyncPipeline]:
        """Serve `executemany`, which holds the lock already."""
        pipeline = self._pipeline = TrioPipeline(self, _no_lock=True)
        try:
            async with pipeline:
                yield pipeline
        finally:
            self._pipeline = None


def _abort(conn: AsyncConnection[Any]) -> None:
    assert isinstance(conn, TrioConnection)
    conn.abort()


async def _addresses(params: Mapping[str, Any]) -> list[Any]:
    """Return libpq's list of addresses to try; names are looked up in a thread."""
    hosts = str(params.get("hostaddr") or params.get("host") or "").split(",")
    if all(not host or host.startswith(("/", "@")) or _is_address(host) for host in hosts):
        return conninfo_attempts(dict(params))
    return await trio.to_thread.run_sync(conninfo_attempts, dict(params), abandon_on_cancel=True, limiter=_lookups)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
