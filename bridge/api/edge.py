"""The outermost ring of the API, around the framework: what holds for every request, whatever becomes of it.

Every answer carries X-Request-Id; no body larger than the limit is ever held in memory, announced or not; a crash below
becomes a JSON 500; and an answer that is given early does not cost its reader the connection.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import structlog
import trio
from prometheus_client import Counter, Histogram

from bridge import meters
from bridge.api import problems
from bridge.api.context import Limits
from bridge.api.whole import WHOLE, Whole
from bridge.ids import ulid

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()
REQUEST_ID = "bridge.request_id"
"""Where the id of a request is found in its ASGI scope."""
ROUTE = "bridge.route"
"""Where the route is found, once there is one."""
LOGGED = "bridge.logged"
"""Where the ids are that the line of a request has: handlers run in a context of their own."""
TOO_LARGE = "bridge.too_large"
"""Set in the scope as soon as more of a body has come than is allowed."""
BODY_LIMIT = "bridge.body_limit"
"""In the scope: how many bytes of a body are taken."""
INFLOW = "bridge.inflow"
"""In the scope of a call that streams: its `Inflow`."""
AHEAD_BYTES = 1_048_576
"""So far may a body that is streamed be ahead of its handler."""
LINGER_S = 2.0
"""How long a body that nobody wants is read and dropped after its answer: closing at once resets the connection, and
the sender may never see why (RFC 9112, 9.6)."""

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_HEADS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_KEY_PART = re.compile(r"/[0-9a-f]{32}(?=/|$)")
_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Inflow:
    """Holds a body back that comes faster than its handler takes it: the framework would keep all of it in memory."""

    def __init__(self) -> None:
        self._ahead = 0
        self._room = trio.Event()
        self.dropped = False

    def came(self, size: int) -> None:
        self._ahead += size

    def taken(self, size: int) -> None:
        """Say that the handler has done with so many bytes."""
        self._ahead -= size
        self._room.set()

    def drop(self) -> None:
        """Say that the handler takes nothing more: what still comes is read and dropped."""
        self.dropped = True
        self._room.set()

    async def room(self) -> None:
        while self._ahead > AHEAD_BYTES and not self.dropped:
            self._room = trio.Event()
            await self._room.wait()


class Edge:
    """An ASGI application around the framework's."""

    def __init__(
        self,
        app: App,
        limits: Limits,
        unlimited_paths: frozenset[str],
        large: Mapping[str, tuple[int, bool]] | None = None,
    ) -> None:
        """`large` has the calls, method and pattern, that take another body: how large, and whether streamed."""
        self._app = app
        self._limits = limits
        self._unlimited = unlimited_paths
        self._large = large or {}
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope.setdefault("method", "GET")  # a WebSocket has none
        limit, streams = self._large.get(_pattern(scope), (self._limits.body_bytes, False))
        scope[BODY_LIMIT] = limit
        inflow = None
        if streams:
            inflow = scope[INFLOW] = Inflow()
        exchange = _Exchange(scope, receive, send, limit, inflow)
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        self._in_flight += 1
        meters.HTTP_IN_FLIGHT.inc()
        began_at = trio.current_time()
        try:
            await self._answer(exchange)
        finally:
            self._in_flight -= 1
            meters.HTTP_IN_FLIGHT.dec()
            _account(exchange, trio.current_time() - began_at)

    async def _answer(self, exchange: "_Exchange") -> None:
        scope = exchange.scope
        if not scope["path"].startswith("/"):
            scope["path"] = urlsplit(scope["path"]).path  # the absolute form that proxies use
        if not scope["path"].startswith("/"):
            await exchange.refuse(problems.for_status(400, exchange.request_id))
            return
        if self._in_flight > self._limits.in_flight and scope["path"] not in self._unlimited:
            await exchange.refuse(problems.for_error(problems.Overloaded(), exchange.request_id))
            return
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.client_gone:
                return  # the framework could not answer; handlers' own errors do not come up to here
            answer = problems.for_error(error, exchange.request_id)
            if exchange.status:
                raise
            await exchange.refuse(answer)


