"""The store as a whole: the repositories over one pool, and the supervised child that keeps them working."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import psycopg
import structlog
import tenacity
import trio

from bridge.store.audit import Audit
from bridge.store.census import Censuses
from bridge.store.commands import Commands
from bridge.store.consumers import Consumers
from bridge.store.contacts import Contacts
from bridge.store.deliveries import Deliveries
from bridge.store.endpoints import Endpoints
from bridge.store.engine_notes import EngineNotes
from bridge.store.errors import StoreUnavailable
from bridge.store.events import Ingest
from bridge.store.feed import Feed
from bridge.store.hints import Hints
from bridge.store.housekeeping import Housekeeping
from bridge.store.instance_log import InstanceLog
from bridge.store.instances import Instances
from bridge.store.keys import Keys
from bridge.store.media import MediaRows
from bridge.store.messages import Messages
from bridge.store.migrate import migrate
from bridge.store.notices import Notices
from bridge.store.pool import Pool, conninfo_for
from bridge.store.queries import load
from bridge.store.replays import Replays
from bridge.store.replies import Replies
from bridge.store.retention import Retention
from bridge.store.settings import Settings
from bridge.store.trio_psycopg import TrioConnection
from bridge.vault import Vault

log = structlog.get_logger()

CONNECT_ATTEMPTS = 10
CONNECT_WAIT_MAX_S = 2.0


class Store:
    """Everything that outlives the process. Its attributes are the repositories; they work while `run` does."""

    def __init__(self, dsn: str, *, vault: Vault | None = None, pool_size: int = 8) -> None:
        """`vault` seals the secrets of endpoints; without one they can neither be stored nor read."""
        self._dsn = dsn
        self._vault = vault
        self.pool = Pool(dsn, size=pool_size)
        self.instances = Instances(self.pool)
        self.contacts = Contacts(self.pool)
        self.log = InstanceLog(self.pool)
        self.commands = Commands(self.pool)
        self.keys = Keys(self.pool)
        self.audit = Audit(self.pool)
        self.census = Censuses(self.pool)
        self.settings = Settings(self.pool, vault)
        self.messages = Messages(self.pool)
        self.media = MediaRows(self.pool)
        self.events = Ingest(self.pool)
        self.feed = Feed(self.pool)
        self.consumers = Consumers(self.pool)
        self.events.on_stored(self.feed.wake)
        self.endpoints = Endpoints(self.pool, vault)
        self.notices = Notices(self.pool)
        self.engine_notes = EngineNotes(self.pool)
        self.replays = Replays(self.pool)
        self.replies = Replies(self.pool)
        self.retention = Retention(self.pool)
        self.deliveries = Deliveries(self.pool, vault)
        self.housekeeping = Housekeeping(self.pool)
        self._hints = Hints(
            dsn, self.pool, on_connect=partial(self._set_healthy, True), on_lost=partial(self._set_healthy, False)
        )
        self._healthy = False
        self._turned = trio.Event()

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, migrate, and serve until `stop`; what was handed to `events` by then is still committed.

        Raises `StoreUnavailable` when PostgreSQL does not answer at the start, and `MigrationError`. When it goes away
        later this goes on, `healthy` is False, and calls raise `StoreUnavailable` until it is back.
        """
        self.pool.open()
        try:
            await self._migrate()
            await self.instances.tune_engine_tables()  # a restored database has them without
            if self._vault is not None:
                await self.endpoints.reseal()
            async with trio.open_nursery() as nursery:
                await nursery.start(self._hints.run)
                async with trio.open_nursery() as ingest:
                    await ingest.start(partial(self.events.run, stop=stop))
                    task_status.started()
                    await stop.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._set_healthy(False)
            self.pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[TrioConnection]:
        """Lend a connection in autocommit; see `Pool.connection`."""
        async with self.pool.connection() as conn:
            yield conn

    async def connection_limit(self) -> int:
        """Return how many connections PostgreSQL takes in all, ours and everybody's."""
        async with self.pool.connection() as conn:
            row = await (await conn.execute(load("server")["connection_limit"])).fetchone()
        assert row is not None
        return int(row[0])

    @property
    def healthy(self) -> bool:
        """Whether PostgreSQL answered the last time: within two seconds, or at once when it closes its connections."""
        return self._healthy

    async def until(self, healthy: bool, deadline_s: float = math.inf) -> bool:
        """Wait until `healthy` is as given; return whether it came to that within `deadline_s`."""
        with trio.move_on_after(deadline_s):
            while self._healthy is not healthy:
                await self._turned.wait()
        return self._healthy is healthy

    async def ready(self, deadline_s: float) -> None:
        """Return when PostgreSQL answers; raise `StoreUnavailable` after `deadline_s`."""
        if not await self.until(True, deadline_s):
            raise StoreUnavailable

    def hint(self, channel: str) -> None:
        """Tell subscribers on all nodes that there is something new; at most ten times a second for each channel."""
        self._hints.hint(channel)

    def subscribe(self, channel: str) -> trio.MemoryReceiveChannel[None]:
        """Return a channel with an item when a hint, or a reconnect, came since the last one was taken; close it."""
        return self._hints.subscribe(channel)

    def _set_healthy(self, healthy: bool) -> None:
        if healthy is not self._healthy:
            self.pool.doubt()  # what ended or replaced one connection may have ended the others
            self._healthy = healthy
            self._turned.set()
            self._turned = trio.Event()
            log.info("store.healthy", healthy=healthy)

    async def _migrate(self) -> None:
        conninfo = conninfo_for(self._dsn, application_name="bridge migration", statement_timeout_s=0)
        try:
            async for attempt in tenacity.AsyncRetrying(
                stop=tenacity.stop_after_attempt(CONNECT_ATTEMPTS),
                wait=tenacity.wait_random_exponential(multiplier=0.1, max=CONNECT_WAIT_MAX_S),
                retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
                reraise=True,
            ):
                with attempt:
                    conn = await TrioConnection.connect(conninfo, autocommit=True)
            try:
                applied = await migrate(conn)
            finally:
                conn.abort()
        except psycopg.OperationalError as exc:
            raise StoreUnavailable(str(exc).strip()) from exc
        if applied:
            log.info("store.migrated", applied=applied)
