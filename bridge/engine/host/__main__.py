"""Runs an engine host: `python -m bridge.engine.host`, started by the bridge and of no use to anybody else.

stdin and stdout carry `bridge.engine.wire`. At the end of stdin, which the bridge's death is too, the sessions leave
WhatsApp, what was acknowledged there goes into the journals, and the process ends.
"""

import ctypes
import faulthandler
import os
import select
import signal
import sys
import time

from bridge.engine.host.library import Library, NoLibrary
from bridge.engine.host.output import Output
from bridge.engine.host.serve import Host
from bridge.engine.host.trust import TrustRefused, trust_sandbox
from bridge.engine.wire import VERSION, FromBridge, Hello, Ping, Ready, host_side

READ_BYTES = 256 * 1024
SWITCH_INTERVAL_S = 0.001
"""How long a thread may keep the interpreter from a callback that wants to write its journal. With 25 sessions and
300 texts a second no value between 0.0005 and 0.005 made a difference (p99 0.5 ms): nothing here computes for long. It
bounds what a large batch of frames could cost."""
LEAVE_S = 3.0
"""How long the sessions have to leave when the bridge is gone; then the kernel ends the process."""
SILENCE_S = 90.0
"""The bridge pings every 5 s. A process that handles none for so long is stuck, with nobody left to end it."""
_PR_SET_PDEATHSIG = 1


def main(*, tied: bool = True) -> None:
    """Run a host. `tied` lets it leave when the process dies that started it; a fork server tells it so itself."""
    began = time.monotonic()
    stdin = _Input(tied=tied)
    # neonize and the Go runtime print to descriptor 1: they get stderr, and the frames a descriptor of their own
    output_fd = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the bridge decides
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    decoder = host_side()
    messages: list[FromBridge] = []
    while not messages:
        if not (data := stdin.read()):
            sys.exit(0)
        messages = decoder.feed(data)
    hello = messages.pop(0)
    if not isinstance(hello, Hello) or hello.version != VERSION:
        sys.exit("the bridge runs other code than this host")
    try:
        library = Library()
        if hello.sandbox is not None:
            trust_sandbox(library.path, hello.sandbox)
    except (NoLibrary, TrustRefused) as error:
        sys.exit(f"{(error.__doc__ or '').strip()} {error}")
    output = Output(output_fd)
    host = Host(library, hello, output)
    output.put(Ready(VERSION, os.getpid(), time.monotonic() - began))
    _expect_pings()
    while True:
        for message in messages:
            if isinstance(message, Ping):
                _expect_pings()
            host.handle(message)
        if not (data := stdin.read()):
            break
        messages = decoder.feed(data)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LEAVE_S)
    host.leave()
    os._exit(0)  # threads that are blocked in the library would keep an orderly exit from ending


def _expect_pings() -> None:
    """End the process, by a thread that needs no interpreter, when it hears of no ping for `SILENCE_S` from now."""
    faulthandler.dump_traceback_later(SILENCE_S, exit=True)


class _Input:
    """stdin, which ends at SIGTERM too, and with the thread that started this process where it is tied to it."""

    def __init__(self, *, tied: bool) -> None:
        self._parent_died, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.signal(signal.SIGTERM, lambda *_: None)  # what counts is the byte that it puts into the pipe
        signal.set_wakeup_fd(wakeup)
        if tied and sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def read(self) -> bytes:
        """Return what the bridge says, nothing at its end."""
        ready, _, _ = select.select([0, self._parent_died], [], [])
        return b"" if self._parent_died in ready else os.read(0, READ_BYTES)


if __name__ == "__main__":
    main()