class _Exchange:
    """One request and its answer, seen from the wire."""

    __slots__ = (
        "_body_bytes",
        "_complete",
        "_gone",
        "_inflow",
        "_limit",
        "_receive",
        "_send",
        "_socket",
        "_whole",
        "request_id",
        "scope",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int, inflow: Inflow | None = None) -> None:
        self.scope = scope
        scope[LOGGED] = {}
        self.request_id = scope[REQUEST_ID] = _request_id(scope["headers"])
        self.status = 0
        self._gone = False
        self._receive = receive
        self._send = send
        self._limit = limit
        self._inflow = inflow
        self._body_bytes = 0
        self._complete = trio.Event()
        self._socket = scope["type"] == "websocket"
        whole: Whole | None = scope.get(WHOLE)
        self._whole = whole
        if whole is not None and (inflow is not None or len(whole.body) > limit):
            del scope[WHOLE]  # it is counted, or streamed, like any other
        if self._socket or WHOLE in scope:
            self._complete.set()

    @property
    def client_gone(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._gone or (self._whole is not None and self._whole.gone)

    async def receive(self) -> Message:
        """Return the next message for the framework; a body beyond the limit ends there, its rest is dropped."""
        if self._socket:
            return await self._receive()
        while True:
            if self._inflow is not None:
                await self._inflow.room()
            message = await self._receive()
            if message["type"] != "http.request":
                self._gone = True
                self._complete.set()
                return message
            if not message.get("more_body", False):
                self._complete.set()
            if self._body_bytes > self._limit:
                continue
            self._body_bytes += len(message.get("body", b""))
            if self._body_bytes > self._limit:
                self.scope[TOO_LARGE] = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._inflow is not None:
                if self._inflow.dropped and message.get("more_body", False):
                    continue
                self._inflow.came(len(message.get("body", b"")))
            return message

    async def send(self, message: Message) -> None:
        if self._socket and message["type"].startswith("http."):
            message = {**message, "type": f"websocket.{message['type']}"}  # an answer instead of the upgrade
        if message["type"] in _HEADS:
            self.status = message.get("status", 101)
            headers = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            await self._send({**message, "headers": headers})
            return
        if not message.get("more_body", False) and not self._complete.is_set():
            with trio.move_on_after(LINGER_S):
                await self._complete.wait()
        await self._send(message)

    async def refuse(self, answer: problems.Answer) -> None:
        """Answer without the framework."""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": answer.body, "more_body": True})
        with trio.move_on_after(LINGER_S):
            while not self._complete.is_set():
                await self.receive()
        self._complete.set()
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _account(exchange: _Exchange, taken_s: float) -> None:
    """Count a request under its route, never under what a stranger wrote into its path, and log it."""
    scope, route = exchange.scope, exchange.scope.get(ROUTE)
    path = route.path.replace("<", "{").replace(">", "}") if route is not None else "none"
    access = route.access.value if route is not None and route.access is not None else "open"
    method = scope["method"] if scope["method"] in _METHODS else "other"
    _requests(method, path, exchange.status).inc()
    _seconds(access).observe(taken_s)
    log.debug(
        "http.request",
        method=method,
        path=scope["path"],
        status=exchange.status,
        taken_ms=round(taken_s * 1000, 1),
        client=(scope.get("client") or ("",))[0],
        **scope[LOGGED],
    )


@cache
def _requests(method: str, path: str, status: int) -> Counter:
    return meters.HTTP_REQUESTS.labels(method, path, str(status or "gone"))


@cache
def _seconds(access: str) -> Histogram:
    return meters.HTTP_SECONDS.labels(access)


def _pattern(scope: Scope) -> str:
    """Return method and path, the instance key in it as in a route's pattern."""
    return f"{scope['method']} {_KEY_PART.sub('/<key>', scope['path'])}"


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and _ACCEPTED_ID.fullmatch(value):
            return value.decode()
    return "req_" + ulid()
