"""The feed over a WebSocket, for those who cannot open a port: events out, acknowledgements in.

What is sent and not acknowledged is bounded by a window. A reader with a name has its cursor in PostgreSQL: after a
crash of either side it goes on behind what it acknowledged.
"""

import re
from collections import deque
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import msgspec
import structlog
import trio
from quart.wrappers import Request, Response
from werkzeug.datastructures import Headers

from bridge.api import pull
from bridge.api.audit import Auditor
from bridge.api.auth import Gate
from bridge.api.call import Call, Route
from bridge.api.context import ApiContext
from bridge.api.edge import LOGGED, REQUEST_ID, ROUTE, App, Receive, Scope, Send
from bridge.api.problems import Forbidden, InvalidField, TooManyConsumers
from bridge.api.shields import SCOPE_KEY, Shields
from bridge.api.upgrade import SOCKET, SocketStream
from bridge.store.consumers import Consumer
from bridge.store.errors import StoreUnavailable

log = structlog.get_logger()

WINDOW_EVENTS = 100
WINDOW_BYTES = 2_000_000
"""Of events that are sent and not acknowledged; one that is larger goes alone."""
PING_S = 15.0
"""From what a peer answered to the next ping."""
PONG_S = 15.0
"""How long the answer to a ping may take, which any byte of the peer is; then it is gone."""
ACK_S = 5.0
"""How long the last acknowledgement may take to be stored when a connection ends."""
CLOSE_S = 2.0
"""How long a peer may take to answer our close: going away at once could cost it the code."""

