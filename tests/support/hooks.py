"""A receiver whose answers a test chooses, request by request, on a real socket; and events to send to it."""

import itertools
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import h11
import trio

from bridge.domain.events import Event, MessageRow
from bridge.domain.ids import EndpointId, Epoch, InstanceKey, NodeId
from bridge.ids import new_endpoint_id, new_instance_key, new_node_id
from bridge.store.events import Draft, Stored
from bridge.store.store import Store
from bridge.webhooks.envelope import InstanceView, draft

DEADLINE_S = 20.0
SECRET = b"a secret of the tests, 32 bytes!"
MAIN_KEY = b"a main key of the tests, 32 byte"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-webhook-attempt"])


@dataclass(frozen=True, slots=True)
class Reply:
    """What the hook answers: after `head` the body, then, where `close`, the end of the connection."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    close: bool = False


Script = Callable[[Received], Awaitable[Reply | None] | Reply | None]


def accept(request: Received) -> Reply:
    return Reply()


class Hook:
    """A receiver; `script` decides each answer, None closes the connection without one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: Script = accept
        self.received: list[Received] = []
        self._changed = trio.Event()
        self._connections = itertools.count(1)

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.received]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds after a request."""
        with trio.fail_after(DEADLINE_S):
            while not condition():
                await self._changed.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        number = next(self._connections)
        try:
            http = h11.Connection(h11.SERVER)
            while await self._one(http, stream, number):
                http.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _one(self, http: h11.Connection, stream: trio.abc.Stream, number: int) -> bool:
        request, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65_536)))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        received = Received(request.target.decode(), headers, body, number)
        self.received.append(received)
        self._changed.set()
        self._changed = trio.Event()
        answer = self.script(received)
        reply = await answer if isinstance(answer, Awaitable) else answer
        if reply is None:
            return False
        fields = dict(reply.headers)
        if reply.status != 204:
            fields.setdefault("content-length", str(len(reply.body)))
        head = http.send(h11.Response(status_code=reply.status, headers=list(fields.items())))
        await stream.send_all((head or b"") + reply.body)
        http.send(h11.Data(data=reply.body))
        http.send(h11.EndOfMessage())
        return not reply.close and http.our_state is h11.DONE


@asynccontextmanager
async def hook(*, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """Serve a hook on loopback for the length of the block."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    scheme = "http" if tls is None else "https"
    running = Hook(f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook")

    async def handle(stream: trio.abc.Stream) -> None:
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await running.serve(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, listeners)
        try:
            yield running
        finally:
            nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Owned:
    """An instance that we own, and whose events we store."""

    store: Store
    view: InstanceView
    node: NodeId
    epoch: Epoch

    @property
    def key(self) -> InstanceKey:
        return self.view.key

    def draft(self, event: Event | None = None) -> Draft:
        return draft(event or text_event(), self.view, time.time())

    async def append(self, *events: Event) -> tuple[Stored, ...]:
        return await self.store.events.append(self.key, self.node, self.epoch, [self.draft(one) for one in events])


async def owned(store: Store, node: NodeId | None = None) -> Owned:
    """Make an instance and take it over."""
    key, node = new_instance_key(), node or new_node_id()
    await store.instances.create(key, "test", "crm-7", {"tenant": "acme"})
    epoch = await store.instances.claim(key, node)
    return Owned(store, InstanceView(key, "crm-7", {"tenant": "acme"}, "491700@s.whatsapp.net", "7@lid"), node, epoch)


async def endpoint(store: Store, url: str, *events: str, **options: object) -> EndpointId:
    """Make an endpoint for the events of every instance."""
    id = new_endpoint_id()
    await store.endpoints.upsert(id, None, url, events, SECRET, **options)  # type: ignore[arg-type]
    return id


def text_event(chat: str = "1@s.whatsapp.net", *, message_id: str | None = None, text: str = "hello") -> Event:
    """Return a text that came in."""
    message_id = message_id or f"M{next(_numbers)}"
    return Event(
        type="message.received",
        name="message_received",
        dedup_key=f"{chat}|{chat}|{message_id}|message",
        at=1_700_000_000.25,
        data={"message_id": message_id, "chat_id": chat, "text": text},
        chat=chat,
        message=MessageRow(chat, chat, message_id, False, "text", "received", 1_700_000_000.25, text),
    )


def sent_event(chat: str = "1@s.whatsapp.net", *, message_id: str | None = None) -> Event:
    """Return a text that we sent."""
    event = text_event(chat, message_id=message_id)
    assert event.message is not None
    row = replace(event.message, from_me=True, status="sent", sender="491700@s.whatsapp.net")
    return replace(event, type="message.sent", name="message_sent", dedup_key=event.dedup_key + "|sent", message=row)


async def rows(store: Store, query: str, *params: object) -> list[tuple[object, ...]]:
    """Return what PostgreSQL answers to a question of a test."""
    async with store.connection() as conn:
        return await (await conn.execute(query, params)).fetchall()  # type: ignore[call-overload, no-any-return]


async def run(store: Store, query: str, *params: object) -> None:
    """Change something behind the store's back."""
    async with store.connection() as conn:
        await conn.execute(query, params)  # type: ignore[call-overload]


async def pass_time(store: Store) -> None:
    """Make every lane due that waits for its next attempt."""
    await run(store, "update bridge.lane set next_at = now() where next_at > now()")
