"""The API over the real store and the real dispatcher, without engines: what endpoints and readers of events need."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httpx2
import trio

from bridge.api.app import create_app
from bridge.api.context import ApiContext
from bridge.api.directory import Directory
from bridge.api.server import HttpServer
from bridge.domain.ids import NodeId
from bridge.ids import new_key_id
from bridge.net.guard import Guard
from bridge.store.rows import NewKey
from bridge.store.store import Store
from bridge.webhooks.desk import Desk
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.post import Poster
from bridge.webhooks.replayer import Replayer
from tests.support.api import API_KEY, DEADLINE_S, Probes, serving
from tests.support.hooks import Owned, owned

OPERATOR = {"X-Api-Key": API_KEY}


@dataclass(frozen=True, slots=True)
class Bridge:
    """The parts that endpoints need, running."""

    store: Store
    client: httpx2.AsyncClient
    instance: Owned
    stopping: trio.Event
    server: HttpServer

    async def call(self, method: str, path: str, body: object = None, *, expect: int = 200, **headers: str) -> Any:
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def failed(self, id: str) -> Any:
        """Return the endpoint when an attempt has failed."""
        with trio.fail_after(DEADLINE_S):
            while (shown := await self.call("GET", f"/webhooks/{id}"))["last_error"] is None:  # noqa: ASYNC110
                await trio.sleep(0.02)
        return shown


@asynccontextmanager
async def bridge_on(store: Store) -> AsyncIterator[Bridge]:
    await add_key(store, API_KEY)
    await add_key(store, "a viewer's key", role="viewer")
    stopping = trio.Event()
    guard, stop = Guard(["127.0.0.0/8", "later.test:443"]), trio.Event()
    dispatcher = Dispatcher(store, node=NodeId("node_test"), poster=Poster(guard))
    store.events.on_commit(dispatcher.wake)
    replayer = Replayer(store, wake=dispatcher.wake)
    desk = Desk(store, dispatcher, replayer, guard)
    context = ApiContext(store, cast("Directory", None), Probes(), NodeId("node_test"), desk, stopping=stopping)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(dispatcher.run, stop=stop))
        await nursery.start(partial(replayer.run, stop=stop))
        async with (
            serving(create_app(context), drain_s=1) as (server, bound, _stop),
            httpx2.AsyncClient(
                base_url=bound.url, headers=OPERATOR, trust_env=False, verify=False, timeout=DEADLINE_S
            ) as client,
        ):
            yield Bridge(store, client, await owned(store), stopping, server)
        stop.set()


async def add_key(store: Store, key: str, *, role: str = "admin", instances: list[str] | None = None) -> None:
    digest = hashlib.sha256(key.encode()).digest()
    if await store.keys.find(digest) is None:  # else an earlier bridge on this store made it
        await store.keys.add(NewKey(new_key_id(), "test", role, digest, instances=instances))
