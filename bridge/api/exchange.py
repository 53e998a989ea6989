"""One request that came in one piece, and its answer: what the application is called with, and bytes out.

Head and body of an answer leave in one write wherever the body is one piece.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import trio

from bridge.api.problems import JSON, for_status
from bridge.api.whole import WHOLE, Head, Whole
from bridge.ids import ulid

Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]
_BODILESS = frozenset({204, 304})


class Exchange:
    """Raises `ValueError` where the application's answer is not one that can be sent."""

    def __init__(
        self,
        head: Head,
        body: bytes,
        peers: tuple[Any, Any],
        write: Callable[[bytes], Awaitable[None]],
        own_headers: Callable[[], Headers],
    ) -> None:
        """`peers` are the addresses of client and server; `own_headers` has what the server adds to an answer."""
        self.whole = Whole(body)
        self.done = trio.Event()
        path, _, query = head.target.partition(b"?")
        text = path.decode("ascii")
        self.scope: Message = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": head.method,
            "scheme": "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": peers[0],
            "server": peers[1],
            "state": {},
            "extensions": {},
            WHOLE: self.whole,
        }
        self._write = write
        self._own_headers = own_headers
        self._given = False
        self._head = b""
        self._left: int | None = None
        self._bodiless = False
        self._close = False
        self._written = False
        self._complete = False

    @property
    def reusable(self) -> bool:
        """Whether the connection can take another request: the answer is complete, and did not say otherwise."""
        return self._complete and not self._close

    async def receive(self) -> Message:
        """Return the body, and after it the end, once there is one."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.whole.body, "more_body": False}
        await self.whole.over()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start" and not self._head and not self._written:
            self._begin(int(message["status"]), message.get("headers", []))
            return
        if message["type"] != "http.response.body" or self._complete or not (self._head or self._written):
            raise ValueError(f"{message['type']} out of order")
        more = message.get("more_body", False)
        data = self._head + self._framed(bytes(message.get("body", b"")), more=more)
        self._head = b""
        if not more:
            self._complete = True
            self._close = self._close or bool(self._left)  # less than was announced
        if data:
            self._written = True
            await self._write(data)
        if not more:
            self.whole.finish()

    async def fail(self) -> None:
        """Answer for an application that did not, and have the connection closed."""
        if self._written or self.whole.gone:
            return
        self._head, request_id = b"", "req_" + ulid()
        answer = for_status(500, request_id)
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        self._begin(500, headers)
        await self.send({"type": "http.response.body", "body": answer.body})

    def _begin(self, status: int, headers: Headers) -> None:
        lines, length, self._bodiless = [b"HTTP/1.1 %d " % status], None, status in _BODILESS
        for name, value in (*headers, *self._own_headers()):
            lines.append(b"%b: %b" % (name, value.strip()))
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                self._close = self._close or value.lower() == b"close"
            elif name == b"transfer-encoding":
                raise ValueError("the framing of an answer is the server's")
        if length is None and not self._bodiless:
            lines.append(b"transfer-encoding: chunked")
        head = b"\r\n".join(lines)
        if b"\0" in head or head.count(b"\r") != len(lines) - 1 or head.count(b"\n") != len(lines) - 1:
            raise ValueError("a header has a line break in it")
        self._head, self._left = head + b"\r\n\r\n", None if self._bodiless else length

    def _framed(self, data: bytes, *, more: bool) -> bytes:
        if self._bodiless:
            return b""
        if self._left is not None:
            if len(data) > self._left:
                raise ValueError("more body than was announced")
            self._left -= len(data)
            return data
        return (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"" if more else b"0\r\n\r\n")
