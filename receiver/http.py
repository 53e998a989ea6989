"""Takes HTTP/1.1 requests out of bytes and puts answers into bytes; pure, no socket.

The reading is h11's: framing is where gateways get hurt. The answers are ours, for they have two forms only (a known
length, or until the connection ends), and a new h11 connection per request is cheaper than driving its state machine
through the answer.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11
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
        self._connection = _connection()
        self._head: h11.Request | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()

    @property
    def mid_request(self) -> bool:
        """Say whether a request has begun that is not complete."""
        return self._head is not None or bool(self._connection.trailing_data[0])

    @property
    def wants_continue(self) -> bool:
        """Say whether the client holds its body back until it sees `CONTINUE`."""
        return self._connection.they_are_waiting_for_100_continue

    def feed(self, data: bytes) -> None:
        """Take what came from the client; empty bytes are its end of stream."""
        self._connection.receive_data(data)

    def next_request(self) -> Request | None:
        """Return a complete request, or None while more bytes are needed; raise `RequestError` when it is refused."""
        try:
            return self._read()
        except h11.RemoteProtocolError as error:
            raise (HeadTooLarge if error.error_status_hint == HeadTooLarge.status else MalformedRequest) from None

    def _read(self) -> Request | None:
        while True:
            event = self._connection.next_event()
            match event:
                case h11.Request():
                    self._begin(event)
                case h11.Data():
                    if len(self._body) + len(event.data) > MAX_BODY_BYTES:
                        raise BodyTooLarge
                    self._body += event.data
                case h11.EndOfMessage():
                    return self._finish()
                case _:  # NEED_DATA, or the end of the connection between two requests
                    return None

    def _begin(self, head: h11.Request) -> None:
        self._head = head
        self._headers = {name.lower(): value for name, value in head.headers.raw_items()}  # twice as fast as iterating
        if int(self._headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
            raise BodyTooLarge

    def _finish(self) -> Request:
        head, body = self._head, bytes(self._body)
        assert head is not None
        keep_alive = self._connection.their_state is h11.DONE
        rest, ended = self._connection.trailing_data
        self._connection, self._head, self._body = _connection(), None, bytearray()
        if rest:
            self._connection.receive_data(rest)
        path, _, query = head.target.decode("ascii").partition("?")
        return Request(head.method.decode("ascii"), path, query, self._headers, body, keep_alive and not ended)


def _connection() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)


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
