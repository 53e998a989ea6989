"""The bridge's side of the processes that fetch files: started when there is a file, ended when there was none for a
while. Each does one file at a time, so what is stuck or cancelled is ended with its process and costs no other file."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog
import trio

from bridge.engine.downloader import jobs
from bridge.engine.downloader.place import Place
from bridge.engine.host.preflight import way_out
from bridge.engine.process import ChildProcess
from bridge.engine.transfer import TRANSFER_TIMEOUT_S, DownloadFailed, DownloadTooLarge
from bridge.engine.wire import SandboxTrust

log = structlog.get_logger()

LARGE_BYTES = 16 * 1024 * 1024
LARGE_AT_ONCE = 2
SMALL_AT_ONCE = 2
"""So that small files do not wait behind large ones."""
IDLE_S = 30.0
_COMMAND = (sys.executable, "-I", "-m", "bridge.engine.downloader")
_ENVIRONMENT = ("LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
_ANSWER_BYTES = 64 * 1024


class NotGiven(Exception):
    """The media host does not give us the file, which the engine may still get elsewhere:"""


class _Ended(Exception):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the media hosts: the one of the sessions."""

    proxy: str = ""
    """An `http://` URL, with name and password if need be; empty for the direct way."""
    ca_file: str = ""

    def __repr__(self) -> str:
        return "Route()"


def route(host: str, sandbox: SandboxTrust | None, environment: Mapping[str, str]) -> Route | None:
    """Return the way that the engine's sessions go to `host`; None when only the engine can go it."""
    if sandbox is not None:
        return Route(sandbox.proxy, sandbox.ca_file)
    proxy = way_out(environment, host)
    if proxy is None:
        return Route()
    parts = urlsplit(proxy)
    return Route(proxy) if parts.scheme == "http" and parts.hostname else None


class _Worker:
    """One process."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._process = ChildProcess(_COMMAND, environment=environment, folder=Path("/"))
        self.idle_since = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.ended()

    async def do(self, job: jobs.Job) -> jobs.Answer:
        """Have a file fetched; raise `_Ended`. When this is cancelled the process is of no use any more."""
        said = b""
        try:
            await self._process.stdin.send_all(jobs.encode(job) + b"\n")
            while not said.endswith(b"\n"):
                data = await self._process.stdout.receive_some(_ANSWER_BYTES)
                if not data:
                    raise _Ended
                said += data
            return jobs.read_answer.decode(said)
        except (trio.BrokenResourceError, msgspec.DecodeError):
            raise _Ended from None

    async def end(self) -> None:
        """End it at once."""
        self._process.kill()
        await self._process.end(1)


class Downloader:
    """The supervised child `downloader`."""

    def __init__(self, sandbox: SandboxTrust | None = None, *, idle_s: float = IDLE_S) -> None:
        self._sandbox = sandbox
        self._idle_s = idle_s
        self._large = trio.CapacityLimiter(LARGE_AT_ONCE)
        self._small = trio.CapacityLimiter(SMALL_AT_ONCE)
        self._busy: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._parked = trio.Event()

    def detail(self) -> dict[str, object]:
        """Return what the process tree shows of it."""
        return {"pids": [worker.pid for worker in (*self._busy, *self._idle)], "fetching": len(self._busy)}

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End processes that have nothing to do, until `stop`, and then all of them."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retire)
                task_status.started()
                await stop.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):  # ending one has a deadline
                await self._end(self._idle)

    async def fetch(
        self, place: Place, path: Path, *, size_bytes: int, limit_bytes: int, timeout_s: float = TRANSFER_TIMEOUT_S
    ) -> None:
        """Write a file's content to `path`, which must not exist, and have it on the disk.

        `size_bytes` is what the message says, and decides whose turn it is; no more than `limit_bytes` is taken.
        Raises `NotGiven`, after which nothing is at `path`, `DownloadTooLarge` and `DownloadFailed`; also when that
        takes longer than `timeout_s`, turn included.
        """
        way = route(place.host, self._sandbox, os.environ)
        if way is None:
            raise NotGiven("only the engine can go through that proxy")
        job = jobs.Job(
            place.host,
            place.target,
            str(path),
            place.info,
            place.media_key,
            place.sealed_sha256,
            place.sha256,
            limit_bytes,
            way.proxy,
            way.ca_file,
        )
        turns = self._large if size_bytes >= LARGE_BYTES else self._small
        with trio.move_on_after(timeout_s):
            async with turns:
                return _settle(await self._do(job))
        raise DownloadFailed(f"it took more than {timeout_s:g} s")

    async def _do(self, job: jobs.Job) -> jobs.Answer:
        try:
            worker = await self._take()
        except OSError as error:
            raise DownloadFailed(f"there is no process for it: {error}") from error
        self._busy.add(worker)
        answer = None
        try:
            answer = await worker.do(job)
        except _Ended:
            raise DownloadFailed("its process ended") from None
        finally:
            self._busy.discard(worker)
            if answer is None:
                log.warning("downloader.ended", pid=worker.pid)
                with trio.CancelScope(shield=True):  # ending one has a deadline
                    await worker.end()
            else:
                worker.idle_since = trio.current_time()
                self._idle.append(worker)
                self._parked.set()
        return answer

    async def _take(self) -> _Worker:
        """Return the process that worked last, so that the others can end; a new one if there is none."""
        await self._end([worker for worker in self._idle if worker.ended()])
        return self._idle.pop() if self._idle else _Worker()

    async def _retire(self) -> None:
        while True:
            now = trio.current_time()
            over = [worker for worker in self._idle if worker.idle_since + self._idle_s <= now or worker.ended()]
            await self._end(over)
            self._parked = trio.Event()
            next_at = min((worker.idle_since for worker in self._idle), default=float("inf")) + self._idle_s
            with trio.move_on_at(next_at):
                await self._parked.wait()

    async def _end(self, workers: list[_Worker]) -> None:
        for worker in list(workers):
            if worker in self._idle:
                self._idle.remove(worker)
                await worker.end()


def _settle(answer: jobs.Answer) -> None:
    match answer:
        case jobs.Fetched():
            return
        case jobs.NotGiven(reason):
            raise NotGiven(reason)
        case jobs.TooLarge():
            raise DownloadTooLarge
        case jobs.Failed(reason):
            raise DownloadFailed(reason)
