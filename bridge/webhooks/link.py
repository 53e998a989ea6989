"""One connection to a receiver: HTTP/1.1 over a Trio stream, for one POST at a time.

A general client (httpx2) costs 0.9 to 1.1 ms of CPU per POST on the machine where this was measured, h11 alone 0.17;
at 500 events a second the process has 1 ms for everything. Webhooks need none of what a client adds: no redirects,
cookies, proxies, content codings or streams. Answers are read by httptools, which is Node's parser: with the request
written by hand 3 µs for what h11 takes 67.
"""

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httptools
import trio

ANSWER_MAX_BYTES = 20_000
"""Of an answer's body; the rest is not read and the connection not used again."""
CONNECT_TIMEOUT_S = 5.0
"""Per address, so that one that leads nowhere leaves time for the next."""
HEAD_MAX_BYTES = 16_384
FRAMED_MAX_BYTES = 8 * ANSWER_MAX_BYTES
"""Of an answer in all, with head, chunks' sizes and trailers."""
_READ_BYTES = 16_384

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Reply:
    """What came back, as far as it came."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""

    def header(self, name: bytes) -> str | None:
        """Return the first value of `name` (in lower case)."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


class Stale(Exception):
    """The receiver had closed this kept connection before it answered: try once more on a new one."""


class NotHttp(Exception):
    """What came is no answer."""


class _Reading:
    """Takes the answers on one connection out of its bytes, one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect an answer."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._bytes = self._size = 0
        self.reply: Reply | None = None
        self.complete = False
        self.keep_alive = False

    def feed(self, data: bytes) -> None:
        """Take what came, and do without the rest of what is too long; raise `NotHttp`."""
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # nobody asked for one: the connection is not used again
            self.keep_alive = False
        except httptools.HttpParserError as error:
            if not self.complete:
                raise NotHttp(f"no HTTP/1.1: {error}") from None
            self.keep_alive = False  # more than the answer came
        if self.reply is None and self._bytes > HEAD_MAX_BYTES:
            raise NotHttp(f"its head is larger than {HEAD_MAX_BYTES} bytes")
        if not self.complete and (self._size > ANSWER_MAX_BYTES or self._bytes > FRAMED_MAX_BYTES):
            self._finish(keep_alive=False)

    def end(self) -> None:
        """Take the end of the connection, which is the end of an answer of unknown length; raise `NotHttp`."""
        if self.reply is None:
            raise NotHttp("the connection ended without an answer")
        if any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers):
            raise NotHttp("the connection ended within the answer")
        self._finish(keep_alive=False)

    def _finish(self, *, keep_alive: bool) -> None:
        assert self.reply is not None
        self.reply.body = b"".join(self._parts)[:ANSWER_MAX_BYTES]
        self.complete, self.keep_alive = True, keep_alive

    # what httptools calls

    def on_message_begin(self) -> None:
        if self.complete:  # an answer that nobody asked for
            raise NotHttp

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reply is None:  # else it is a trailer
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 and status != 101:  # not yet the answer
            self._headers, self._bytes = [], 0
        else:
            self.reply = Reply(status, self._headers)

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        if self.reply is not None:
            self._finish(keep_alive=self._parser.should_keep_alive())


class Link:
    """An open connection, used by one task at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._used = False
        self._reading = _Reading()

    @classmethod
    async def connect(cls, addresses: Sequence[str], port: int, *, tls: ssl.SSLContext | None, host: str) -> "Link":
        """Connect to the first of `addresses` that answers; raise the last one's `OSError` when none does."""
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    stream: trio.abc.Stream = await trio.open_tcp_stream(address, port)
                break
            except OSError as error:
                failure = error
            except trio.TooSlowError:
                failure = TimeoutError(f"no connection in {CONNECT_TIMEOUT_S:.0f} s")
        else:
            raise failure
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        return cls(stream)

    @property
    def reusable(self) -> bool:
        """Whether the last answer was read to its end and the receiver takes more on this connection."""
        return self._reading.complete and self._reading.keep_alive

    @property
    def reply(self) -> Reply | None:
        """The answer to the last POST, from the moment its head is there."""
        return self._reading.reply

    async def post(self, path: bytes, headers: Headers, body: bytes) -> Reply:
        """Send one POST and read the answer; the caller has judged `path` and `headers`.

        Raises `Stale` when this connection was used before and ended without a byte, `NotHttp` for an answer that is
        none, `trio.BrokenResourceError` or `ssl.SSLError` for a lost connection.
        """
        self._reading.begin()
        again, self._used = self._used, True
        try:
            await self._stream.send_all(_request(path, headers, body))
            first = await self._stream.receive_some(_READ_BYTES)
        except trio.BrokenResourceError:
            if again:
                raise Stale from None
            raise
        if not first and again:
            raise Stale
        return await self._read(bytes(first))

    async def _read(self, data: bytes) -> Reply:
        reading = self._reading
        while data:
            reading.feed(data)
            if reading.complete:
                break
            data = bytes(await self._stream.receive_some(_READ_BYTES))
        else:
            reading.end()
        assert reading.reply is not None
        return reading.reply

    async def close(self) -> None:
        """Close at once, without a farewell."""
        await trio.aclose_forcefully(self._stream)


def _request(path: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return a POST as bytes."""
    lines = [b"POST %s HTTP/1.1" % path, *[b"%s: %s" % header for header in headers]]
    head = b"\r\n".join(lines)
    if b"\0" in head or head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        raise ValueError("a header has a line break in it")  # judged where it was given: this is the last door
    return head + b"\r\n\r\n" + body
