"""One connection to a receiver: HTTP/1.1 by h11 over a Trio stream, for one POST at a time.

A general client (httpx2) costs 0.9 to 1.1 ms of CPU per POST on the machine where this was measured, h11 alone 0.17;
at 500 events a second the process has 1 ms for everything. Webhooks need none of what a client adds: no redirects,
cookies, proxies, content codings or streams.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h11
import trio

ANSWER_MAX_BYTES = 20_000
"""Of an answer's body; the rest is not read and the connection not used again."""
CONNECT_TIMEOUT_S = 5.0
"""Per address, so that one that leads nowhere leaves time for the next."""
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


class Link:
    """An open connection, used by one task at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._used = False
        self.reply: Reply | None = None
        """The answer to the last POST, from the moment its head is there."""

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
        return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    async def post(self, path: bytes, headers: Headers, body: bytes) -> Reply:
        """Send one POST and read the answer.

        Raises `Stale` when this connection was used before and ended without a byte, `h11.RemoteProtocolError` for an
        answer that is no HTTP, `trio.BrokenResourceError` or `ssl.SSLError` for a lost connection.
        """
        http, self.reply = self._http, None
        request = http.send(h11.Request(method=b"POST", target=path, headers=headers))
        assert request is not None
        http.send(h11.Data(data=body))
        http.send(h11.EndOfMessage())
        again, self._used = self._used, True
        try:
            await self._stream.send_all(request + body)
            first = await self._stream.receive_some(_READ_BYTES)
        except trio.BrokenResourceError:
            if again:
                raise Stale from None
            raise
        if not first:
            raise Stale if again else h11.RemoteProtocolError("the connection ended without an answer")
        http.receive_data(bytes(first))
        return await self._read()

    async def _read(self) -> Reply:
        http = self._http
        parts: list[bytes] = []
        size = 0
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
            elif isinstance(event, h11.Response):
                self.reply = Reply(event.status_code, list(event.headers))
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > ANSWER_MAX_BYTES:
                    break
            elif isinstance(event, h11.EndOfMessage):
                if http.our_state is h11.DONE and http.their_state is h11.DONE:
                    http.start_next_cycle()
                break
            elif isinstance(event, h11.ConnectionClosed):
                break
        if self.reply is None:
            raise h11.RemoteProtocolError("the connection ended without an answer")
        self.reply.body = b"".join(parts)[:ANSWER_MAX_BYTES]
        return self.reply

    async def close(self) -> None:
        """Close at once, without a farewell."""
        await trio.aclose_forcefully(self._stream)
