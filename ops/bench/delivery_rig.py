"""A real store on an embedded PostgreSQL with fsync on, instances whose events are stored, and sinks that get them."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from bridge.domain.events import Event, MessageRow
from bridge.domain.ids import EndpointId, Epoch, InstanceKey, NodeId
from bridge.ids import new_endpoint_id, new_instance_key, new_node_id
from bridge.net.guard import Guard
from bridge.store import embedded
from bridge.store.store import Store
from bridge.vault import Vault
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.envelope import InstanceView, draft
from bridge.webhooks.post import Poster

INSTANCES, CHATS = 10, 50
SECRET = b"a secret of the benchmark, 32 by"
DEADLINE_S = 30.0
_numbers = itertools.count()


@dataclass
class Sink:
    """A receiver in a process of its own, which notes when what came."""

    url: str
    process: subprocess.Popen[str]
    notes: Path
    _read: int = 0

    def came(self) -> list[tuple[float, str]]:
        """Return when (seconds since 1970) which ids came since the last call."""
        with self.notes.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole)
        return [(float(at), id) for at, _, id in (line.partition(" ") for line in whole.splitlines())]

    def kill(self) -> None:
        """End it, and every connection to it."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Owner:
    """An instance that we own."""

    view: InstanceView
    node: NodeId
    epoch: Epoch


@dataclass
class Rig:
    """A store with instances, a dispatcher, and what is done with them."""

    store: Store
    folder: Path
    dispatcher: Dispatcher
    owners: list[Owner] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)

    async def own(self) -> Owner:
        """Make an instance and take it over."""
        key, node = new_instance_key(), new_node_id()
        await self.store.instances.create(key, "bench", None, {})
        return Owner(InstanceView(key), node, await self.store.instances.claim(key, node))

    def sink(self, kind: str) -> Sink:
        """Start a receiver that `answers` or `hangs`."""
        notes = self.folder / f"sink-{len(self.sinks)}"
        command = [sys.executable, "-m", "ops.bench.sink", kind, str(notes)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        sink = Sink(f"http://127.0.0.1:{int(process.stdout.readline())}/", process, notes)
        self.sinks.append(sink)
        return sink

    async def endpoint(self, sink: Sink, instance: InstanceKey | None = None, *, timeout_s: float = 10) -> EndpointId:
        """Make an endpoint of a sink, for the events of one instance or of all."""
        id = new_endpoint_id()
        await self.store.endpoints.upsert(id, instance, sink.url, (), SECRET, timeout_s=timeout_s)
        return id

    async def append(self, owner: Owner, chats: Sequence[str]) -> list[str]:
        """Store one text for each of `chats`; return their ids."""
        now = time.time()
        drafts = [draft(_text(chat), owner.view, now) for chat in chats]
        return [one.id for one in await self.store.events.append(owner.view.key, owner.node, owner.epoch, drafts)]

    async def drained(self, *endpoints: EndpointId) -> None:
        """Wait until nothing waits for these endpoints."""
        while any(one.endpoint_id in endpoints for one in await self.store.deliveries.backlog()):  # noqa: ASYNC110
            await trio.sleep(0.05)

    async def steadily(self, rate: float, seconds: float) -> dict[str, float]:
        """Store one text after the other at a steady rate; return when the commit of each was known."""
        committed: dict[str, float] = {}

        async def one(number: int) -> None:
            [id] = await self.append(self.owners[number % INSTANCES], [f"chat {number % CHATS}"])
            committed[id] = time.time()

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(round(rate * seconds)):
                await trio.sleep_until(start + number / rate)
                nursery.start_soon(one, number)
        return committed


async def arrivals(sink: Sink, ids: set[str]) -> dict[str, float]:
    """Wait for all of `ids`, half a minute at most; return when (seconds since 1970) each came first."""
    came: dict[str, float] = {}
    with trio.move_on_after(DEADLINE_S):
        while ids - came.keys():
            for at, id in sink.came():
                came.setdefault(id, at)
            await trio.sleep(0.05)
    return came


def _text(chat: str) -> Event:
    id = f"M{next(_numbers)}"
    row = MessageRow(chat, chat, id, False, "text", "received", time.time(), "hello")
    data = {"message_id": id, "chat_id": chat, "text": "hello"}
    return Event("message.received", "message_received", f"{chat}|{id}", time.time(), data, chat=chat, message=row)


@asynccontextmanager
async def running_rig() -> AsyncIterator[Rig]:
    """Run PostgreSQL and a store with ten instances in a folder that is removed afterwards; the dispatcher not yet."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as name:
        folder, stop = Path(name), trio.Event()
        os.chmod(folder, 0o711)  # noqa: PTH101
        async with trio.open_nursery() as nursery:
            postgres: embedded.Embedded = await nursery.start(partial(embedded.run, folder / "postgres", stop=stop))
            store = Store(postgres.dsn, vault=Vault(SECRET))
            dispatcher = Dispatcher(store, node=new_node_id(), poster=Poster(Guard(["127.0.0.0/8"])))
            store.events.on_commit(dispatcher.wake)
            rig = Rig(store, folder, dispatcher)
            try:
                async with trio.open_nursery() as running:
                    await running.start(partial(store.run, stop=trio.Event()))
                    rig.owners += [await rig.own() for _ in range(INSTANCES)]
                    yield rig
                    running.cancel_scope.cancel()
            finally:
                for sink in rig.sinks:
                    sink.kill()
            stop.set()