GOING = (1012, "the bridge stops; connect again")
AN_HOUR = (1012, "an hour is over; connect again")
STORE_AWAY = (1013, "PostgreSQL does not answer; connect again later")
TAKEN_OVER = (4001, "another connection of this consumer took over")
SILENT = (4002, "no answer to a ping")
REVOKED = (4003, "this API key was revoked or has expired")
GONE = (1000, "")
_CONSUMER = re.compile(r"[a-z0-9._-]{1,64}")
_Held = tuple[str, str]


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reader sends."""

    ack: int


class Window:
    """What was sent and not acknowledged."""

    def __init__(self, acked: int) -> None:
        self.acked = self.sent = acked
        self._open: deque[tuple[int, int]] = deque()
        self._bytes = 0

    @property
    def room(self) -> int:
        """How many events may go."""
        return 0 if self._bytes >= WINDOW_BYTES else WINDOW_EVENTS - len(self._open)

    def takes(self, size: int) -> bool:
        return not self._open or (self.room > 0 and self._bytes + size <= WINDOW_BYTES)

    def add(self, position: int, size: int) -> None:
        self._open.append((position, size))
        self._bytes += size
        self.sent = position

    def acknowledge(self, position: int) -> bool:
        """Take an acknowledgement of all up to `position`; return False for what was never sent."""
        if not 0 <= position <= self.sent:
            return False
        self.acked = max(self.acked, position)
        while self._open and self._open[0][0] <= position:
            self._bytes -= self._open.popleft()[1]
        return True


class Sockets:
    """An ASGI application that takes WebSockets to the feed, and leaves everything else to the framework."""

    def __init__(self, app: App, context: ApiContext, gate: Gate, auditor: Auditor, route: Route) -> None:
        self._app = app
        self._context = context
        self._gate = gate
        self._auditor = auditor
        self._route = route
        self._held: dict[_Held, _Session] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        scope[ROUTE] = self._route
        call = Call(self._context, _request(scope), scope[REQUEST_ID], dict(scope["headers"]))
        caller = await self._gate.identify(scope["client"][0], scope["headers"])
        if caller.key is not None:
            structlog.contextvars.bind_contextvars(key_id=caller.key.id)
            scope[LOGGED]["key_id"] = caller.key.id
        call = replace(call, caller=caller)
        sessions: list[_Session] = []
        await self._auditor.watch(call, self._route, partial(self._admit, call, receive, send, sessions))
        (session,) = sessions
        await send({"type": "websocket.accept", "headers": []})
        held = (caller.key.id if caller.key else "", call.query("consumer") or "")
        if session.consumer is not None:
            self._take_over(held, session, session.consumer)
        try:
            await session.run()
        finally:
            if self._held.get(held) is session:
                del self._held[held]

    def _take_over(self, held: _Held, session: "_Session", consumer: Consumer) -> None:
        """End all connections of a consumer but the one that opened it last."""
        other = self._held.get(held)
        if other is not None and other.consumer is not None and other.consumer.lease > consumer.lease:
            session.end(TAKEN_OVER)
            return
        if other is not None:
            other.end(TAKEN_OVER)
        self._held[held] = session

    async def _admit(self, call: Call, receive: Receive, send: Send, sessions: "list[_Session]") -> Response:
        assert self._route.access is not None
        self._gate.allow(call.caller, self._route.access, self._route.reached)
        origin = call.headers.get(b"origin", b"").decode("latin-1")
        if call.caller.key is None and origin and urlsplit(origin).netloc != call.headers[b"host"].decode("latin-1"):
            raise Forbidden("A page of another site cannot call a bridge that asks for no key.")
        name = call.query("consumer")
        if name is not None and not _CONSUMER.fullmatch(name):
            raise InvalidField("consumer", "must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`")
        reader = await pull.reader(call, self._context.store.feed, None)
        consumer = None
        if name is not None:
            key_id = call.caller.key.id if call.caller.key else None
            consumer = await self._context.store.consumers.open(key_id, name, reader.after)
            if consumer is None:
                raise TooManyConsumers
            reader = replace(reader, after=consumer.position)
        sessions.append(_Session(call, reader, consumer, receive, send))
        return Response("", 101)


class _Session:
    """One connection, from accept to close."""

    def __init__(
        self, call: Call, reader: pull.Reader, consumer: Consumer | None, receive: Receive, send: Send
    ) -> None:
        self.consumer = consumer
        self._store = call.context.store
        self._stopping = call.context.stopping
        self._tenure = call.caller.tenure
        self._shields: Shields = call.request.scope[SCOPE_KEY]
        self._socket: SocketStream = call.request.scope[SOCKET]
        self._reader = reader
        self._receive = receive
        self._send = send
        self._window = Window(reader.after)
        self._stored = reader.after
        self._moved = trio.Event()
        self._scope = trio.CancelScope()
        self._end: tuple[int, str] | None = None

    def end(self, why: tuple[int, str]) -> None:
        """End the connection with a code and a reason; the first one counts."""
        self._end = self._end or why
        self._scope.cancel()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for part in (self._hear, self._keep, self._tell, self._ping, self._watch):
                    nursery.start_soon(part)
        with self._shields.hold(ACK_S):
            await self._store_ack()
        await self._close(self._end or GOING)

    async def _hear(self) -> None:
        """Take what the peer sends."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.end(GONE)
            elif message["type"] == "websocket.receive":
                self._take(message.get("text") or "")

    def _take(self, text: str) -> None:
        try:
            position = msgspec.json.decode(text, type=Ack).ack
        except (msgspec.MsgspecError, UnicodeError):
            self.end((1008, 'a frame must be {"ack": cursor}'))
            return
        if not self._window.acknowledge(position):
            self.end((1008, "ack names a cursor that was not sent"))
            return
        self._moved.set()
        self._moved = trio.Event()

    async def _keep(self) -> None:
        """Store what was acknowledged, the last when several came meanwhile."""
        while True:
            moved = self._moved
            if self._window.acked > self._stored:
                await self._store_ack()
            else:
                await moved.wait()

    async def _store_ack(self) -> None:
        position = self._window.acked
        if self.consumer is None or position <= self._stored:
            self._stored = position
            return
        try:
            if not await self._store.consumers.acknowledge(self.consumer, position):
                self.end(TAKEN_OVER)
        except StoreUnavailable:
            self.end(STORE_AWAY)
        self._stored = position

    async def _tell(self) -> None:
        """Send what there is behind the cursor, then what comes, as far as the window allows."""
        feed, window, after = self._store.feed, self._window, self._reader.after
        while True:
            await self._room(0)
            changed = feed.changed
            try:
                batch = await feed.read(after, self._reader.wanted, limit=min(max(window.room, 1), WINDOW_EVENTS))
            except StoreUnavailable:
                self.end(STORE_AWAY)
                return
            for entry in batch.entries:
                await self._room(len(entry.body))
                window.add(entry.position, len(entry.body))
                await self._text(f'{{"cursor": {entry.position}, "event": {entry.body}}}')
            after = batch.after
            if batch.more:
                continue
            with trio.move_on_after(pull.HEARTBEAT_S) as silence:
                await changed.wait()
            if silence.cancelled_caught and after > window.sent:
                # Acknowledged, it spares the reader to come through what is not for it again.
                window.sent = after
                await self._text(f'{{"cursor": {after}}}')

    async def _room(self, size: int) -> None:
        while not (self._window.takes(size) if size else self._window.room):
            await self._moved.wait()

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _ping(self) -> None:
        while True:
            with trio.move_on_after(PONG_S) as silence:
                await self._socket.ask()
            if silence.cancelled_caught:
                self.end(SILENT)
                return
            await trio.sleep(PING_S)

    async def _watch(self) -> None:
        with self._tenure.held() as held:
            with trio.move_on_after(pull.STREAM_MAX_S):
                await self._stopping.wait()
                self.end(GOING)
            self.end(AN_HOUR)
        if held.cancelled_caught:
            self.end(REVOKED)

    async def _close(self, why: tuple[int, str]) -> None:
        """Send the code and wait a moment for the peer's."""
        code, reason = why
        log.debug("socket.closed", code=code, reason=reason)
        if why is GONE:
            return
        with trio.move_on_after(CLOSE_S):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            while (await self._receive())["type"] != "websocket.disconnect":
                pass


def _request(scope: Scope) -> Request:
    headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
    return Request(
        "GET",
        scope["scheme"],
        scope["path"],
        scope["query_string"],
        headers,
        "",
        "1.1",
        scope,
        send_push_promise=_no_push,
    )


async def _no_push(path: str, headers: Headers) -> None:
    """HTTP/1.1 pushes nothing."""
