"""A server of files on this machine, that misbehaves as told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11
import trio

Answer = Callable[[trio.SocketStream, str], Awaitable[None]]


def response(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, "connection: close", "", ""])).encode() + body


@asynccontextmanager
async def server(answers: dict[str, Answer | bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve `answers` by path on a free port; yield it, and the paths that were asked for."""
    asked: list[str] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            parser = h11.Connection(h11.SERVER)
            while (event := parser.next_event()) is h11.NEED_DATA:
                parser.receive_data(bytes(await stream.receive_some(65536)))
            assert isinstance(event, h11.Request)
            path = event.target.decode()
            asked.append(path)
            answer = answers[path]
            try:
                await (stream.send_all(answer) if isinstance(answer, bytes) else answer(stream, path))
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        yield listeners[0].socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()
