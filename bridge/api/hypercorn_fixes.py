"""Hypercorn's connection, made fit for a supervised server. Each cure has a test that fails without it.

1. A request that breaks the protocol code cancels the whole server: here it ends its own connection.
2. Quart-Trio cancels its request when Hypercorn reports the end of the response, which is in the middle of Hypercorn's
   own finishing: the connection is then neither closed nor made ready for the next request. Here nothing in that step
   can be cancelled: waiting for the next request is a deadline and no task to start, and the close is shielded.
3. A peer that stops reading blocks a shielded write, and with it the stop, for good. Here every write has a deadline.

Beyond these: HTTP/1.1 alone (HTTP/2 is for a proxy in front), and errors of the protocol are JSON. And a plain request
that comes in one piece, as nearly all do, is read and answered here (`bridge.api.whole`, `bridge.api.exchange`): less
than half of the time that it takes through h11 and Hypercorn's stream. The base classes are those of hypercorn 0.18.
"""

import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import events as streams
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from bridge.api.exchange import Exchange, Headers
from bridge.api.problems import JSON, for_status
from bridge.api.shields import SCOPE_KEY, Shields
from bridge.api.upgrade import FRAME_MAX, SocketStream, is_upgrade
from bridge.api.whole import Head, read_head
from bridge.ids import ulid

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = structlog.get_logger()
CLOSE_S = 1.0
"""For closing a socket, which waits for nobody."""
REST_S = 0.05
"""How long a body is waited for so that its request comes in one piece; after that it is read as it comes."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the server waits for its peers, in seconds."""

    idle_s: float = 75
    """For the next request, or the rest of a head; above the 60 s that load balancers keep connections open."""
    write_s: float = 30
    """For a peer to take what was written to it."""


def hypercorn_config() -> Config:
    """Return the configuration of all connections of one server."""
    config = Config()
    config.keep_alive_max_requests = 100_000
    config.include_server_header = False
    config.websocket_max_message_size = FRAME_MAX
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


class _WithShields:
    """The application as Hypercorn calls it, with the server's shields in its scope."""

    def __init__(self, app: App, shields: Shields) -> None:
        self._app = app
        self._shields = shields

    async def __call__(self, scope: Message, receive: Receive, send: Send, *_: object) -> None:
        scope[SCOPE_KEY] = self._shields
        await self._app(scope, receive, send)


