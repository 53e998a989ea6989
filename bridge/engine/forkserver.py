"""The bridge's end of the fork server: starts it when a host is wanted, and again when it is gone.

It is no supervised child: nothing is lost with it, hosts that it forked live on, and the next host gets a new one.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

import bridge
from bridge.engine.errors import EngineDown
from bridge.engine.forking import DESCRIPTORS, PACKET_BYTES, STATUS_BYTES, unpack_status
from bridge.engine.process import ChildProcess, Process
from bridge.engine.wire import SandboxTrust

AVAILABLE = hasattr(os, "pidfd_open") and hasattr(socket, "SOCK_SEQPACKET") and hasattr(socket, "send_fds")
"""Where not, each host is started as a process of its own, which takes 5 MB more (docs/decisions/engine-hosts.md)."""
FORK_S = 10.0
"""Measured on two idle cores: 125 ms with the server's start, 3 to 9 ms for each host behind it."""
CLOSE_S = 2.0
STATUS_S = 2.0
"""The server hears of a host's end at the same time as we do."""
GARBAGE_PERCENT = "50"
"""Go's default of 100 costs 4 MB more per host of 25 sessions and saves 5 % of its CPU time."""
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GOGC", "GOMEMLIMIT", "GODEBUG",
)  # fmt: skip
"""What a host may see of our environment: no secret of ours, and no PG* that would change where it connects."""


def host_environment(sandbox: SandboxTrust | None) -> dict[str, str]:
    """Return the environment of a host."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = str(Path(bridge.__file__).parent.parent)
    environment.setdefault("GOGC", GARBAGE_PERCENT)
    environment["MALLOC_ARENA_MAX"] = "2"  # two threads a session would have an arena each
    if sandbox is not None:
        environment["SSL_CERT_FILE"] = sandbox.ca_file
    return environment


class ForkedProcess(Process):
    """A host that the fork server made: a grandchild of ours, known by its pidfd."""

    def __init__(self, pid: int, pidfd: int, status: int, pipes: tuple[int, int, int]) -> None:
        """Take over all these descriptors."""
        self.pid = pid
        self._pidfd = pidfd
        self._status: int | None = status
        self._returncode: int | None = None
        self.stdin, self.stdout, self.stderr = map(trio.lowlevel.FdStream, pipes)

    @property
    def returncode(self) -> int | None:
        return self._returncode

    def ended(self) -> bool:
        if self._pidfd < 0:
            return True
        poll = select.poll()  # not `select`, which takes no descriptor above 1,023
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def wait(self) -> None:
        if not self.ended():
            await trio.lowlevel.wait_readable(self._pidfd)
        if self._status is not None:
            status, self._status = self._status, None
            self._returncode = await _read_status(status)
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


async def _read_status(fd: int) -> int | None:
    """Return what the server tells of an end; None when it is gone itself."""
    try:
        with trio.move_on_after(STATUS_S, shield=True):
            await trio.lowlevel.wait_readable(fd)
            return unpack_status(os.read(fd, STATUS_BYTES))
        return None
    finally:
        os.close(fd)


class ForkServer:
    """Starts hosts, all with the same environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = trio.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's own pid, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    async def start_host(self, folder: Path) -> Process:
        """Start a host that runs in `folder`; raise `EngineDown` when that does not work in time."""
        if not AVAILABLE:
            arguments = [sys.executable, "-P", "-m", "bridge.engine.host"]
            return ChildProcess(arguments, environment=self._environment, folder=folder)
        # not to be cancelled: a host that was forked and not taken would have nobody to end it
        with trio.CancelScope(shield=True):
            async with self._lock:
                for _ in range(2):
                    with trio.move_on_after(FORK_S), suppress(OSError):
                        if self._connection is None:
                            self._spawn()
                        return await self._ask(folder)
                    await self.close()  # it was killed, or its answer would be taken for the next one
        raise EngineDown("the fork server does not start hosts")

    async def close(self) -> None:
        """End the server; hosts that it forked are told to leave."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is None or process is None:
            return
        connection.close()
        with trio.move_on_after(CLOSE_S / 2, shield=True):
            pidfd = os.pidfd_open(process.pid)
            try:
                await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        process.kill()
        process.wait()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # -P: nothing is to be imported from the folder that the bridge happens to run in
                [sys.executable, "-P", "-m", "bridge.engine.host.forkserver"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        ours.setblocking(False)
        self._connection = ours

    async def _ask(self, folder: Path) -> ForkedProcess:
        """Have a host forked; raise `OSError` when the server is gone."""
        assert self._connection is not None
        with ExitStack() as ours, ExitStack() as theirs:
            stdin = _pipe(theirs, ours)
            outputs = [_pipe(ours, theirs) for _ in range(DESCRIPTORS - 1)]
            asked = [stdin[0], *(write for _, write in outputs)]
            socket.send_fds(self._connection, [os.fsencode(folder)], asked)
            await trio.lowlevel.wait_readable(self._connection)
            answer, pidfds, _, _ = socket.recv_fds(self._connection, PACKET_BYTES, 1)
            if not answer:
                raise ConnectionResetError
            ours.pop_all()
        stdout, stderr, status = (read for read, _ in outputs)
        return ForkedProcess(int(answer), pidfds[0], status, (stdin[1], stdout, stderr))


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """Return both ends of a new pipe, each of which its stack closes."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write
