"""Puts several writes on a stream together into one: each costs a TLS record and a system call otherwise."""

import trio


class Cork(trio.abc.Stream):
    """A stream whose writes can be held back. Between `hold` and `flush` nothing leaves; outside it is transparent."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._held: bytearray | None = None

    def hold(self) -> None:
        """Keep what is written from now on."""
        self._held = bytearray()

    async def flush(self) -> None:
        """Send what was kept, and keep no more."""
        held, self._held = self._held, None
        if held:
            await self._stream.send_all(held)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._held is None:
            await self._stream.send_all(data)
        else:
            self._held += data

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
