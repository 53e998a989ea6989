"""WebSocket over Hypercorn's connection: which request may upgrade, and the stream behind one that did.

The base class is that of hypercorn 0.18. What it lacks: it never looks whether a ping is answered; and it waits for
good to hand a message to an application that has ended.
"""

import binascii
from contextlib import suppress
from typing import Any

import h11
import trio
from hypercorn.protocol.events import Event
from hypercorn.protocol.ws_stream import WSStream
from wsproto.events import Ping
from wsproto.utilities import LocalProtocolError

UPGRADES = "/events/ws"
"""The only path that does."""
SOCKET = "bridge.socket"
"""Where the stream is found in the scope."""
FRAME_MAX = 65_536
"""Of what a peer sends; more is answered with the close code 1009."""


def is_upgrade(request: h11.Request) -> bool:
    """Say whether this asks for a WebSocket where there is one, in the form of RFC 6455, 4.2.1."""
    headers = dict(request.headers)
    if request.method != b"GET" or request.http_version != b"1.1":
        return False
    if request.target.partition(b"?")[0] != UPGRADES.encode() or headers.get(b"upgrade", b"").lower() != b"websocket":
        return False
    if b"content-length" in headers or b"transfer-encoding" in headers:
        return False
    tokens = {token.strip().lower() for token in headers.get(b"connection", b"").split(b",")}
    return b"upgrade" in tokens and headers.get(b"sec-websocket-version") == b"13" and _is_nonce(headers)


def _is_nonce(headers: dict[bytes, bytes]) -> bool:
    try:
        return len(binascii.a2b_base64(headers.get(b"sec-websocket-key", b""), strict_mode=True)) == 16
    except binascii.Error:
        return False


class SocketStream(WSStream):  # type: ignore[misc]  # hypercorn is not followed by mypy
    """The stream of one WebSocket. The application finds it in its scope."""

    def __init__(self, app: Any, *rest: Any) -> None:
        super().__init__(self._run, *rest)
        self._inner = app
        self._heard = trio.Event()

    async def ask(self) -> None:
        """Send a ping and return when bytes of the peer have come, a pong for example."""
        self._heard = trio.Event()
        await self._send_wsproto_event(Ping())
        await self._heard.wait()

    async def handle(self, event: Event) -> None:
        self._heard.set()
        # Either: the application has ended, or the closing handshake is over; nobody waits for this.
        with suppress(trio.BrokenResourceError, LocalProtocolError):
            await super().handle(event)

    async def _run(self, scope: Any, receive: Any, send: Any, *rest: Any) -> None:
        scope[SOCKET] = self
        try:
            await self._inner(scope, receive, send, *rest)
        finally:
            receive.__self__.close()  # the channel's end: whoever hands something over waits no longer
