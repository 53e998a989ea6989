"""What a key has left open when it is revoked, or expires: streams, sockets and long polls, and nobody else's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
import trio

from bridge.api import sockets
from bridge.store.store import Store
from tests.integration.test_api_events import streaming
from tests.integration.test_api_sockets import listening
from tests.support.api import Api, running_api
from tests.support.bridge import Bridge, bridge_on
from tests.support.directory import Progress, Watch
from tests.support.hooks import DEADLINE_S, text_event


async def make(bridge: Bridge, **more: Any) -> tuple[str, str]:
    """Return id and secret of a new key."""
    made = await bridge.call("POST", "/keys", {"name": "crm", "role": "viewer", **more}, expect=201)
    return made["key_id"], made["secret"]


@asynccontextmanager
async def as_key(bridge: Bridge, secret: str) -> AsyncIterator[None]:
    """Call with another key than the administrator's for a while."""
    own, bridge.client.headers["X-Api-Key"] = bridge.client.headers["X-Api-Key"], secret
    yield
    bridge.client.headers["X-Api-Key"] = own


async def test_a_stream_ends_with_its_key_and_another_key_s_goes_on(store: Store) -> None:
    async with bridge_on(store) as bridge:
        id_, secret = await make(bridge)
        async with as_key(bridge, secret):
            mine = streaming(bridge)
            stream = await mine.__aenter__()
        async with streaming(bridge) as other:
            for one in (stream, other):
                await one.message()
            await bridge.call("DELETE", f"/keys/{id_}")
            with pytest.raises(EOFError):
                await stream.message()
            await bridge.instance.append(text_event("later"))
            assert (await other.events(1))[0][1]["data"]["chat_id"] == "later"
        await mine.__aexit__(None, None, None)


async def test_a_socket_is_closed_with_its_key_and_says_so(store: Store) -> None:
    async with bridge_on(store) as bridge:
        id_, secret = await make(bridge)
        async with listening(bridge, key=secret) as client, listening(bridge) as other:
            await bridge.call("DELETE", f"/keys/{id_}")
            assert await client.closed() == sockets.REVOKED
            await bridge.instance.append(text_event("later"))
            assert (await other.frame())["event"]["data"]["chat_id"] == "later"


async def test_a_key_that_expires_ends_what_it_has_open(store: Store) -> None:
    async with bridge_on(store) as bridge:
        soon = datetime.now(UTC) + timedelta(seconds=1.5)
        _, secret = await make(bridge, expires_at=soon.isoformat())
        async with listening(bridge, key=secret) as client:
            assert await client.closed() == sockets.REVOKED
        assert datetime.now(UTC) >= soon


async def test_a_long_poll_is_refused_as_soon_as_its_key_is_revoked(store: Store) -> None:
    async with bridge_on(store) as bridge:
        id_, secret = await make(bridge)
        waiting = trio.Event()
        read = store.feed.read

        async def reading(*given: Any, **more: Any) -> Any:
            batch = await read(*given, **more)
            waiting.set()
            return batch

        store.feed.read = reading  # type: ignore[method-assign]
        answers: list[httpx2.Response] = []

        async def poll() -> None:
            headers = {"X-Api-Key": secret}
            answers.append(await bridge.client.get("/events?wait_s=60", headers=headers, timeout=DEADLINE_S))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await waiting.wait()
            await bridge.call("DELETE", f"/keys/{id_}")
        assert (answers[0].status_code, answers[0].json()["code"]) == (401, "unauthorized")


@dataclass
class Endless(Watch):
    """A pairing that nobody finishes."""

    async def next(self, seen: Progress, within_s: float) -> Progress:
        await trio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize(("path", "status"), [("qr/stream", 200), ("qr?wait_s=30", 401)])
async def test_who_looks_at_a_pairing_sees_no_more_of_it(path: str, status: int) -> None:
    """Whoever sees a code could take the number over."""
    async with running_api() as api:
        api.directory.watch = Endless([Progress()])
        key = api.add()
        made = (await api.client.post("/keys", json={"name": "crm", "role": "operator"})).json()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(DEADLINE_S):
                request = await nursery.start(partial(_look, api, f"/instance/{key}/{path}", made["secret"], status))
                assert (await api.client.delete(f"/keys/{made['key_id']}")).status_code == 200
                await request.wait()


async def _look(
    api: Api, path: str, secret: str, status: int, task_status: trio.TaskStatus[trio.Event] = trio.TASK_STATUS_IGNORED
) -> None:
    """Ask, say so when it waits inside, and set the event when it is over with the status that is wanted."""
    waits, done = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            async with api.client.stream("GET", path, headers={"X-Api-Key": secret}) as answer:
                assert answer.status_code == status
                async for _ in answer.aiter_bytes():
                    waits.set()
            done.set()

        nursery.start_soon(ask)
        if status == 200:
            await waits.wait()
        else:
            await api.directory.begun.wait()
        task_status.started(done)
