"""The engine hosts: finds a place for a session, starts and retires hosts, keeps them alive."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from bridge import meters
from bridge.engine import jids, journal
from bridge.engine.errors import EngineDown, EngineRefused, JournalBusy
from bridge.engine.forkserver import CLOSE_S, ForkServer, host_environment
from bridge.engine.hostlog import Scrubber
from bridge.engine.journal import Record
from bridge.engine.pace import Pace
from bridge.engine.port import SHUTDOWN_S, Port, PortConfig
from bridge.engine.session import Session
from bridge.engine.urls import engine_url
from bridge.engine.wire import VERSION, Hello, SandboxTrust
from bridge.protos import companion_reg
from supervisor import (
    Backoff,
    ChildSpec,
    Intensity,
    NoSuchChild,
    NotRunning,
    Parking,
    Restart,
    Snapshot,
    StartFailed,
    State,
    Supervisor,
)

T = TypeVar("T")

COME_UP_S = 30.0
JOURNAL_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine runs."""

    database_url: str = field(repr=False)
    journal_dir: Path
    sessions_per_host: int = 25
    sandbox: SandboxTrust | None = None
    """Talk to a local WhatsApp server, and to nothing else."""
    idle_session_timeout_ms: int = 45_000
    connection_budget: int = 240
    """Database connections that starts may use at once; sessions that are busy need two each all the time."""
    device_name: str = "WhatsApp Bridge"
    """What the phone lists as the linked device."""
    history: bool = False
    """Whether the past that a phone hands over at its pairing is wanted."""
    retire_after_s: float = 30.0
    """How long a host may be without a session before its process ends."""
    log_dir: Path | None = None
    """Where the hosts' stderr goes, scrubbed; without one only the last lines are kept, in memory."""


