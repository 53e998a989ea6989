"""An HTTP client that costs next to nothing: the bench shares the cores with what it measures."""

import json
from typing import Any, Self
from urllib.parse import urlsplit

import trio


class CallFailed(Exception):
    """A call was not answered with 2xx:"""


class LeanClient:
    """One kept connection to the API at `url`; one call at a time."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        ).encode()
        self._stream: trio.SocketStream | None = None

    async def __aenter__(self) -> Self:
        self._stream = await trio.open_tcp_stream(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)

    async def post(self, path: str, body: object) -> Any:
        """Post JSON and return the answer's JSON; raise `CallFailed` for anything but 2xx."""
        assert self._stream is not None
        data = json.dumps(body).encode()
        await self._stream.send_all(
            b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (path.encode(), self._head, len(data), data)
        )
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += await self._more()
        status, length = _head(received[:end])
        answer = received[end + 4 :]
        while len(answer) < length:
            answer += await self._more()
        if not 200 <= status < 300:
            raise CallFailed(f"{status} {answer.decode(errors='replace')[:300]}")
        return json.loads(answer)

    async def _more(self) -> bytes:
        assert self._stream is not None
        data = bytes(await self._stream.receive_some(65536))
        if not data:
            raise CallFailed("the connection was closed")
        return data


def _head(head: bytes) -> tuple[int, int]:
    first, *lines = head.split(b"\r\n")
    lengths = [int(line[15:]) for line in lines if line[:15].lower() == b"content-length:"]
    return int(first.split()[1]), lengths[0]
