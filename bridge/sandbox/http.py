"""Speaks HTTP/1.1 on a stream, as a server: for the proxy, for what is behind it, and for the control API.

h11 knows the rules; this reads requests whole (bounded), calls a handler, writes its response, and keeps the connection
for the next one. A client may go away at any moment, which ends its connection and nothing else.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import structlog
import trio

from bridge.errors import BridgeError

log = structlog.get_logger()

MAX_BODY_BYTES: Final = 4 << 20
_IDLE_S: Final = 75.0
_CHUNK_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    path: str = field(init=False)
    query: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target) if self.method != "CONNECT" else urlsplit("")
        object.__setattr__(self, "path", unquote(parts.path))
        object.__setattr__(self, "query", dict(parse_qsl(parts.query)))


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its body."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]


def json_response(status: int, value: object) -> Response:
    return Response(status, json.dumps(value, ensure_ascii=False).encode())


def problem(status: int, code: str, detail: str) -> Response:
    """Return an error as JSON."""
    return json_response(status, {"error": {"code": code, "message": detail}})


class TooLarge(BridgeError):
    """The request's body is too large."""

    code = "too_large"
    status = 413


class HttpServer:
    """The server's end of one HTTP connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.SERVER)

    async def request(self) -> Request | None:
        """Return the next request, None at the end; raise h11.RemoteProtocolError or `TooLarge` for a bad one."""
        head: h11.Request | None = None
        body = bytearray()
        with trio.move_on_after(_IDLE_S):
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        await self._write(h11.InformationalResponse(status_code=100, headers=[]))
                    self._h11.receive_data(bytes(await self.stream.receive_some(_CHUNK_BYTES)))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > MAX_BODY_BYTES:
                        raise TooLarge(f"more than {MAX_BODY_BYTES} bytes")
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
                    return Request(head.method.decode("ascii"), head.target.decode("latin-1"), headers, bytes(body))
                else:
                    return None
        return None

    async def respond(self, response: Response) -> bool:
        """Send a response; return whether the connection can take another request."""
        headers = [("content-length", str(len(response.body))), ("content-type", response.content_type)]
        await self._write(h11.Response(status_code=response.status, headers=headers))
        if response.body:
            await self._write(h11.Data(data=response.body))
        await self._write(h11.EndOfMessage())
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            return True
        return False

    async def switch(self, head: bytes) -> bytes:
        """Send a raw response head and leave HTTP; return what the client already sent behind its request."""
        data, _ = self._h11.trailing_data
        await self.stream.send_all(head)
        return data

    async def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            await self.stream.send_all(data)


async def serve(stream: trio.abc.Stream, handler: Handler) -> None:
    """Answer the requests of one connection until it ends."""
    server = HttpServer(stream)
    try:
        while True:
            try:
                request = await server.request()
            except TooLarge as error:
                await server.respond(problem(error.status, error.code, str(error)))
                break
            if request is None or not await server.respond(await _guarded(handler, request)):
                break
    except h11.RemoteProtocolError as error:
        with trio.move_on_after(1):
            await _refuse(server, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        with trio.move_on_after(1, shield=True):
            await trio.aclose_forcefully(stream)


async def _refuse(server: HttpServer, error: h11.RemoteProtocolError) -> None:
    try:
        await server.respond(problem(error.error_status_hint, "bad_request", str(error)))
    except (h11.LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        return  # nothing can be said any more


async def _guarded(handler: Handler, request: Request) -> Response:
    """Return what the handler answers, or its error as JSON."""
    try:
        return await handler(request)
    except BridgeError as error:
        return problem(error.status, error.code, str(error))
    except Exception:
        log.exception("sandbox.request_failed", method=request.method, path=request.path)
        return problem(500, "internal", "The sandbox failed to answer; its log says why.")
