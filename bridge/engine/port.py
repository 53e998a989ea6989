"""The bridge's end of one engine host: starts the process, opens and closes sessions on it, sees it end."""

import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from bridge.engine import wire
from bridge.engine.errors import EngineDown, EngineError, EngineRefused, OutcomeUnknown
from bridge.engine.hostlog import HostLog, Scrubber
from bridge.engine.journal import Record
from bridge.engine.librarylog import LibraryLog
from bridge.engine.link import Link
from bridge.engine.process import Process
from bridge.engine.session import Session
from bridge.engine.wire import Call, Close, FromHost, Hello, Item, Open, Ping, Pong, Progress, Ready, Reply, Stop

log = structlog.get_logger()

PROGRESS_S = 0.03
"""How long acknowledgements are gathered: one frame and one look at the journal instead of hundreds."""
PING_S, PONG_S = 5.0, 30.0
START_S = 25.0
OPEN_S, CLOSE_S = 90.0, 60.0
"""An open or a close may have to wait at the gate for others, and each of those for its dial."""
STOP_GRACE_S = 5.0
READ_REST_S = 2.0
CLEAN_UP_S = 10.0
SHUTDOWN_S = STOP_GRACE_S + 6.0
"""What a supervisor should allow for a stop: the host's own grace, then SIGTERM, then SIGKILL."""


class HostDied(EngineError):
    """The engine host ended by itself:"""


class HostStartFailed(EngineError):
    """The engine host did not start:"""


@dataclass(frozen=True, slots=True)
class PortConfig:
    """How every host of a pool is started, what it is told, and where its stderr goes."""

    hello: Hello
    scrub: Scrubber
    start: Callable[[Path], Awaitable[Process]]
    """Starts a host in a folder; raises `EngineDown`."""
    log_dir: Path | None = None


