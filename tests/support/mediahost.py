"""A media host for the downloader, behind a proxy as the sandbox's is: gives out sealed files, misbehaves as told."""

import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h11
import trio

from bridge.engine.downloader.place import MEDIA_HOST, Place
from bridge.engine.wire import SandboxTrust
from bridge.sandbox.attachments import FILE_KINDS, Sealed, seal
from bridge.sandbox.certificates import TlsAuthority

Answer = bytes | Callable[[trio.abc.SendStream], Awaitable[None]]
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def sealed(content: bytes, kind: str = "document") -> tuple[bytes, Sealed]:
    """Return a content's sealed form and what its message says of it."""
    held = io.BytesIO()
    said = seal(io.BytesIO(content), held, FILE_KINDS[kind])
    return held.getvalue(), said


def place(said: Sealed, target: str = "/file", kind: str = "document") -> Place:
    """Return where a sealed file is."""
    info = FILE_KINDS[kind].info.decode()
    return Place(MEDIA_HOST, target, info, said.media_key, said.sealed_sha256, said.sha256)


def ok(body: bytes, length: int | None = None) -> bytes:
    """Return an answer that says it has so many bytes: as many as it has, unless told otherwise."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + body


@dataclass
class MediaHost:
    """A host that runs."""

    trust: SandboxTrust
    answers: dict[str, Answer]
    """By target."""
    context: ssl.SSLContext
    tunnel: bytes = CONNECTED
    """What the proxy says to CONNECT."""
    connects: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Where clients wanted to go, with the headers for the proxy."""
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Targets, with headers."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client, for one request."""
        try:
            async with stream:
                self.connects.append(await _request(stream))
                await stream.send_all(self.tunnel)
                if self.tunnel == CONNECTED:
                    tls = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
                    self.asked.append(await _request(tls))
                    answer = self.answers[self.asked[-1][0]]
                    await (tls.send_all(answer) if isinstance(answer, bytes) else answer(tls))
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return

    def with_password(self, who: str) -> SandboxTrust:
        """Return its trust with a name and a password for the proxy."""
        return self.by(self.trust.proxy.replace("//", f"//{who}@"))

    def by(self, proxy: str) -> SandboxTrust:
        """Return its trust with another proxy."""
        return SandboxTrust(proxy, self.trust.root_key_hex, self.trust.ca_file)


@asynccontextmanager
async def media_host(folder: Path, **answers: Answer) -> AsyncIterator[MediaHost]:
    """Run a host with these answers, by target without its slash."""
    authority = TlsAuthority(folder / "tls")
    by_target = {f"/{name}": answer for name, answer in answers.items()}
    async with trio.open_nursery() as nursery:
        host = MediaHost(SandboxTrust("", "", ""), by_target, authority.server_context())
        listeners = await nursery.start(trio.serve_tcp, host.serve, 0)
        port = listeners[0].socket.getsockname()[1]
        host.trust = SandboxTrust(f"http://127.0.0.1:{port}", "00" * 32, str(authority.ca_file))
        yield host
        nursery.cancel_scope.cancel()


async def _request(stream: trio.abc.Stream) -> tuple[str, Mapping[str, str]]:
    parser = h11.Connection(h11.SERVER)
    while (event := parser.next_event()) is h11.NEED_DATA:
        parser.receive_data(bytes(await stream.receive_some(65536)))
    if not isinstance(event, h11.Request):
        raise trio.BrokenResourceError
    return event.target.decode(), {name.decode(): value.decode() for name, value in event.headers}
