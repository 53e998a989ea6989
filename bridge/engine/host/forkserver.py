"""Forks engine hosts: `python -m bridge.engine.host.forkserver`, started by the bridge and of no use to anybody else.

All hosts need the same Python modules, 9 MB of memory that the kernel shares among them when they are forked from one
process that has these. What cannot be shared comes after the fork: the Go library brings threads, so a process that
has loaded it must not fork. This one has a single thread and does nothing else.

stdin is a socket that carries `bridge.engine.forking`. Hosts live on when this process is killed; at the end of the
socket, which the bridge's death is too, it tells them to leave.
"""

import ctypes.util  # noqa: F401 - from here on, what the hosts import later
import dataclasses  # noqa: F401
import gc
import importlib.util  # noqa: F401
import logging  # noqa: F401
import os
import platform  # noqa: F401
import select
import signal
import socket
import sys
import traceback

from bridge.engine.forking import DESCRIPTORS, PACKET_BYTES, pack_status
from bridge.engine.host.__main__ import main as host_main


class ForkServer:
    """Serves one socket until it ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._wakeup, write_end = os.pipe()
        os.set_blocking(write_end, False)
        os.set_blocking(self._wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # what counts is the byte that it puts into the pipe
        signal.set_wakeup_fd(write_end)
        self._status_fds: dict[int, int] = {}

    def serve(self) -> None:
        """Fork and reap; return when the socket ends."""
        while True:
            ready, _, _ = select.select([self._connection.fileno(), self._wakeup], [], [])
            if self._wakeup in ready:
                os.read(self._wakeup, 1024)
                self._reap()
            if self._connection.fileno() in ready:
                folder, fds, _, _ = socket.recv_fds(self._connection, PACKET_BYTES, DESCRIPTORS)
                if not folder:
                    break
                self._fork(os.fsdecode(folder), fds)
        for pid in self._status_fds:
            os.kill(pid, signal.SIGTERM)

    def _fork(self, folder: str, fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            _become_host(folder, fds)
        *pipes, self._status_fds[pid] = fds
        for fd in pipes:
            os.close(fd)
        pidfd = os.pidfd_open(pid)  # its own, for nobody else reaps it
        try:
            socket.send_fds(self._connection, [str(pid).encode()], [pidfd])
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        while self._status_fds:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            fd = self._status_fds.pop(pid)
            try:
                os.write(fd, pack_status(os.waitstatus_to_exitcode(status)))
            except BrokenPipeError:
                pass  # the bridge does not want to know any more
            finally:
                os.close(fd)


def _become_host(folder: str, fds: list[int]) -> None:
    """Be a host in this process, which has just been forked; never returns."""
    code: object = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.chdir(folder)
        for target, fd in enumerate(fds[:3]):
            os.dup2(fd, target)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        host_main(tied=False)
        code = 0
    except SystemExit as error:
        code = error.code
    except Exception:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr, flush=True)
    os._exit(code if isinstance(code, int) else 1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the bridge decides
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy every shared page
    with socket.socket(fileno=os.dup(0)) as connection:
        ForkServer(connection).serve()


if __name__ == "__main__":
    main()