class Port:
    """One engine host. `run` is a supervised child; after a crash the same port runs a new process.

    `load` counts sessions from the moment their open begins until the host is done with them.
    """

    def __init__(self, name: str, config: PortConfig, on_free: Callable[["Port"], None]) -> None:
        self.name = name
        self.waiting = 0
        """Opens that wait for the process to come up."""
        self._config = config
        self._on_free = on_free
        self._library_log = LibraryLog(name)
        self._link: Link | None = None
        self._process: Process | None = None
        self._up = trio.Event()
        self._sessions: dict[str, Session] = {}
        self._slots: set[int] = set()
        self._moved: dict[str, Session] = {}
        """Sessions whose progress the host does not know yet."""
        self._moved_any = trio.Event()
        self._pong: Pong | None = None
        self._answered = trio.Event()
        self._fault = ""

    # what the pool asks

    @property
    def up(self) -> bool:
        return self._up.is_set()

    @property
    def load(self) -> int:
        return len(self._slots) + self.waiting

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def wait_up(self) -> None:
        """Wait until the process takes sessions."""
        await self._up.wait()

    def details(self) -> dict[str, object]:
        """Return what a snapshot of the tree shows of this host."""
        details: dict[str, object] = {"pid": self.pid, "sessions": len(self._sessions)}
        if self._pong is not None:
            details |= {
                "rss_mb": round(self._pong.rss_kb / 1024, 1),
                "threads": self._pong.threads,
                "records": self._pong.records,
                "slowest_append_us": self._pong.slowest_append_us,
            }
        return details

    async def open(self, key: str, jid: bytes, leave: Callable[[Session], Awaitable[None]]) -> Session:
        """Start a session; raise `EngineError`, after which the host has none."""
        if self._link is None or not self.up:
            raise EngineDown
        if key in self._sessions:
            raise EngineRefused("the session is open already")
        opened = 0

        def make(call: int) -> Open:
            nonlocal opened
            opened = call
            self._slots.add(call)
            self._sessions[key] = Session(key, call, self, leave)
            return Open(call, key, jid)

        def close_late(reply: Reply) -> None:
            if reply.refused or reply.error:
                self._free(opened)
            else:
                self._close_unattended(key, opened)

        try:
            reply = await self._link.request(make, OPEN_S, close_late)
        except OutcomeUnknown:
            self._sessions.pop(key, None)
            raise EngineRefused("the start took too long") from None
        except BaseException:
            self._sessions.pop(key, None)
            raise
        if reply.refused or reply.error:
            del self._sessions[key]
            self._free(opened)
            if reply.refused:
                raise EngineRefused(self._config.scrub(reply.refused))
            raise EngineError(self._config.scrub(reply.error))
        return self._sessions[key]

    async def close(self, session: Session) -> None:
        """Close a session on the host; the host goes on with it when the caller is cancelled."""
        if self._link is None or self._sessions.get(session.key) is not session:
            return
        self._tell_progress([session])
        del self._sessions[session.key]
        try:
            await self._link.request(
                lambda call: Close(call, session.key), CLOSE_S, lambda _: self._free(session.opened)
            )
        except OutcomeUnknown:
            log.error("engine.close_timed_out", host=self.name, instance=session.key)
            return
        except EngineDown:
            return
        self._free(session.opened)

    def _close_unattended(self, key: str, opened: int) -> None:
        assert self._link is not None
        self._link.tell_late(lambda call: Close(call, key), lambda _: self._free(opened))

    def _free(self, opened: int) -> None:
        self._slots.discard(opened)
        if not self.load:
            self._on_free(self)

    # what a session asks

    async def request(self, make: Callable[[int], Call], timeout_s: float) -> Reply:
        """Return the host's reply; raise `EngineDown`, `EngineDied` or `OutcomeUnknown`."""
        if self._link is None:
            raise EngineDown
        return await self._link.request(make, timeout_s)

    def progressed(self, session: Session) -> None:
        """Tell the host how far the session's consumer is, soon."""
        if self._sessions.get(session.key) is session:
            self._moved[session.key] = session
            self._moved_any.set()

    def _tell_progress(self, sessions: list[Session]) -> None:
        if self._link is not None:
            for session in sessions:
                self._link.tell(Progress(session.key, session.opened, session.taken, session.acked))

    # the life of a process

    async def run(self, *, stop: trio.Event, task_status: "trio.TaskStatus[Port]") -> None:
        """Run one process until `stop`; raise `HostDied` when it ends before, `HostStartFailed` if it never begins."""
        folder = _empty_folder(Path(self._config.hello.journal_dir) / ".hosts" / self.name.replace(" ", "-"))
        process = self._process = await self._config.start(folder)
        link = self._link = Link(process)
        self._fault = ""
        host_log = HostLog(self._config.scrub, self._log_path(), on_line=self._library_log.take)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._collect, process, host_log)
                nursery.start_soon(link.write)
                nursery.start_soon(self._read, link, process)
                link.tell(self._config.hello)
                nursery.start_soon(self._stop_on, stop, link, nursery.cancel_scope)
                nursery.start_soon(self._ping, link, process)
                nursery.start_soon(self._send_progress)
                nursery.start_soon(self._end_with, process, link, nursery.cancel_scope)
                await self._come_up()
                task_status.started(self)
        finally:
            was_up = self.up
            with trio.move_on_after(CLEAN_UP_S, shield=True):
                await self._clean_up(process, link)
            _remove_folder(folder, self.name)
        if not stop.is_set():
            how = self._fault or _describe(process.returncode)
            log.error("engine.host_died", host=self.name, pid=process.pid, how=how, log=list(host_log.tail)[-8:])
            raise (HostDied if was_up else HostStartFailed)(f"{how}. {host_log.cause()}")

    async def _clean_up(self, process: Process, link: Link) -> None:
        self._up = trio.Event()
        self._link = None
        await process.end(0)
        link.lose()
        sessions, self._sessions = list(self._sessions.values()), {}
        self._slots.clear()
        self._moved.clear()
        self._pong = None
        for session in sessions:
            session.lose(self._fault or _describe(process.returncode))

    async def _come_up(self) -> None:
        with trio.move_on_after(START_S):
            await self._up.wait()
            log.info("engine.host_up", host=self.name, pid=self.pid)
            return
        self._give_up("it did not report within its time")
        await trio.sleep_forever()  # until its end is seen

    async def _end_with(self, process: Process, link: Link, scope: trio.CancelScope) -> None:
        await process.wait()
        with trio.move_on_after(READ_REST_S):
            await link.ended.wait()
        scope.cancel()

    async def _stop_on(self, stop: trio.Event, link: Link, scope: trio.CancelScope) -> None:
        await stop.wait()
        link.tell(Stop(STOP_GRACE_S))
        await trio.sleep(STOP_GRACE_S + 1)
        log.warning("engine.host_overran_its_grace", host=self.name)
        scope.cancel()

    async def _read(self, link: Link, process: Process) -> None:
        try:
            await link.read(self._on_message)
        except wire.BadFrame as error:
            self._give_up(f"it sent what is no frame: {error}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _collect(self, process: Process, host_log: HostLog) -> None:
        """Read stderr all the time: a host that could not write there would stand still."""
        try:
            while data := await process.stderr.receive_some(65536):
                host_log.feed(data)
        finally:
            host_log.finish()

    async def _send_progress(self) -> None:
        while True:
            await self._moved_any.wait()
            await trio.sleep(PROGRESS_S)
            self._moved_any = trio.Event()
            moved, self._moved = list(self._moved.values()), {}
            self._tell_progress(moved)

    async def _ping(self, link: Link, process: Process) -> None:
        await self._up.wait()
        number = 0
        while True:
            number += 1
            self._answered = trio.Event()
            link.tell(Ping(number))
            with trio.move_on_after(PONG_S) as late:
                await self._answered.wait()
            if late.cancelled_caught:
                self._give_up("it does not answer")
                return
            await trio.sleep(PING_S)

    def _on_message(self, message: FromHost) -> None:
        match message:
            case Item():
                session = self._sessions.get(message.key)
                if session is not None:
                    session.deliver(Record(message.seq, message.at, message.code, message.payload, message.replayed))
            case Pong():
                self._pong = message
                self._answered.set()
            case Ready():
                self._up.set()
            case Reply():
                raise AssertionError("replies are settled by the link")

    def _give_up(self, fault: str) -> None:
        self._fault = fault
        if self._process is not None:
            self._process.kill()

    def _log_path(self) -> Path | None:
        if self._config.log_dir is None:
            return None
        self._config.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._config.log_dir / f"{self.name.replace(' ', '-')}.log"


def _empty_folder(folder: Path) -> Path:
    """Return a folder to run a host in, which neonize would fill if it took the database URL for a file's name."""
    shutil.rmtree(folder, ignore_errors=True)  # of a bridge that was killed
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _remove_folder(folder: Path, host: str) -> None:
    """Remove the folder in which a host ran; the library was not to write anything there."""
    strays = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if strays:
        log.error("engine.stray_file", host=host, files=strays)
    shutil.rmtree(folder, ignore_errors=True)


def _describe(returncode: int | None) -> str:
    if returncode is None:
        return "unknown"
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit status {returncode}"