class JsonErrorsProtocol(H11Protocol):  # type: ignore[misc]  # hypercorn is not followed by mypy
    """HTTP/1.1 whose own refusals (malformed head, head too large) have a body like all others.

    The head of a response leaves together with the first piece of its body: a system call costs as much as the rest.
    """

    _head = b""
    connection: Any

    async def _send_h11_event(self, event: h11.Event) -> None:
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head += data
            return
        data, self._head = self._head + data, b""
        if data:
            await self.send(RawData(data=data))

    async def _send_error_response(self, status_code: int) -> None:
        request_id = "req_" + ulid()
        answer = for_status(status_code, request_id)
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=answer.body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _check_protocol(self, event: h11.Request) -> None:
        """Never switch to HTTP/2: a request that offers to is answered in HTTP/1.1 (RFC 9110, 7.8)."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Switch to WebSocket for the one call that speaks it, when the request is in order; else never."""
        if is_upgrade(request):
            await self._switch(request)
            return
        if any(name == b"upgrade" for name, _ in request.headers):
            kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
            request = h11.Request(
                method=request.method, target=request.target, headers=kept, http_version=request.http_version
            )
        await super()._create_stream(request)

    async def _switch(self, request: h11.Request) -> None:
        self.stream = SocketStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.connection = H11WSConnection(self.connection)
        # Compression is never agreed on: a small frame could become any amount of memory.
        headers = [(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"]
        await self.stream.handle(
            streams.Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version="1.1",
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()


class Connection(TCPServer):  # type: ignore[misc]  # hypercorn is not followed by mypy
    """One connection, from accept to close."""

    def __init__(
        self,
        app: App,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        *,
        shields: Shields,
        timing: Timing,
    ) -> None:
        super().__init__(_WithShields(app, shields), config, context, ConnectionState({}), stream)
        self._shields = shields
        self._timing = timing
        self._idle = True
        self._silent_until = trio.current_time() + timing.idle_s
        self._waiting = trio.CancelScope()
        self._exchange: Exchange | None = None
        self._closed = False
        self._peers: tuple[Any, Any] = (None, None)

    async def run(self) -> None:
        """Serve until either side closes. Raises nothing but cancellation (cure 1)."""
        try:
            await self._converse()
        except* Exception as group:
            log.warning("http.connection_failed", exc_info=group)

    def end_if_idle(self) -> None:
        """Close the connection unless it has a request to answer."""
        if self._idle:
            self._waiting.cancel()

    async def _converse(self) -> None:
        try:
            sock = self.stream.socket
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            self._peers = client, server
            async with TaskGroup() as task_group:
                self._task_group = task_group
                state = ConnectionState(self.state)
                self.protocol = JsonErrorsProtocol(
                    self.app, self.config, self.context, task_group, state, False, client, server, self.protocol_send
                )
                await self._read_data()
        except OSError:
            pass  # the peer's connection broke, which is its right
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await self._close()

    async def _read_data(self) -> None:
        """Feed the protocol until the peer is gone, or has been silent for too long while nothing was asked."""
        while True:
            with trio.CancelScope(deadline=self._silent_until) as self._waiting:
                try:
                    data = bytes(await self.stream.receive_some(MAX_RECV))
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break
            if self._waiting.cancelled_caught:
                break
            if not data:
                await self.protocol.handle(RawData(data))
                break
            await self._take(data)
        await self._gone()

    async def _take(self, data: bytes) -> None:
        """Answer a request that came in one piece (`bridge.api.whole`); everything else is the protocol's."""
        if self._exchange is not None:  # more is held back until the answer is complete
            await self._exchange.done.wait()
        if self._closed:
            return  # nobody could be told what became of it, so nothing does
        parser = self.protocol.connection
        fresh = parser.our_state is h11.IDLE and parser.their_state is h11.IDLE and not parser.trailing_data[0]
        head = read_head(data) if fresh else None
        if head is None:
            await self.protocol.handle(RawData(data))
            return
        self._rests(idle=False)
        if len(data) < head.size + head.body_bytes:
            data += await self._rest(head, len(data))
        if len(data) != head.size + head.body_bytes:
            await self.protocol.handle(RawData(data))
            return
        self._exchange = Exchange(head, data[head.size :], self._peers, self._write, self._own_headers)
        self._task_group.spawn(self._answer, self._exchange)

    async def _rest(self, head: Head, size: int) -> bytes:
        """Return what comes of a body within a moment."""
        rest = b""
        with trio.move_on_after(REST_S):
            while size + len(rest) < head.size + head.body_bytes:
                try:
                    more = await self.stream.receive_some(MAX_RECV)
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break  # the next read says so again, as for the end
                if not more:
                    break
                rest += more
        return rest

    async def _answer(self, exchange: Exchange) -> None:
        """Call the application, and close the connection or ready it for the next request (cure 2)."""
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("http.application_failed")
        if not exchange.reusable:
            await exchange.fail()
        self.protocol.keep_alive_requests += 1
        if exchange.reusable and not self.context.terminated.is_set():
            self._rests(idle=True)
        else:
            await self.protocol_send(Closed())
        self._exchange = None
        exchange.whole.finish()
        exchange.done.set()

    def _own_headers(self) -> Headers:
        headers: Headers = self.config.response_headers("h11")
        if self.protocol.keep_alive_requests >= self.config.keep_alive_max_requests:
            headers.append((b"connection", b"close"))
        return headers

    def _rests(self, *, idle: bool) -> None:  # no await in here: cure 2
        self._idle = idle
        self._silent_until = trio.current_time() + self._timing.idle_s if idle else math.inf
        self._waiting.deadline = self._silent_until

    async def _gone(self) -> None:
        """Tell whoever answers a request that its peer has gone."""
        if self._exchange is not None:
            self._exchange.whole.leave()
        await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        match event:
            case RawData():
                await self._write(event.data)
            case Updated():
                self._rests(idle=event.idle)
            case Closed():
                self._closed = True
                with trio.move_on_after(CLOSE_S, shield=True):  # cure 2
                    await super().protocol_send(event)

    async def _write(self, data: bytes) -> None:
        """Write all of `data`, or break the connection (cure 3)."""
        async with self.send_lock:
            with self._shields.hold(self._timing.write_s) as shield:
                try:
                    await self.stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                    # Busy: the reading side is just closing the connection, after a request that it could not read.
                    await self._gone()
        if shield.cancelled_caught:
            log.info("http.peer_does_not_read")
            await trio.aclose_forcefully(self.stream)
            await self._gone()
