"""The way in for clients: an HTTP proxy whose every destination is this sandbox.

A client asks the proxy to CONNECT to WhatsApp, speaks TLS with what it believes to be WhatsApp's host, and upgrades
`GET /ws/chat` to a websocket. Nothing is ever forwarded, so a client that uses this proxy cannot reach the internet.
"""

import ssl
from typing import Final

import h11
import structlog
import trio

from bridge.errors import BridgeError
from bridge.sandbox.causes import first_cause
from bridge.sandbox.connection import Connection, ServerKeys
from bridge.sandbox.http import HttpServer, Request, Response, guarded, problem
from bridge.sandbox.websocket import WebSocket, switching_protocols
from bridge.sandbox.world import World

log = structlog.get_logger()

_CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_OPEN_WITHIN_S: Final = 20.0
_CHAT: Final = "/ws/chat"


class Proxy:
    """Accepts connections of clients."""

    def __init__(self, world: World, keys: ServerKeys, context: ssl.SSLContext) -> None:
        self._world = world
        self._keys = keys
        self._context = context

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client; whatever goes wrong concerns this connection only."""
        if self._world.faults.down:
            await trio.aclose_forcefully(stream)
            return
        try:
            await self._tunnel(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.RemoteProtocolError):
            pass
        except* BridgeError as group:
            log.info("sandbox.client_refused", error=str(first_cause(group)))
        except* Exception:
            log.exception("sandbox.connection_failed")
        finally:
            with trio.move_on_after(1, shield=True):
                await trio.aclose_forcefully(stream)

    async def _tunnel(self, stream: trio.SocketStream) -> None:
        with trio.fail_after(_OPEN_WITHIN_S):
            outer = HttpServer(stream)
            asked = await outer.request()
            if asked is None:
                return
            if asked.method != "CONNECT":
                await outer.respond(problem(405, "method_not_allowed", "This is a proxy for CONNECT."))
                return
            await outer.switch(_CONNECTED)
            tls = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
            await tls.do_handshake()
        websocket = await self._upgrade(tls)
        if websocket is not None:
            await Connection(self._world, self._keys, websocket).run()

    async def _upgrade(self, tls: trio.abc.Stream) -> WebSocket | None:
        """Return the websocket that the client asks for, None at the end of anything else: pictures and media."""
        inner, host = HttpServer(tls), self._world.host
        while (head := await inner.head()) is not None:
            key = head.headers.get("sec-websocket-key")
            if head.path == _CHAT and key is not None and head.headers.get("upgrade", "").lower() == "websocket":
                await inner.whole(head)
                return WebSocket(tls, await inner.switch(switching_protocols(key)))
            taker = host.takes(head)
            if taker is not None:
                response = await guarded(taker, head, inner.piece)
            else:
                response = await guarded(self._answer, await inner.whole(head))
            if not await inner.respond(response):
                break
        return None

    async def _answer(self, request: Request) -> Response:
        picture = self._world.profiles.picture(request.path)
        if picture is not None:
            return Response(200, picture, "image/jpeg")
        return await self._world.host.answer(request)
