"""Takes HTTP/1.1 requests out of bytes and puts answers into bytes; pure, no socket.

The reading is that of httptools, which is Node's parser, llhttp, with none of its leniencies: framing is where gateways
get hurt. It takes 3 µs for a webhook where h11 takes 52. The answers are ours, for they have two forms only: a known
length, or until the connection ends.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httptools
import msgspec

from receiver.errors import BodyTooLarge, HeadTooLarge, MalformedRequest, RequestError

MAX_BODY_BYTES = 1_000_000
MAX_HEAD_BYTES = 16 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, of a repeated header the last one counts."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of a known length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on until its client or its server ends it; `open` gives its pieces.

    The next piece is asked for when the client has taken the last one, so that no more than one is kept for it.
    """

    content_type: str
    open: Callable[[], AsyncGenerator[bytes, None]]
    headers: tuple[tuple[str, str], ...] = ()


class RequestReader:
    """Collects the bytes of one connection and returns its requests one by one."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._complete: deque[Request] = deque()
        self._refused: RequestError | None = None
        self._reset()

    @property
    def mid_request(self) -> bool:
        """Say whether a request has begun that is not complete, or one is that was not returned."""
        return self._begun or bool(self._complete)

    @property
    def wants_continue(self) -> bool:
        """Say whether the client holds its body back until it sees `CONTINUE`."""
        return self._has_head and not self._size and self._headers.get(b"expect", b"").lower() == b"100-continue"

    def feed(self, data: bytes) -> None:
        """Take what came from the client; after a request that is refused nothing more is read."""
        if self._refused is not None:
            return
        self._unseen_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # it is answered as if it had not been asked for; what comes behind it is not HTTP
        except httptools.HttpParserCallbackError as error:
            self._refused = error.__context__ if isinstance(error.__context__, RequestError) else MalformedRequest()
        except httptools.HttpParserError:
            self._refused = MalformedRequest()
        if self._unseen_bytes > MAX_HEAD_BYTES:  # of a head that does not end, or of trailers
            self._refused = self._refused or HeadTooLarge()

    def next_request(self) -> Request | None:
        """Return a complete request, or None while more bytes are needed; raise `RequestError` when it is refused."""
        if self._complete:
            return self._complete.popleft()
        if self._refused is not None:
            raise self._refused
        return None

    def _reset(self) -> None:
        self._begun = self._has_head = False
        self._unseen_bytes = self._size = 0
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._hosts = 0
        self._body: list[bytes] = []

    # what httptools calls

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:  # a trailer: nobody here wants any
            return
        name = name.lower()
        self._headers[name] = value
        self._hosts += name == b"host"

    def on_headers_complete(self) -> None:
        self._has_head, self._unseen_bytes = True, 0
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1") or self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise MalformedRequest
        if len(self._target) + sum(map(len, self._headers)) + sum(map(len, self._headers.values())) > MAX_HEAD_BYTES:
            raise HeadTooLarge
        if not self._target.isascii():
            raise MalformedRequest
        if int(self._headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
            raise BodyTooLarge

    def on_body(self, data: bytes) -> None:
        self._unseen_bytes = 0
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise BodyTooLarge
        self._body.append(data)

    def on_message_complete(self) -> None:
        keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        path, _, query = self._target.decode("ascii").partition("?")
        method = self._parser.get_method().decode("ascii")
        self._complete.append(Request(method, path, query, self._headers, b"".join(self._body), keep_alive))
        self._reset()


def encode(response: Response, *, close: bool, head_only: bool = False) -> bytes:
    """Return the bytes of an answer; `head_only` is the answer to HEAD."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\ncontent-type: {response.content_type}\r\n"
        f"content-length: {len(response.body)}\r\n{extra}{'connection: close' if close else ''}"
    )
    return (head + ("\r\n\r\n" if close else "\r\n")).encode("latin-1") + (b"" if head_only else response.body)


def encode_head(stream: Stream) -> bytes:
    """Return the head of an answer whose end is the connection's end."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in stream.headers)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {stream.content_type}\r\n{extra}connection: close\r\n\r\n"
    return head.encode("latin-1")


def as_response(error: RequestError) -> Response:
    """Return the JSON answer that tells a client what went wrong."""
    body = {"error": str(error), "code": error.code, "retryable": error.retryable}
    return Response(error.status, msgspec.json.encode(body), error.headers)
