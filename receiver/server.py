"""A small HTTP/1.1 server on Trio for one handler: keep-alive, limits, deadlines, graceful drain.

Why not Hypercorn, which the bridge uses: the receiver shares two cores with the bridge, and each webhook passes here.
Measured with an empty handler, 500 requests/s over 20 kept connections: 1.3 ms of CPU each and 56 MB for a raw ASGI
application on Hypercorn's Trio worker (with the cures that it needs), 0.47 ms and 40 MB for h11 on Trio,
which has since given way to httptools.
Sockets are read and written as descriptors: that saves a pass of Trio's loop for each answer that fits into the buffer.
"""

import math
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
import trio

from receiver.errors import RequestError, Unavailable
from receiver.http import CONTINUE, Request, RequestReader, Response, Stream, as_response, encode, encode_head

log = structlog.get_logger()

Handler = Callable[[Request], Awaitable[Response | Stream]]

_READ_BYTES = 65536
_INTERNAL = Response(500, b'{"error":"The receiver failed.","code":"internal","retryable":true}')


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be, and how long each part of a conversation may take."""

    connections: int = 512
    idle_s: float = 75
    request_s: float = 20
    answer_s: float = 20
    linger_s: float = 1


class _Connection:
    """A client's socket, what it has sent, and the deadline of what it does now."""

    __slots__ = ("_fd", "_socket", "idle", "reader", "scope")

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self._fd = socket.fileno()
        self.reader = RequestReader()
        self.scope = trio.CancelScope()
        self.idle = True

    def allow(self, seconds: float) -> None:
        self.scope.deadline = trio.current_time() + seconds

    async def read(self) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                continue

    def write_now(self, data: bytes | memoryview) -> memoryview:
        """Write what the socket's buffer takes at once, nearly always all, and return the rest."""
        view = memoryview(data)
        try:
            return view[os.write(self._fd, view) :]
        except BlockingIOError:
            return view

    async def write(self, view: memoryview) -> None:
        """Write all of what `write_now` left, as the client takes it."""
        await trio.lowlevel.checkpoint()
        while view:
            await trio.lowlevel.wait_writable(self._fd)
            view = self.write_now(view)

    def end(self) -> None:
        """Tell the client that nothing more comes."""
        self._socket.shutdown(trio.socket.SHUT_WR)


class Server:
    """Answers requests with `handler` until told to stop; an error of one connection ends that connection only."""

    def __init__(self, handler: Handler, limits: Limits = Limits()) -> None:
        self._handler = handler
        self._limits = limits
        self._connections: set[_Connection] = set()
        self._draining = False

    async def run(self, listeners: Sequence[trio.SocketListener], stop: trio.Event, *, grace_s: float) -> None:
        """Serve until `stop`; then close what is idle, finish within `grace_s` what is not, and return."""
        async with trio.open_nursery() as nursery:
            accepting = trio.CancelScope()
            nursery.start_soon(self._accept, listeners, accepting, nursery)
            await stop.wait()
            self._draining = True
            accepting.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + grace_s
            for connection in self._connections:
                if connection.idle:
                    connection.scope.cancel()

    async def _accept(
        self, listeners: Sequence[trio.SocketListener], scope: trio.CancelScope, nursery: trio.Nursery
    ) -> None:
        with scope:
            await trio.serve_listeners(self._serve, list(listeners), handler_nursery=nursery)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = _Connection(stream.socket)
        full = len(self._connections) >= self._limits.connections
        self._connections.add(connection)
        with stream.socket:
            await trio.lowlevel.checkpoint()
            try:
                with connection.scope:
                    await (self._turn_away(connection) if full else self._converse(connection))
            except OSError:
                pass  # the client is gone; what it sent is stored or will be sent again
            except Exception:
                log.exception("http.connection_failed")
            finally:
                self._connections.discard(connection)

    async def _turn_away(self, connection: _Connection) -> None:
        await self._refuse(connection, Unavailable("too many connections"))

    async def _converse(self, connection: _Connection) -> None:
        while True:
            try:
                request = await self._next_request(connection)
            except RequestError as error:
                await self._refuse(connection, error)
                return
            if request is None:
                return
            connection.idle = False
            connection.allow(self._limits.answer_s)
            response = await self._answer(request)
            if isinstance(response, Stream):
                await self._stream(connection, response, head_only=request.method == "HEAD")
                return
            close = self._draining or not request.keep_alive
            rest = connection.write_now(encode(response, close=close, head_only=request.method == "HEAD"))
            if rest:
                await connection.write(rest)
            if close:
                return

    async def _next_request(self, connection: _Connection) -> Request | None:
        """Return the next request, or None at the end of the connection; raise `RequestError`."""
        reader, begun, continued = connection.reader, False, False
        connection.idle = True
        connection.allow(self._limits.idle_s)
        if reader.mid_request:  # pipelined: let the others have their turn first
            await trio.lowlevel.checkpoint()
            request = reader.next_request()
            if request is not None:
                return request
        while True:
            if reader.mid_request and not begun:
                begun, connection.idle = True, False
                connection.allow(self._limits.request_s)
            if reader.wants_continue and not continued:
                continued = True
                await connection.write(memoryview(CONTINUE))
            data = await connection.read()
            if not data:
                return None
            reader.feed(data)
            request = reader.next_request()
            if request is not None:
                return request

    async def _stream(self, connection: _Connection, stream: Stream, *, head_only: bool) -> None:
        """Write piece after piece, each when the client has taken the one before; a drain ends it at once."""
        connection.idle = True
        if self._draining:
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at_end, connection, nursery.cancel_scope)
                await connection.write(connection.write_now(encode_head(stream)))
                if not head_only:
                    await self._pieces(connection, stream)
                nursery.cancel_scope.cancel()
        except* OSError:
            pass  # the client is gone

    async def _pieces(self, connection: _Connection, stream: Stream) -> None:
        async with aclosing(stream.open()) as pieces:
            connection.allow(math.inf)
            async for piece in pieces:
                connection.allow(self._limits.answer_s)
                await connection.write(connection.write_now(piece))
                connection.allow(math.inf)

    async def _cancel_at_end(self, connection: _Connection, scope: trio.CancelScope) -> None:
        """Read what nobody expects, until the client is gone."""
        while await connection.read():
            pass
        scope.cancel()

    async def _answer(self, request: Request) -> Response | Stream:
        try:
            return await self._handler(request)
        except RequestError as error:
            response = as_response(error)
        except Exception:
            log.exception("http.handler_failed", path=request.path)
            response = _INTERNAL
        await trio.lowlevel.checkpoint()
        return response

    async def _refuse(self, connection: _Connection, error: RequestError) -> None:
        """Answer and close, but read on for a moment: closing on unread data would take the answer back."""
        connection.allow(self._limits.linger_s)
        await connection.write(memoryview(encode(as_response(error), close=True)))
        connection.end()
        while await connection.read():
            pass
