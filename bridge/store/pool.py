"""The pool of connections: last in, first out, bounded, every wait with a deadline.

A connection comes back clean or is thrown away. Connections are in autocommit: one statement is one transaction, and
`transaction()` is for the few places that need more.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic

import psycopg
import trio
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bridge.store.errors import PoolTimeout, StoreUnavailable
from bridge.store.trio_psycopg import CLEANUP_S, TrioConnection

STATEMENT_TIMEOUT_S = 10.0
IDLE_TRANSACTION_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_S + CLEANUP_S
"""The server stops a statement itself; a server that does not even do that is taken for dead after this long."""


OPEN_TRANSACTION = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What the pool is doing now, and what it has done since it was made."""

    size: int
    in_use: int
    idle: int
    waiting: int
    opened: int
    discarded: int
    timeouts: int


def conninfo_for(
    dsn: str, *, application_name: str = "bridge", statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> str:
    """Return `dsn` with our limits for each session, where it does not set its own; 0 s is no limit."""
    given = conninfo_to_dict(dsn)
    ours = (
        f"-c statement_timeout={statement_timeout_s * 1000:.0f}"
        f" -c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT_S * 1000:.0f}"
        " -c timezone=UTC"
    )
    defaults: dict[str, str | int] = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "gssencmode": "disable",  # saves a round trip; nobody uses it with a bridge
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": round(ANSWER_TIMEOUT_S * 1000),
    }
    params = defaults | {name: value for name, value in given.items() if value is not None}
    params["options"] = f"{ours} {given.get('options') or ''}".strip()  # of two settings the later one wins
    return make_conninfo("", **params)


class Pool:
    """Lends connections; `async with pool.connection() as conn`."""

    def __init__(
        self,
        dsn: str,
        *,
        size: int = 8,
        acquire_timeout_s: float = 10.0,
        max_age_s: float = 3600.0,
        idle_max_s: float = 5.0,
        check_after_s: float = 1.0,
    ) -> None:
        self._conninfo = conninfo_for(dsn)
        self._size = size
        self._acquire_timeout_s = acquire_timeout_s
        self._max_age_s = max_age_s
        self._idle_max_s = idle_max_s
        self._check_after_s = check_after_s
        self._slots = trio.Semaphore(size, max_value=size)
        self._idle: list[TrioConnection] = []
        self._closed = False
        self._opened = self._discarded = self._timeouts = 0
        self._doubted_s = -math.inf

    def open(self) -> None:
        """Lend connections again after `close`; a new pool is open."""
        self._closed = False

    def close(self) -> None:
        """Close the idle connections now, and those in use as they come back."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())

    def doubt(self) -> None:
        """Look at each connection that is idle now before it is lent again: the server may have closed it just now."""
        self._doubted_s = monotonic()

    @property
    def stats(self) -> PoolStats:
        return PoolStats(
            size=self._size,
            in_use=self._size - self._slots.value,
            idle=len(self._idle),
            waiting=self._slots.statistics().tasks_waiting,
            opened=self._opened,
            discarded=self._discarded,
            timeouts=self._timeouts,
        )

    @asynccontextmanager
    async def connection(self, timeout_s: float | None = None) -> AsyncIterator[TrioConnection]:
        """Lend a connection in autocommit.

        Raises `PoolTimeout` when none comes free in time and `StoreUnavailable` when PostgreSQL cannot be reached, goes
        away meanwhile or does not answer in time. Other errors of psycopg pass as they are.
        """
        await self._acquire(self._acquire_timeout_s if timeout_s is None else timeout_s)
        conn: TrioConnection | None = None
        try:
            conn = await self._take()
            yield conn
        except psycopg.OperationalError as exc:
            raise StoreUnavailable(type(exc).__name__) from exc
        finally:
            if conn is not None:
                if conn.pgconn.transaction_status in OPEN_TRANSACTION:
                    with trio.move_on_after(CLEANUP_S, shield=True), suppress(psycopg.Error):
                        await conn.rollback()
                self._give_back(conn)
            self._slots.release()

    @asynccontextmanager
    async def transaction(self, timeout_s: float | None = None) -> AsyncIterator[TrioConnection]:
        """Lend a connection within a transaction: committed at the end, rolled back on an error or a cancellation."""
        async with self.connection(timeout_s) as conn, conn.transaction():
            yield conn

    async def _acquire(self, timeout_s: float) -> None:
        if self._closed:
            raise StoreUnavailable("The pool is closed.")
        if self._slots.value > 0:
            self._slots.acquire_nowait()
            return
        with trio.move_on_after(timeout_s):
            await self._slots.acquire()
            return
        self._timeouts += 1
        raise PoolTimeout(f"None came free in {timeout_s} s.")

    async def _take(self) -> TrioConnection:
        while self._idle:
            conn = self._idle.pop()
            now_s = monotonic()
            too_old = now_s - conn.opened_at_s > self._max_age_s
            doubtful = conn.idle_since_s <= self._doubted_s or now_s - conn.idle_since_s > self._check_after_s
            # Readable while idle means that the server has closed it.
            if too_old or (doubtful and conn.readable()):
                self._discard(conn)
                continue
            return conn
        conn = await TrioConnection.connect(self._conninfo, autocommit=True)
        conn.answer_timeout_s = ANSWER_TIMEOUT_S
        self._opened += 1
        return conn

    def _give_back(self, conn: TrioConnection) -> None:
        if self._closed or not conn.clean:
            self._discard(conn)
        else:
            conn.idle_since_s = monotonic()
            self._idle.append(conn)
            self._close_unused()

    def _close_unused(self) -> None:
        """Close what has been idle for long: each connection is a process of PostgreSQL with caches of its own."""
        while len(self._idle) > 1 and monotonic() - self._idle[0].idle_since_s > self._idle_max_s:
            self._discard(self._idle.pop(0))

    def _discard(self, conn: TrioConnection) -> None:
        self._discarded += 1
        conn.abort()
