"""How fast events are stored and delivered, without engines: `python -m ops.bench.deliveries`, two minutes.

The real store and dispatcher on an embedded PostgreSQL with fsync on, a receiver of next to no cost; generator and
dispatcher share a process, all of it shares the machine. Latency counts from the commit to the receiver's first byte.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from bridge import logs
from bridge.domain.events import Event, MessageRow
from bridge.domain.ids import EndpointId, Epoch, NodeId
from bridge.ids import new_endpoint_id, new_instance_key, new_node_id
from bridge.net.guard import Guard
from bridge.store import embedded
from bridge.store.store import Store
from bridge.vault import Vault
from bridge.webhooks.dispatcher import Dispatcher
from bridge.webhooks.envelope import InstanceView, draft
from bridge.webhooks.post import Poster

INSTANCES, CHATS, BACKLOG, RATE, SECONDS, LANES = 10, 50, 10_000, 200, 10, 1_000
SECRET = b"a secret of the benchmark, 32 by"
_numbers = itertools.count()


class Bench:
    """A store with ten instances, and what is done with it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.owners: list[tuple[InstanceView, NodeId, Epoch]] = []
        self.sinks: list[subprocess.Popen[str]] = []

    async def prepare(self) -> None:
        for _ in range(INSTANCES):
            key, node = new_instance_key(), new_node_id()
            await self.store.instances.create(key, "bench", None, {})
            self.owners.append((InstanceView(key), node, await self.store.instances.claim(key, node)))

    async def endpoint(self, kind: str) -> EndpointId:
        """Start a sink and make an endpoint of it."""
        command = [sys.executable, "-m", "ops.bench.sink", kind, str(self.folder / kind)]
        sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 -- a moment, before it matters
        assert sink.stdout is not None
        self.sinks.append(sink)
        id = new_endpoint_id()
        await self.store.endpoints.upsert(id, None, f"http://127.0.0.1:{int(sink.stdout.readline())}/", (), SECRET)
        return id

    async def append(self, number: int, chats: list[str]) -> list[str]:
        """Store one text for each of `chats`; return their ids."""
        view, node, epoch = self.owners[number % INSTANCES]
        now = time.time()
        drafts = [draft(_text(chat), view, now) for chat in chats]
        return [one.id for one in await self.store.events.append(view.key, node, epoch, drafts)]

    async def drained(self, endpoint: EndpointId) -> None:
        while any(one.endpoint_id == endpoint for one in await self.store.deliveries.backlog()):  # noqa: ASYNC110
            await trio.sleep(0.05)

    async def latency(self, what: str) -> None:
        """Store at a steady rate and print how long each took from its commit to the receiver."""
        committed: dict[str, float] = {}

        async def one(number: int) -> None:
            [id] = await self.append(number, [f"chat {number % CHATS}"])
            committed[id] = time.time()

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(RATE * SECONDS):
                await trio.sleep_until(start + number / RATE)
                nursery.start_soon(one, number)
        await trio.sleep(2)
        lines = (self.folder / "answers").read_text().splitlines()
        came = {id: float(at) for at, _, id in (line.partition(" ") for line in reversed(lines))}
        took = sorted((came[id] - at) * 1e3 for id, at in committed.items() if id in came)
        p99 = took[int(len(took) * 0.99)]
        print(
            f"{what}: p50 {statistics.median(took):.1f} ms, p99 {p99:.1f} ms, {len(took)} of {len(committed)}",
            flush=True,
        )


def _text(chat: str) -> Event:
    id = f"M{next(_numbers)}"
    row = MessageRow(chat, chat, id, False, "text", "received", time.time(), "hello")
    data = {"message_id": id, "chat_id": chat, "text": "hello"}
    return Event("message.received", "message_received", f"{chat}|{id}", time.time(), data, chat=chat, message=row)


async def _measure(bench: Bench, nursery: trio.Nursery) -> None:
    endpoint = await bench.endpoint("answers")
    dispatcher = Dispatcher(bench.store, node=new_node_id(), poster=Poster(Guard(["127.0.0.0/8"])))
    bench.store.events.on_commit(dispatcher.wake)
    group = [f"chat {number}" for number in range(CHATS)]
    for number in range(BACKLOG // CHATS):
        await bench.append(number, group)
    began = time.monotonic()
    await nursery.start(partial(dispatcher.run, stop=trio.Event()))
    await bench.drained(endpoint)
    print(f"a backlog of {BACKLOG}: {BACKLOG / (time.monotonic() - began):.0f} deliveries/s", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    async with trio.open_nursery() as writers:
        for number in range(INSTANCES):
            writers.start_soon(_write, bench, number, group)
    await bench.drained(endpoint)
    took, spent = time.monotonic() - began, time.process_time() - cpu
    print(f"stored and delivered: {BACKLOG / took:.0f}/s, {spent / BACKLOG * 1e3:.2f} s of CPU per 1,000", flush=True)
    await bench.latency(f"{RATE} events/s")
    hangs = await bench.endpoint("hangs")
    for number in range(INSTANCES):
        await bench.append(number, [f"lane {lane}" for lane in range(LANES // INSTANCES)])
    await bench.drained(endpoint)
    await bench.latency(f"the same beside an endpoint that hangs with {LANES} lanes")
    await bench.store.endpoints.remove(hangs)
    await bench.latency("and without it")


async def _write(bench: Bench, number: int, group: list[str]) -> None:
    for _ in range(BACKLOG // INSTANCES // CHATS):
        await bench.append(number, group)


async def main() -> None:
    """Run it all and print a line for each figure."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as name:
        folder, stop = Path(name), trio.Event()
        os.chmod(folder, 0o711)  # noqa: PTH101
        async with trio.open_nursery() as nursery:
            postgres: embedded.Embedded = await nursery.start(partial(embedded.run, folder / "postgres", stop=stop))
            store = Store(postgres.dsn, vault=Vault(SECRET))
            bench = Bench(store, folder)
            try:
                async with trio.open_nursery() as running:
                    await running.start(partial(store.run, stop=trio.Event()))
                    await bench.prepare()
                    await _measure(bench, running)
                    running.cancel_scope.cancel()
            finally:
                for sink in bench.sinks:
                    sink.kill()
            stop.set()


if __name__ == "__main__":
    logs.configure(level="error", style="console")
    trio.run(main)