class EnginePool:
    """A supervisor of engine hosts that hands out sessions. `run` is a supervised child."""

    def __init__(self, config: EngineConfig) -> None:
        self._journal_dir = config.journal_dir
        self._per_host = config.sessions_per_host
        self._retire_after_s = config.retire_after_s
        self._fork_server = ForkServer(host_environment(config.sandbox))
        self._port_config = _port_config(config, self._fork_server)
        self._supervisor = Supervisor(
            "engines",
            intensity=Intensity(5, 60),
            backoff=Backoff(0.1, 5),
            parking=Parking(60),
            cancel_grace_s=SHUTDOWN_S,
            on_change=meters.counting("engines"),
        )
        self._idle_s = config.idle_session_timeout_ms / 1000
        self._pace = Pace(config.connection_budget, self._idle_s)
        self._shared: dict[str, Port] = {}
        self._retiring: set[str] = set()
        self._pairings = 0
        self._schema_ready = False
        self._schema_lock = trio.Lock()
        self._nursery: trio.Nursery | None = None

    def limit_connections(self, connections: int) -> None:
        """Let the sessions' starts use so many database connections at once."""
        self._pace = Pace(connections, self._idle_s)

    async def run(self, *, stop: trio.Event, task_status: "trio.TaskStatus[EnginePool]") -> None:
        """Keep the hosts running until `stop`, then end them in good order."""
        self._journal_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._shared.clear()
        self._retiring.clear()
        try:
            async with trio.open_nursery() as self._nursery:
                async with trio.open_nursery() as tree:
                    await tree.start(partial(self._supervisor.run, stop=stop))
                    task_status.started(self)
                self._nursery.cancel_scope.cancel()  # whoever waits to retire a host need not any more
        finally:
            self._nursery = None
            with trio.move_on_after(CLOSE_S, shield=True):
                await self._fork_server.close()

    def snapshot(self) -> Snapshot:
        """Return the tree of hosts, each with pid, sessions and memory."""
        return self._supervisor.snapshot()

    @property
    def fork_server_pid(self) -> int:
        """The process that hosts are forked from; 0 when there is none."""
        return self._fork_server.pid

    async def open(self, key: str, jid: str) -> Session:
        """Start a paired session in a shared host; raise `EngineError`.

        `jid` is a device that the database has: with another one the library ends its process.
        """
        try:
            device = jids.parse(jid)
        except jids.BadJid as error:
            raise EngineRefused(str(error)) from None
        await self._pace.wait()
        async with self._schema():
            port = await self._place()
            return await port.open(key, device, port.close)

    async def pair(self, key: str) -> Session:
        """Start a session that shows QR codes, in a host of its own that ends with it; raise `EngineError`."""
        self._pairings += 1
        name = f"host p{self._pairings}"  # now: others count on while we wait
        await self._pace.wait()
        async with self._schema():
            port = await self._start(name, Restart.TEMPORARY)
            try:
                return await port.open(key, b"", partial(self._end_pairing, port))
            except BaseException:
                self._soon(self._remove, port)
                raise

    async def drain(self, key: str) -> list[Record]:
        """Return what an earlier host of this session has left, waiting for it to be gone; raise `JournalBusy`.

        What is not cleared here comes again, as replayed records, at the next open.
        """
        return await self._with_journal(partial(journal.read_left, self._journal_dir, key))

    async def clear(self, key: str, through_seq: int) -> None:
        """Forget drained records once they are stored; raise `JournalBusy`."""
        await self._with_journal(partial(journal.clear, self._journal_dir, key, through_seq))

    async def forget(self, key: str) -> None:
        """Remove the journal of a deleted instance; raise `JournalBusy`."""
        await self._with_journal(partial(journal.forget, self._journal_dir, key))

    async def _with_journal(self, work: Callable[[], T]) -> T:
        deadline = trio.current_time() + JOURNAL_WAIT_S
        while True:
            try:
                return await trio.to_thread.run_sync(work)
            except journal.JournalLocked:
                if trio.current_time() > deadline:
                    raise JournalBusy from None
                await trio.sleep(0.02)

    @asynccontextmanager
    async def _schema(self) -> AsyncIterator[None]:
        """Let one start through at a time until one has succeeded: each creates the engine's tables if need be."""
        if self._schema_ready:
            yield
            return
        async with self._schema_lock:
            yield
            self._schema_ready = True

    async def _place(self) -> Port:
        """Return a host with a free slot: the fullest, so that others can be retired; start one if there is none."""
        for _ in range(3):
            free = [port for port in self._shared.values() if port.load < self._per_host and not self._is_parked(port)]
            if not free:
                number = next(n for n in itertools.count() if self._is_free(f"host {n}"))
                return await self._start(f"host {number}", Restart.PERMANENT)
            port = max(free, key=lambda port: (port.up, port.load))
            if port.up:
                return port
            port.waiting += 1  # it is coming back: do not start ten others meanwhile
            try:
                with trio.move_on_after(COME_UP_S):
                    await port.wait_up()
                    return port
            finally:
                port.waiting -= 1
        raise EngineDown("no engine host comes up")

    def _is_free(self, name: str) -> bool:
        return name not in self._shared and name not in self._retiring

    def _is_parked(self, port: Port) -> bool:
        child = self._supervisor.child(port.name)
        return child is not None and child.state is State.PARKED

    async def _start(self, name: str, restart: Restart) -> Port:
        port = Port(name, self._port_config, self._retire)
        if restart is Restart.PERMANENT:
            self._shared[name] = port
        spec = ChildSpec(name, port.run, restart, shutdown_s=SHUTDOWN_S, inspect=port.details)
        port.waiting += 1
        try:
            await self._supervisor.start_child(spec)
        except (StartFailed, NotRunning) as error:
            self._shared.pop(name, None)
            raise EngineDown(_cause(error)) from error
        except BaseException:
            self._shared.pop(name, None)
            raise
        finally:
            port.waiting -= 1
        return port

    async def _end_pairing(self, port: Port, session: Session) -> None:
        await self._remove(port)

    def _retire(self, port: Port) -> None:
        """End a shared host that stays without a session, unless it is the last one."""
        if port.name in self._shared and port.name not in self._retiring:
            self._retiring.add(port.name)
            self._soon(self._retire_idle, port)

    async def _retire_idle(self, port: Port) -> None:
        """Give the host a while: sessions that come and go must not start and stop processes."""
        try:
            await trio.sleep(self._retire_after_s)
            if not port.load and len(self._shared) > 1:
                del self._shared[port.name]
                await self._remove(port)
        finally:
            self._retiring.discard(port.name)  # its name is free again only now

    async def _remove(self, port: Port) -> None:
        with contextlib.suppress(NoSuchChild, NotRunning):
            await self._supervisor.delete_child(port.name)

    def _soon(self, work: Callable[[Port], Awaitable[None]], port: Port) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(work, port)


def _cause(error: BaseException) -> str:
    return str(error.__cause__ or error)


def _port_config(config: EngineConfig, fork_server: ForkServer) -> PortConfig:
    url = engine_url(config.database_url, idle_session_timeout_ms=config.idle_session_timeout_ms)
    props = companion_reg.DeviceProps(os=config.device_name, platformType=companion_reg.DeviceProps.CHROME)
    hello = Hello(
        VERSION,
        url.text,
        str(config.journal_dir.resolve()),
        props.SerializeToString(),
        config.sandbox,
        history=config.history,
    )
    scrub = Scrubber((config.database_url, *url.secrets))
    return PortConfig(hello, scrub, fork_server.start_host, config.log_dir)
