"""Speaks HTTP/1.1 on a stream, as a server: for the proxy, for what is behind it, and for the control API.

h11 knows the rules; this reads requests whole (bounded), calls a handler, writes its response, and keeps the connection
for the next one. A client may go away at any moment, which ends its connection and nothing else.

Files are the exception: a large one is taken in and given out piece by piece and is never in memory as a whole.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import structlog
import trio

from bridge.errors import BridgeError

log = structlog.get_logger()

MAX_BODY_BYTES: Final = 4 << 20
_IDLE_S: Final = 75.0
_PIECE_WITHIN_S: Final = 60.0
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
class FilePart:
    """The bytes of a file from `start` on, `size` of them."""

    path: Path
    start: int
    size: int
    once: bool = False
    """The file is removed as soon as it is open."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its body, which is that of a file where there is one."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    file: FilePart | None = None
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]
Pieces = Callable[[], Awaitable[bytes]]
"""Returns the next piece of a body, nothing at its end."""
Taker = Callable[[Request, Pieces], Awaitable[Response]]
"""Answers a request whose body it reads itself."""


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
        head = await self.head()
        return None if head is None else await self.whole(head)

    async def head(self) -> Request | None:
        """Return the next request without its body, None at the end; raise h11.RemoteProtocolError for a bad one."""
        with trio.move_on_after(_IDLE_S):
            event = await self._next()
            if isinstance(event, h11.Request):
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
                return Request(event.method.decode("ascii"), event.target.decode("latin-1"), headers)
        return None

    async def whole(self, head: Request) -> Request:
        """Return that request with its body; raise `TooLarge`."""
        body = bytearray()
        while piece := await self.piece():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise TooLarge(f"more than {MAX_BODY_BYTES} bytes")
        return replace(head, body=bytes(body)) if body else head

    async def piece(self) -> bytes:
        """Return the next piece of the request's body, nothing at its end; raise trio.TooSlowError without one."""
        with trio.fail_after(_PIECE_WITHIN_S):
            event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _next(self) -> object:
        """Return h11's next event that is not a wish for more data."""
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(bytes(await self.stream.receive_some(_CHUNK_BYTES)))
        return event

    async def respond(self, response: Response) -> bool:
        """Send a response; return whether the connection can take another request."""
        size = len(response.body) if response.file is None else response.file.size
        headers = [("content-length", str(size)), ("content-type", response.content_type), *response.headers]
        await self._write(h11.Response(status_code=response.status, headers=headers))
        if response.file is not None:
            await self._write_file(response.file)
        elif response.body:
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

    async def _write_file(self, part: FilePart) -> None:
        with part.path.open("rb") as file:  # noqa: ASYNC230 - pieces of a local file, mostly from the page cache
            if part.once:
                part.path.unlink()
            file.seek(part.start)
            left = part.size
            while left and (piece := file.read(min(left, _CHUNK_BYTES))):
                left -= len(piece)
                await self._write(h11.Data(data=piece))

    async def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            await self.stream.send_all(data)


def _takes_none(head: Request) -> Taker | None:
    return None


async def serve(
    stream: trio.abc.Stream, handler: Handler, taker_of: Callable[[Request], Taker | None] = _takes_none
) -> None:
    """Answer the requests of one connection until it ends. `taker_of` names who reads a large body itself."""
    server = HttpServer(stream)
    try:
        while True:
            try:
                response = await answer_next(server, handler, taker_of)
            except TooLarge as error:
                await server.respond(problem(error.status, error.code, str(error)))
                break
            if response is None or not await server.respond(response):
                break
    except trio.TooSlowError:
        pass
    except h11.RemoteProtocolError as error:
        with trio.move_on_after(1):
            await _refuse(server, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        with trio.move_on_after(1, shield=True):
            await trio.aclose_forcefully(stream)


async def answer_next(
    server: HttpServer, handler: Handler, taker_of: Callable[[Request], Taker | None]
) -> Response | None:
    """Return the response to the next request, None where there is none."""
    head = await server.head()
    if head is None:
        return None
    taker = taker_of(head)
    if taker is None:
        return await guarded(handler, await server.whole(head))
    return await guarded(taker, head, server.piece)


async def _refuse(server: HttpServer, error: h11.RemoteProtocolError) -> None:
    try:
        await server.respond(problem(error.error_status_hint, "bad_request", str(error)))
    except (h11.LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        return  # nothing can be said any more


async def guarded(handler: Callable[..., Awaitable[Response]], request: Request, *more: object) -> Response:
    """Return what the handler answers, or its error as JSON."""
    try:
        return await handler(request, *more)
    except BridgeError as error:
        return problem(error.status, error.code, str(error))
    except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
        raise  # the client is gone
    except Exception:
        log.exception("sandbox.request_failed", method=request.method, path=request.path)
        return problem(500, "internal", "The sandbox failed to answer; its log says why.")
