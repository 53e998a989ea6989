"""The server's end of a websocket on a Trio stream: binary messages, nothing else (RFC 6455).

The frames are wsproto's work, the library that Hypercorn brings along. It takes 20 us for a message in and 6 us for one
out, twice to three times as much where other work comes between, of the millisecond that a message through the sandbox
may cost: framing by hand could save no more than that, too little for a second implementation of masks, fragments and
closing rules. What wsproto leaves to its user is here: a bound on the size of a message, one sender at a time, and one
kind of end for everything that ends a connection.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

from bridge.errors import BridgeError

MAX_MESSAGE_BYTES: Final = (1 << 24) + 8
"""WhatsApp's frame, whose length has three bytes, and the connection header in front of the first one."""
_CHUNK_BYTES: Final = 16 << 10
"""What a TLS record holds at most (RFC 8446, section 5.1): no read returns more."""
_CLOSE_WITHIN_S: Final = 1.0


class WebSocketClosed(BridgeError):
    """The websocket is closed."""

    code = "sandbox_websocket_closed"
    status = 503

    def __init__(self, reason: int, detail: str = "") -> None:
        self.reason = reason
        """The status of RFC 6455, section 7.4; 1006 where the connection ended without one."""
        super().__init__(detail or f"with status {reason}", reason=reason)


def switching_protocols(key: str) -> bytes:
    """Return the HTTP response that accepts an upgrade whose `Sec-WebSocket-Key` was `key` (RFC 6455, section 4.2.2).

    No subprotocol and no compression is agreed to.
    """
    accept = generate_accept_token(key.encode("ascii"))
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


class WebSocket:
    """An upgraded connection. One task receives, any number send; a cancelled `send` leaves the stream unusable."""

    def __init__(
        self, stream: trio.abc.Stream, buffered: bytes = b"", *, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        """Take over the stream, and what was already read from it behind the HTTP request."""
        self._stream = stream
        self._protocol = Connection(ConnectionType.SERVER)
        self._events: Generator[Event, None, None] = self._protocol.events()
        self._sending = trio.Lock()
        self._max_message_bytes = max_message_bytes
        if buffered:
            self._protocol.receive_data(buffered)

    async def recv(self) -> bytes:
        """Return the next binary message, whole; answer pings on the way; raise `WebSocketClosed` at the end."""
        parts: list[bytes] = []
        size = 0
        waited = False
        while True:
            for event in self._events:
                match event:
                    case BytesMessage():
                        parts.append(bytes(event.data))
                        size += len(event.data)
                        if size > self._max_message_bytes:
                            await self._fail(CloseReason.MESSAGE_TOO_BIG)
                        if event.message_finished:
                            if not waited:  # a client that sends without a break must not keep all others waiting
                                await trio.lowlevel.checkpoint()
                            return parts[0] if len(parts) == 1 else b"".join(parts)
                    case Ping():
                        await self._send(event.response())
                    case Pong():
                        pass
                    case CloseConnection():
                        await self._end(event)
                    case TextMessage():
                        await self._fail(CloseReason.UNSUPPORTED_DATA)
                    case _:
                        await self._fail(CloseReason.PROTOCOL_ERROR)
            await self._read()
            waited = True

    async def send(self, data: bytes) -> None:
        """Send one binary message, unfragmented; raise `WebSocketClosed` where the connection is gone."""
        await self._send(BytesMessage(data=data))

    async def send_all(self, messages: Iterable[bytes]) -> None:
        """Send binary messages in one write: each write costs a TLS record and a system call."""
        await self._send(*(BytesMessage(data=data) for data in messages))

    async def ping(self) -> None:
        """Send a ping; the answer, if any, is swallowed by `recv`."""
        await self._send(Ping())

    async def close(self, reason: int = CloseReason.NORMAL_CLOSURE) -> None:
        """Say goodbye if that is possible within a second, and end the connection; harmless when it has ended.

        It does not wait for the other side's goodbye: a client that is being replaced must notice at once.
        """
        with trio.move_on_after(_CLOSE_WITHIN_S, shield=True):
            if self._protocol.state is ConnectionState.OPEN:
                with suppress(WebSocketClosed):  # gone already, which is what was wanted
                    await self._send(CloseConnection(code=reason))
            await trio.aclose_forcefully(self._stream)

    async def abort(self) -> None:
        """End the connection without a word, as a dying server does."""
        await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        """Get more bytes and, since the old one is used up, a new iterator over what they mean."""
        with _ending_as_closed():
            data = await self._stream.receive_some(_CHUNK_BYTES)
            if not data:
                raise WebSocketClosed(CloseReason.ABNORMAL_CLOSURE)
            self._protocol.receive_data(bytes(data))
        self._events = self._protocol.events()

    async def _end(self, goodbye: CloseConnection) -> NoReturn:
        """Answer the client's goodbye, or say ours: wsproto calls frames that make no sense a goodbye too."""
        if self._protocol.state is ConnectionState.OPEN:
            await self._fail(int(goodbye.code))
        with trio.move_on_after(_CLOSE_WITHIN_S), suppress(WebSocketClosed):
            await self._send(goodbye.response())
        raise WebSocketClosed(int(goodbye.code))

    async def _fail(self, reason: int) -> NoReturn:
        """Close because of what the client did."""
        await self.close(reason)
        raise WebSocketClosed(reason)

    async def _send(self, *events: Event) -> None:
        async with self._sending:
            with _ending_as_closed():
                await self._stream.send_all(b"".join([self._protocol.send(event) for event in events]))


@contextmanager
def _ending_as_closed() -> Generator[None, None, None]:
    """Give one name to the ends of a stream, and to a message after the goodbye (wsproto's LocalProtocolError)."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError) as error:
        raise WebSocketClosed(CloseReason.ABNORMAL_CLOSURE) from error
