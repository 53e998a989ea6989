"""A running API for tests: the real application and server on a socket, over an instance directory in memory."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import trio

from bridge.api.app import create_app
from bridge.api.context import ApiContext, Limits
from bridge.api.hypercorn_fixes import App, Timing
from bridge.api.server import Bound, HttpServer
from bridge.domain.ids import EndpointId, InstanceKey, NodeId
from bridge.ids import new_instance_key
from bridge.net.guard import Guard
from bridge.webhooks import own_headers
from supervisor import Snapshot
from supervisor.snapshot import Kind
from supervisor.snapshot import State as NodeState
from tests.support.directory import MemoryDirectory
from tests.support.memory import MemoryStore, instance_row

API_KEY = "wab_test_key_of_an_administrator"
DEADLINE_S = 10.0


class FormOnly:
    """Judges the form of URLs as the real thing does, and resolves nothing."""

    async def admit(self, url: str) -> None:
        await trio.lowlevel.checkpoint()
        Guard().judge(url)

    def admit_headers(self, headers: Mapping[str, str]) -> None:
        own_headers.judge(headers)

    async def test(self, id: EndpointId, instance: InstanceKey | None) -> None:
        await trio.lowlevel.checkpoint()

    def resumed(self, id: EndpointId) -> None:
        pass

    def hurried(self) -> None:
        pass

    def replaying(self) -> None:
        pass

    def held(self) -> frozenset[EndpointId]:
        return frozenset()


@dataclass
class Probes:
    alive: bool = True
    is_started: bool = True
    is_ready: bool = True

    def live(self) -> bool:
        return self.alive

    def started(self) -> bool:
        return self.is_started

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return self.is_ready, {"store": self.is_ready, "draining": not self.is_ready}

    async def metrics(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"bridge_ready 1.0\n"

    def tree(self) -> Snapshot:
        name = f"instance {'a' * 32}"
        child = Snapshot(
            name, Kind.WORKER, NodeState.PARKED, restarts=8, last_error="EngineDown: secret", detail={"state": "failed"}
        )
        return Snapshot("root", Kind.SUPERVISOR, NodeState.RUNNING, since_s=1.5, children=(child,))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about without saying so; fails after a deadline."""
    with trio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # the condition is the server's inside or its peer's socket
            await trio.sleep(0.01)


@dataclass
class Api:
    """A running API and a client that has its key."""

    store: MemoryStore
    directory: MemoryDirectory
    probes: Probes
    server: HttpServer
    bound: Bound
    stop: trio.Event
    client: httpx2.AsyncClient

    def add(self, **fields: object) -> InstanceKey:
        """Put an instance into the store as it might be found there."""
        row = instance_row(new_instance_key(), **fields)
        self.store.rows[row.key] = row
        return row.key

    def stranger(self) -> httpx2.AsyncClient:
        """Return a client without a key."""
        return httpx2.AsyncClient(base_url=self.bound.url, trust_env=False, verify=False, timeout=DEADLINE_S)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes on a connection of its own and return all that comes back until it is closed."""
        with trio.fail_after(DEADLINE_S):
            stream = await trio.open_tcp_stream("127.0.0.1", self.bound.port)
            async with stream:
                for part in parts:
                    await stream.send_all(part)
                return b"".join([chunk async for chunk in stream])


@asynccontextmanager
async def serving(app: App, **options: object) -> AsyncIterator[tuple[HttpServer, Bound, trio.Event]]:
    """Serve any ASGI application; at the end it must stop by itself within a deadline."""
    server = HttpServer(app, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(server.run, stop=stop))
        try:
            yield server, bound, stop
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE_S


@asynccontextmanager
async def running_api(
    *,
    auth_on: bool = True,
    limits: Limits | None = None,
    timing: Timing | None = None,
    drain_s: float = 1,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Run the API on a free port; the client sends the key of an administrator."""
    store = MemoryStore()
    store.add_key(API_KEY)
    directory = MemoryDirectory(store)
    probes = Probes()
    context = ApiContext(
        store,
        directory,
        probes,
        NodeId("node_test"),
        FormOnly(),
        auth_on=auth_on,
        limits=limits or Limits(),
        **settings,
    )
    async with (
        serving(create_app(context), timing=timing, drain_s=drain_s) as (server, bound, stop),
        httpx2.AsyncClient(
            base_url=bound.url, headers={"X-Api-Key": API_KEY}, trust_env=False, verify=False, timeout=DEADLINE_S
        ) as client,
    ):
        yield Api(store, directory, probes, server, bound, stop, client)
