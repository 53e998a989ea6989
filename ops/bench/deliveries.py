"""How fast events are stored and delivered, without engines: `python -m ops.bench.deliveries`, half a minute.

Generator and dispatcher share a process, and with PostgreSQL and a receiver of next to no cost the machine. Latency
counts from the commit to the receiver's first byte. What one endpoint costs the others is in `ops.bench.isolation`.
"""

import time
from functools import partial

import trio

from bridge import logs
from ops.bench.delivery_rig import CHATS, INSTANCES, Owner, Rig, arrivals, running_rig
from ops.bench.figures import Latency

BACKLOG, RATE, SECONDS = 10_000, 200, 10
GROUP = [f"chat {number}" for number in range(CHATS)]


async def measure(rig: Rig, nursery: trio.Nursery) -> None:
    """Print a line for each figure."""
    sink = rig.sink("answers")
    endpoint = await rig.endpoint(sink)
    for number in range(BACKLOG // CHATS):
        await rig.append(rig.owners[number % INSTANCES], GROUP)
    began = time.monotonic()
    await nursery.start(partial(rig.dispatcher.run, stop=trio.Event()))
    await rig.drained(endpoint)
    print(f"a backlog of {BACKLOG}: {BACKLOG / (time.monotonic() - began):.0f} deliveries/s", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    async with trio.open_nursery() as writers:
        for owner in rig.owners:
            writers.start_soon(_write, rig, owner)
    await rig.drained(endpoint)
    took, spent = time.monotonic() - began, time.process_time() - cpu
    print(f"stored and delivered: {BACKLOG / took:.0f}/s, {spent / BACKLOG * 1e3:.2f} s of CPU per 1,000", flush=True)
    committed = await rig.steadily(RATE, SECONDS)
    came = await arrivals(sink, set(committed))
    took = [came[id] - at for id, at in committed.items() if id in came]
    found = Latency.of(took, missing=len(committed) - len(took))
    print(f"{RATE} events/s: p50 {found.p50_ms} ms, p99 {found.p99_ms} ms", flush=True)


async def _write(rig: Rig, owner: Owner) -> None:
    for _ in range(BACKLOG // INSTANCES // CHATS):
        await rig.append(owner, GROUP)


async def main() -> None:
    """Run it all."""
    async with running_rig() as rig, trio.open_nursery() as running:
        await measure(rig, running)
        running.cancel_scope.cancel()


if __name__ == "__main__":
    logs.configure(level="error", style="console")
    trio.run(main)
