"""Fetches a file from a URL that a caller names: as a stream, under limits, and never from the inside of our network.

The guard judges the URL and the addresses of its name at every hop; the connection goes to the very address that was
checked, and no redirect is followed that was not judged itself.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import certifi
import httpcore2
import trio

from bridge.media.errors import MediaFetchTimeout, MediaTooLarge, MediaUnreachable
from bridge.net.guard import PORTS, Guard, Target

REDIRECTS_MAX = 5
CONNECT_S = 10.0
"""For one connection; the whole has a limit of its own."""
SILENCE_S = 20.0
"""How long a server may send nothing."""
_REDIRECT = frozenset({301, 302, 303, 307, 308})
_HEADERS = [(b"user-agent", b"whatsapp-bridge/1"), (b"accept", b"*/*"), (b"accept-encoding", b"identity")]
_FAILED = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, ssl.SSLError, OSError)

Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server said about the file that it sent."""

    mime_type: str
    """Not to be believed."""
    filename: str
    """The last part of the URL's path; may be empty."""


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that the guard lets pass."""

    def __init__(self, guard: Guard, scheme: str) -> None:
        self._guard = guard
        self._scheme = scheme
        self._inner = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = OSError("no address")
        for address in await self._guard.addresses(Target(self._scheme, host, port, "/")):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class Fetcher:
    """Fetches. `guard` says what may be reached, `timeout_s` bounds the whole of a fetch, redirects included."""

    def __init__(self, guard: Guard, *, timeout_s: float, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        self._make_tls = tls or _verifying
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, write: Write, limit_bytes: int) -> Fetched:
        """Hand the file's bytes to `write` and return what was said about it.

        Raises `UrlRefused`, `MediaUnreachable`, `MediaFetchTimeout`, `MediaTooLarge`, and what `write` raises.
        """
        with trio.move_on_after(self._timeout_s):
            for _ in range(REDIRECTS_MAX + 1):
                outcome = await self._hop(url, write, limit_bytes)
                if isinstance(outcome, Fetched):
                    return outcome
                url = outcome
            raise MediaUnreachable(f"More than {REDIRECTS_MAX} redirects.")
        raise MediaFetchTimeout(timeout_s=self._timeout_s)

    async def _hop(self, url: str, write: Write, limit_bytes: int) -> Fetched | str:
        """Return the file, or the URL that the server sends us to."""
        target = self._guard.judge(url)
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._context() if target.scheme == "https" else None,
            network_backend=_Guarded(self._guard, target.scheme),
            max_connections=1,
        )
        request = httpcore2.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=None if target.port == PORTS[target.scheme] else target.port,
            target=target.path.encode(),
        )
        timeouts = {"timeout": {"connect": CONNECT_S, "read": SILENCE_S, "write": SILENCE_S, "pool": CONNECT_S}}
        headers = [(b"host", target.authority.encode()), *_HEADERS]
        try:
            async with pool, pool.stream("GET", request, headers=headers, extensions=timeouts) as answer:
                return await self._read(url, answer, write, limit_bytes)
        except _FAILED as error:
            raise MediaUnreachable(f"{type(error).__name__}.", url_host=target.host) from error

    async def _read(self, url: str, answer: httpcore2.Response, write: Write, limit_bytes: int) -> Fetched | str:
        said = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status in _REDIRECT and b"location" in said:
            return urljoin(url, said[b"location"])
        if answer.status != 200:
            raise MediaUnreachable(f"Its server answered {answer.status}.", http_status=answer.status)
        if said.get(b"content-encoding", "identity").lower() != "identity":
            raise MediaUnreachable("Its server sends it compressed, which was not asked for.")
        announced = said.get(b"content-length", "")
        if announced.isdigit() and int(announced) > limit_bytes:
            raise MediaTooLarge(max_bytes=limit_bytes, size_bytes=int(announced))
        size = 0
        async with aclosing(answer.aiter_stream()) as pieces:
            async for piece in pieces:
                size += len(piece)
                await write(piece)
        if not size:
            raise MediaUnreachable("Its server sent an empty file.")
        return Fetched(said.get(b"content-type", ""), PurePosixPath(unquote(urlsplit(url).path)).name)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls


def _verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
