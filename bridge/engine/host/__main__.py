"""Runs an engine host: `python -m bridge.engine.host`, started by the bridge and of no use to anybody else.

stdin and stdout carry `bridge.engine.wire`; the end of stdin ends the process at once, and so does the bridge's death.
"""

import ctypes
import os
import signal
import sys
import time

from bridge.engine.host.library import Library, NoLibrary
from bridge.engine.host.output import Output
from bridge.engine.host.serve import Host
from bridge.engine.host.trust import TrustRefused, trust_sandbox
from bridge.engine.wire import VERSION, Hello, Ready, host_side

READ_BYTES = 256 * 1024
SWITCH_INTERVAL_S = 0.001
"""How long a thread may keep the interpreter from a callback that wants to write its journal. With 25 sessions and
300 texts a second no value between 0.0005 and 0.005 made a difference (p99 0.5 ms): nothing here computes for long. It
bounds what a large batch of frames could cost."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    began = time.monotonic()
    _die_with_parent()
    # neonize and the Go runtime print to descriptor 1: they get stderr, and the frames a descriptor of their own
    output_fd = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the bridge decides
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    decoder = host_side()
    messages = decoder.feed(_read())
    while not messages:
        messages = decoder.feed(_read())
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
    while True:
        for message in messages:
            host.handle(message)
        messages = decoder.feed(_read())


def _read() -> bytes:
    data = os.read(0, READ_BYTES)
    if not data:
        os._exit(0)  # threads that are blocked in the library would keep an orderly exit from ending
    return data


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; the end of stdin does the rest."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
