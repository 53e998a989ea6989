"""A receiver for tests: the real store, application and server on a socket, and webhooks signed by another library."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import httpx2
import trio
from standardwebhooks import Webhook

from receiver import service
from receiver.app import App
from receiver.desk import Desks
from receiver.handlers import Handler, HandlerName
from receiver.server import Limits, Server
from receiver.store import Store
from receiver.verify import parse_secret
from receiver.webhooks import Keys

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
META_SECRET = "an app's secret of the tests"
DEADLINE_S = 10.0


def body_of(number: int, *, chat: str = "491701@s.whatsapp.net", instance: str = "a" * 32) -> str:
    """Return an envelope like the bridge's, with the spaces of no particular library."""
    event = {"id": f"evt_{number}", "type": "message.received", "instance": instance, "seq": number}
    return json.dumps(
        event | {"data": {"text": "grüß dich  \U0001f44b", "chat": {"id": chat, "kind": "direct"}}}, indent=1
    )


def signed(
    webhook_id: str, body: str, *, secret: str = SECRET, at: datetime | None = None, attempt: int = 1
) -> dict[str, str]:
    """Return the headers of a webhook, signed by the reference library."""
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body),
        "x-webhook-attempt": str(attempt),
    }


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition of another process, or fail after the deadline."""
    with trio.fail_after(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - nobody tells us
            await trio.sleep(0.02)


@dataclass(slots=True)
class Running:
    """A receiver that serves."""

    url: str
    store: Store
    stop: trio.Event
    client: httpx2.AsyncClient

    async def post(
        self, number: int, *, body: str | None = None, headers: Mapping[str, str] | None = None, path: str = "/webhook"
    ) -> httpx2.Response:
        """Send webhook `evt_<number>`; what is not given is made up and signed."""
        text = body_of(number) if body is None else body
        sent = signed(f"evt_{number}", text) if headers is None else headers
        return await self.client.post(path, content=text.encode(), headers=dict(sent))

    async def events(self, **query: str | int) -> list[dict[str, object]]:
        """Return what GET /events shows."""
        answer = await self.client.get("/events", params=query)
        assert answer.status_code == 200, answer.text
        found = answer.json()["events"]
        assert isinstance(found, list)
        return found

    async def connect(self) -> trio.SocketStream:
        """Return a bare connection."""
        return await trio.open_tcp_stream("127.0.0.1", int(self.url.rsplit(":", 1)[1]))

    async def until_ready(self) -> None:
        """Wait until /readyz answers 200."""
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.client.get("/readyz")).status_code == 200


@asynccontextmanager
async def serving(
    database_url: str,
    *,
    limits: Limits | None = None,
    deadline_s: float = 4.0,
    handlers: Sequence[str] = (),
    handler_timeout_s: float = 30.0,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
) -> AsyncIterator[Running]:
    """Run a receiver on a free port, or `port`; it is there at once, its database maybe later.

    `host` is where it believes to listen; it listens on 127.0.0.1.
    """
    stop = trio.Event()
    desks = Desks(database_url, [Handler(HandlerName(target), target) for target in handlers], handler_timeout_s)
    store = Store(database_url, desks.names, deadline_s=deadline_s)
    keys = Keys((parse_secret(SECRET),), (META_SECRET.encode(),))
    app = App(store, keys, ("/", "/webhook"), stop.is_set, desks=desks, host=host, api_key=api_key)
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    server = Server(app, limits or Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        nursery.start_soon(service.serve, store, desks, partial(server.run, listeners, stop, grace_s=4), stop)
        pool = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE_S, limits=pool) as client:
            yield Running(url, store, stop, client)
        nursery.cancel_scope.cancel()


@contextmanager
def process(*arguments: str, env: Mapping[str, str] | None = None, ready: bool = True) -> Iterator["Process"]:
    """Run the command `receiver` until the end of the block; it ends with us, by the end of its stdin."""
    running = subprocess.Popen(
        [sys.executable, "-m", "receiver", "--json", "--parent-pipe", "--port", "0", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield Process.started(running) if ready else Process(running, {})
    finally:
        running.kill()
        running.communicate()


@dataclass(slots=True)
class Process:
    """The command `receiver`, and the line that it printed when it was ready."""

    popen: subprocess.Popen[str]
    ready: Mapping[str, object]

    @classmethod
    def started(cls, popen: subprocess.Popen[str]) -> "Process":
        assert popen.stdout is not None
        line = popen.stdout.readline()
        assert line, popen.communicate()[1]
        return cls(popen, json.loads(line))

    @property
    def url(self) -> str:
        return str(self.ready["url"])
