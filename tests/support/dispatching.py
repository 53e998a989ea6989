"""A dispatcher for the length of a test, and waiting for what it did."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from bridge.ids import new_node_id
from bridge.store.store import Store
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.limits import Limits
from tests.support.hooks import DEADLINE_S, Hook, rows

LOOPBACK = ("127.0.0.0/8",)


@asynccontextmanager
async def dispatching(store: Store, *, limits: Limits | None = None) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher that is woken by commits, and stop it politely at the end."""
    dispatcher, stop = Dispatcher(store, node=new_node_id(), allow_private=LOOPBACK, limits=limits), trio.Event()
    store.events.on_commit(dispatcher.wake)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(dispatcher.run, stop=stop))
        try:
            yield dispatcher
        finally:
            stop.set()


async def settled(store: Store, query: str, expected: list[tuple[object, ...]]) -> None:
    """Wait until PostgreSQL answers `query` as expected; it shows what it answers instead."""
    found: list[tuple[object, ...]] = []
    with trio.move_on_after(DEADLINE_S):
        while (found := await rows(store, query)) != expected:  # noqa: ASYNC110 -- a condition in PostgreSQL
            await trio.sleep(0.02)
    assert found == expected


async def all_delivered(store: Store, count: int) -> None:
    await settled(store, "select state, count(*) from bridge.delivery group by 1", [("delivered", count)])
    await settled(store, "select count(*) from bridge.lane", [(0,)])


def seqs(receiver: Hook) -> list[int]:
    return [json.loads(request.body)["seq"] for request in receiver.received]
