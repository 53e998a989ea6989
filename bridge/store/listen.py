"""The one connection that listens for hints, and by which the bridge knows whether PostgreSQL answers.

A notification is a hint: whoever gets one reads its tables. After every (re)connect everybody gets one, for some were
missed.
"""

from collections.abc import Callable

import psycopg
import structlog
import trio
from psycopg import errors as e
from psycopg.generators import notifies

from bridge.store.pool import conninfo_for
from bridge.store.queries import load
from bridge.store.trio_psycopg import TrioConnection

log = structlog.get_logger()

PING_S = 2.0
ANSWER_TIMEOUT_S = 3.0
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0

_SQL = load("hints")


class Listener:
    """Listens for ever; reconnects by itself."""

    def __init__(
        self,
        dsn: str,
        *,
        on_hint: Callable[[str], None],
        on_connect: Callable[[], None],
        on_lost: Callable[[], None],
        ping_s: float = PING_S,
    ) -> None:
        self._conninfo = conninfo_for(dsn, application_name="bridge listener")
        self._on_hint = on_hint
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._ping_s = ping_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; started after the first connect."""
        started = False
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                conn = await TrioConnection.connect(self._conninfo, autocommit=True)
                try:
                    conn.answer_timeout_s = ANSWER_TIMEOUT_S
                    await conn.execute(_SQL["listen"])
                    self._on_connect()
                    backoff_s = FIRST_BACKOFF_S
                    if not started:
                        started = True
                        task_status.started()
                    await self._listen(conn)
                finally:
                    conn.abort()
            except psycopg.OperationalError as exc:
                self._on_lost()
                log.warning("store.lost", error=type(exc).__name__, retry_in_s=backoff_s)
                await trio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _listen(self, conn: TrioConnection) -> None:
        while True:
            try:
                async with conn.lock:
                    received = await conn.wait(notifies(conn.pgconn), timeout=self._ping_s)
            except e._WaitTimeout:
                await conn.execute(_SQL["ping"])
                continue
            for notification in received:
                self._on_hint(notification.extra.decode())
