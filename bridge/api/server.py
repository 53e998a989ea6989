"""Runs an ASGI application on Hypercorn's connections as one supervised child."""

import math
import socket
from dataclasses import dataclass
from functools import partial

import structlog
import trio
from hypercorn.trio.worker_context import WorkerContext

from bridge.api.hypercorn_fixes import App, Connection, Timing, hypercorn_config
from bridge.api.shields import Shields

log = structlog.get_logger()
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """An address that a client on this machine can use."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # read, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class HttpServer:
    """Listens, answers, and stops in order: no new connections, requests in progress answered, then the rest cut.

    With port 0 the system chooses one, which a restarted child then keeps.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        timing: Timing | None = None,
        drain_s: float = 5,
        notice_s: float = 0,
    ) -> None:
        """`drain_s` is how long requests may go on after the stop; `notice_s` is how long new ones are taken after it.

        With a load balancer in front, `notice_s` is what it needs to see that readyz fails.
        """
        self._app = app
        self._host = host
        self._port = port
        self._shields = Shields()
        self._timing = timing or Timing()
        self._drain_s = drain_s
        self._notice_s = notice_s
        self._open: set[Connection] = set()
        self._bound: Bound | None = None
        self._reserved: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine finds it once it listens; empty while the port is not known."""
        return self._bound.url if self._bound is not None else ""

    def reserve(self) -> None:
        """Take the port now, so that `url` is known; connections are refused until it listens. Raise `OSError`."""
        if self._bound is not None:
            return
        if not self._port:
            self._reserved = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # beside what will listen there
            self._reserved.bind((self._host, 0))
            self._port = self._reserved.getsockname()[1]
        self._bound = Bound(self._host, self._port)

    def detail(self) -> dict[str, object]:
        """Return what the process tree shows of it."""
        return {"url": self.url, "connections": self.connections}

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`; `started()` gives a `Bound`. Raises `OSError` when the address cannot be had."""
        listeners = await trio.open_tcp_listeners(self._port, host=self._host, backlog=BACKLOG)
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        host, self._port = listeners[0].socket.getsockname()[:2]
        self._bound = Bound(host, self._port)
        config = hypercorn_config()
        context = WorkerContext(None)
        self._shields.expire_at(math.inf)

        async def handle(stream: trio.SocketStream) -> None:
            connection = Connection(self._app, config, context, stream, shields=self._shields, timing=self._timing)
            self._open.add(connection)
            try:
                await connection.run()
            finally:
                self._open.discard(connection)

        end = -math.inf  # of the shields: cancelled instead of stopped, nothing is waited for
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    serve = partial(trio.serve_listeners, handle, listeners, handler_nursery=connections)
                    accepting.start_soon(serve)
                    log.info("http.listening", host=host, port=self._port)
                    task_status.started(self._bound)
                    await stop.wait()
                    await trio.sleep(self._notice_s)
                    accepting.cancel_scope.cancel()
                log.info("http.draining", connections=self.connections)
                config.keep_alive_max_requests = 0  # answers from now on say Connection: close
                await context.terminated.set()
                for connection in self._open:
                    connection.end_if_idle()
                end = trio.current_time() + self._drain_s
                connections.cancel_scope.deadline = end
            finally:
                self._shields.expire_at(end)
