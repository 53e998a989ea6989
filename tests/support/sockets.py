"""A reader of the feed over a WebSocket, step by step, on a socket of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage

from tests.support.api import API_KEY
from tests.support.bridge import Bridge
from tests.support.hooks import DEADLINE_S


@dataclass
class Client:
    """A reader on a socket of its own."""

    stream: trio.SocketStream
    ws: wsproto.WSConnection = field(default_factory=lambda: wsproto.WSConnection(wsproto.ConnectionType.CLIENT))

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.ws.send(event))

    async def next(self) -> Event:
        """Return what comes next, pings answered and aside."""
        while isinstance(event := await self.any(), Ping):
            await self.send(event.response())
        return event

    async def any(self) -> Event:
        """Return what comes next, a ping for example, and answer nothing."""
        with trio.fail_after(DEADLINE_S):
            while (event := next(self.ws.events(), None)) is None:
                data = bytes(await self.stream.receive_some(65_536))
                self.ws.receive_data(data or None)
            return event

    async def ping(self) -> Ping:
        """Return the ping that comes next, unanswered; anything else is a failure."""
        event = await self.any()
        assert isinstance(event, Ping), event
        return event

    async def frame(self) -> Any:
        text = ""
        while True:
            event = await self.next()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                return json.loads(text)

    async def chats(self, count: int) -> list[tuple[int, str]]:
        frames = [await self.frame() for _ in range(count)]
        return [(frame["cursor"], frame["event"]["data"]["chat_id"]) for frame in frames]

    async def ack(self, cursor: int) -> None:
        await self.send(TextMessage(json.dumps({"ack": cursor})))

    async def closed(self) -> tuple[int, str]:
        """Return code and reason of the close that comes, and answer it."""
        while not isinstance(event := await self.next(), CloseConnection):
            pass
        await self.send(event.response())
        return event.code, event.reason or ""

    async def silence(self) -> None:
        """Find that nothing comes for a while, after all that the server had to do is done."""
        await self.send(Ping())
        with trio.move_on_after(0.3) as waiting:
            while True:
                event = await self.next()
                assert not isinstance(event, TextMessage), event
        assert waiting.cancelled_caught


async def ask(port: int, query: str, key: str | None, **headers: str) -> tuple[Client, Event]:
    client = Client(await trio.open_tcp_stream("127.0.0.1", port))
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    extra += [(b"x-api-key", key.encode())] if key else []
    await client.send(Request(host="bridge", target=f"/events/ws{query}", extra_headers=extra))
    return client, await client.next()


def port_of(bridge: Bridge) -> int:
    return bridge.client.base_url.port or 0


@asynccontextmanager
async def listening(bridge: Bridge, query: str = "", key: str = API_KEY) -> AsyncIterator[Client]:
    client, answer = await ask(port_of(bridge), query, key)
    async with client.stream:
        assert isinstance(answer, AcceptConnection), answer
        yield client
