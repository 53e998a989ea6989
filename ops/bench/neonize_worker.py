"""Bare neonize: the unmodified wheel with many clients in one process, and callbacks that only count.

The first line on stdin says which sandbox and which database (`{"sandbox", "database"}`); every further one is
`{"op", ...}`, answered by one line on stdout before the next is read. It ends with its stdin, at once.
"""

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the library prints to stdout
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG

import neonize  # noqa: E402
from neonize import events  # noqa: E402
from neonize._binder import ProxySettings  # noqa: E402
from neonize.client import NewClient  # noqa: E402
from neonize.proto.Neonize_pb2 import JID  # noqa: E402
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message  # noqa: E402
from neonize.utils.jid import build_jid  # noqa: E402

from bridge.engine.host.trust import trust_sandbox  # noqa: E402
from bridge.engine.wire import SandboxTrust  # noqa: E402

START_S, ONLINE_S = 30.0, 120.0


class Worker:
    """The clients of this process, by the JID of their device. Clients are never freed, nor stopped."""

    def __init__(self, ready: dict[str, str], database: str) -> None:
        self._proxy = ready["proxy"]
        self._database = database
        self._clients: dict[str, NewClient] = {}
        self._online = threading.Semaphore(0)
        self._arrived: list[tuple[str, float]] = []

    def start(self, jids: Sequence[str]) -> float:
        """Start clients one by one, for the library's maps' sake, and return the seconds until all are online."""
        began = time.monotonic()
        for jid in jids:
            self._start(jid)
        for _ in jids:
            if not self._online.acquire(timeout=ONLINE_S):
                raise TimeoutError("a client did not come online")
        return time.monotonic() - began

    def _start(self, jid: str) -> None:
        user, _, rest = jid.partition(":")
        device, _, server = rest.partition("@")
        address = JID(User=user, Server=server, Device=int(device), RawAgent=0, Integrator=0, IsEmpty=False)
        client = self._clients[jid] = NewClient(self._database, jid=address)
        client.uuid = jid.encode()
        begun = threading.Event()
        execute = client.event.execute

        def first(*arguments: Any) -> Any:
            begun.set()  # no start may overlap with the moments before another one's first event
            return execute(*arguments)

        client.event.execute = first
        client.event(events.ConnectedEv)(lambda _, __: self._online.release())
        client.event(events.MessageEv)(self._count)
        connect = threading.Thread(target=client.connect, args=(ProxySettings(proxy_address=self._proxy),), daemon=True)
        connect.start()
        if not begun.wait(START_S):
            raise TimeoutError(f"{jid} did not start")

    def _count(self, _: object, event: Any) -> None:
        self._arrived.append((event.Message.conversation, time.time()))

    def arrived(self) -> int:
        return len(self._arrived)

    def arrivals(self, prefix: str) -> dict[str, float]:
        """Return when each text `<prefix> <n>` came in."""
        return {text.rpartition(" ")[2]: at for text, at in list(self._arrived) if text.startswith(prefix + " ")}

    def send_in_turn(self, jid: str, to: str, count: int) -> list[float]:
        """Send texts one after the other and return the seconds that each took."""
        client, recipient, took = self._clients[jid], build_jid(to), []
        for index in range(count):
            began = time.perf_counter()
            client.send_message(recipient, Message(conversation=f"out {index}"))
            took.append(time.perf_counter() - began)
        return took

    def send_at_once(self, pairs: Sequence[tuple[str, str]], each: int) -> list[float]:
        """Do the same for all pairs at once, each on a thread of its own."""
        took: list[float] = []

        def one(jid: str, to: str) -> None:
            took.extend(self.send_in_turn(jid, to, each))

        threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return took


def main() -> None:
    first = json.loads(sys.stdin.readline())
    ready = first["sandbox"]
    library = next(Path(neonize.__file__).parent.glob("neonize-*.*"))
    trust_sandbox(library, SandboxTrust(ready["proxy"], ready["root_key"], ready["ca_file"]))
    worker = Worker(ready, first["database"])
    _say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        operation: Callable[..., object] = getattr(worker, request.pop("op"))
        try:
            _say({"result": operation(**request)})
        except Exception as error:  # the bench shall hear of whatever it is
            _say({"error": repr(error)[:500]})
    os._exit(0)  # the library's threads would keep the process


def _say(line: dict[str, object]) -> None:
    _out.write(json.dumps(line) + "\n")


main()
