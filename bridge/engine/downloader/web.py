"""Gets a file from a media host by HTTPS, as the library does: same headers, certificate checked, but no redirects."""

import base64
import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote, urlsplit

from bridge.engine.downloader.jobs import Job

SILENCE_S = 30.0
"""How long a host may take to go on. How long it may take in all is the bridge's to decide, which ends the process."""
PIECE_BYTES = 256 * 1024
_OK, _SERVERS_FAULT = 200, 500
_ORIGIN = "https://web.whatsapp.com"
_HEADERS = {"Origin": _ORIGIN, "Referer": f"{_ORIGIN}/", "User-Agent": "Go-http-client/1.1"}
"""What whatsmeow sends (doMediaDownloadRequest in its download.go), and Go for it."""


class Away(Exception):
    """The host does not give us the file:"""


class Broken(Exception):
    """The host began, or should have, and something went wrong:"""


class Body:
    """The file as it comes."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.said_bytes = response.length
        """What the host says of its size, if anything."""

    def pieces(self) -> Iterator[memoryview]:
        """Yield it piece by piece, each valid until the next; raise `Broken` when it ends before its end."""
        buffer = memoryview(bytearray(PIECE_BYTES))
        try:
            while size := self._response.readinto(buffer):
                yield buffer[:size]
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"the download broke off: {_text(error)}") from error
        if self._response.length:
            raise Broken(f"the download broke off, with {self._response.length} bytes to come")


@contextmanager
def body_of(job: Job) -> Iterator[Body]:
    """Ask for a file; raise `Away` where it is not to be had, `Broken` for a host in trouble."""
    connection = _connection(job)
    try:
        try:
            connection.request("GET", job.target, headers=_HEADERS)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{job.host} is not reached: {_text(error)}") from error
        if response.status != _OK:
            kind = Broken if response.status >= _SERVERS_FAULT else Away
            raise kind(f"download failed with status code {response.status}")
        yield Body(response)
    finally:
        connection.close()


def _connection(job: Job) -> http.client.HTTPSConnection:
    """Return a connection that is yet to be made: through the proxy where there is one, and then never without it."""
    context = _trusting(job.ca_file)
    if not job.proxy:
        return http.client.HTTPSConnection(job.host, timeout=SILENCE_S, context=context)
    proxy = urlsplit(job.proxy)
    connection = http.client.HTTPSConnection(proxy.hostname or "", proxy.port or 80, timeout=SILENCE_S, context=context)
    headers = {}
    if proxy.username is not None:
        who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(who.encode()).decode()
    connection.set_tunnel(job.host, 443, headers)
    return connection


@cache
def _trusting(ca_file: str) -> ssl.SSLContext:
    """Return who is trusted; kept, since reading a machine's authorities takes longer than a small file."""
    return ssl.create_default_context(cafile=ca_file or None)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
