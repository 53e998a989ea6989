"""One run: PostgreSQL's database, the driver that is killed, the receivers, and the count at the end."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import trio

from bridge.store.store import Store
from bridge.vault import Vault
from tests.chaos.receivers import Ledger, Receiver, failing
from tests.support.hooks import MAIN_KEY, Hook, endpoint, owned

REPOSITORY = Path(__file__).parents[2]
STALLED_S = 90.0
"""Nothing arrives for so long: then it will not."""
LOOK_S = 0.1
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does; equal plans with equal seeds draw the same numbers."""

    seed: int
    events: int = 20_000
    kills: int = 50
    chats: int = 200
    instances: int = 8
    life_s: float = 2.0
    """The longest life of a driver, from the first event that it stored."""
    early: float = 0.1
    """The share of drivers that are killed while they start."""
    pause_s: float = 0.0


@dataclass
class World:
    """A run in progress."""

    plan: Plan
    database: str
    rng: random.Random
    instances: list[str]
    receivers: list[Receiver]
    done: list[int]
    """How far each feeder is known to be."""
    in_flight: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Receiver and event: taken, and not recorded when the driver was killed. Each may come once more."""
    kills: int = 0
    unrecorded: int = 0
    crashes: int = 0
    process: subprocess.Popen[bytes] | None = None
    _output: trio.lowlevel.FdStream | None = None
    _rest: bytes = b""
    _stored: trio.Event = field(default_factory=trio.Event)

    def start(self, until: int) -> None:
        """Start a driver that puts in what is missing up to `until`."""
        command = [sys.executable, "-m", "tests.support.tied", sys.executable, "-m", "tests.chaos.driver"]
        command += ["--database", self.database, "--instances", *self.instances]
        command += ["--feeders", str(len(self.instances)), "--chats", str(self.plan.chats), "--until", str(until)]
        command += ["--pause-s", str(self.plan.pause_s), "--done", *map(str, self.done)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=REPOSITORY, process_group=0
        )
        assert self.process.stdout is not None
        self._output = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self.process.stdout.close()
        self._rest, self._stored = b"", trio.Event()

    async def listen(self) -> None:
        """Note how far the feeders are, until the driver's output ends."""
        assert self._output is not None
        async for data in self._output:
            *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
            for line in lines:
                feeder, done = line.split()
                self.done[int(feeder)] = int(done)
            self._stored.set()

    async def kill(self) -> None:
        """Kill the driver, and note what had been taken and not been recorded: that may come twice."""
        assert self.process is not None and self._output is not None
        self.process.kill()
        self.process.wait()
        self.kills += 1
        await self.listen()
        await self._output.aclose()
        for receiver in self.receivers:
            await receiver.quiet()
        await self._note_unrecorded()

    async def _note_unrecorded(self) -> None:
        """Note what was taken and is not recorded: that may come once more."""
        for name, event in await self._pending():
            if event in self._receiver(name).ledger.bodies:
                self.in_flight[name, event] += 1
                self.unrecorded += 1

    async def live(self, until: int) -> None:
        """Let a driver live for a while, then kill it: now and then before it has begun."""
        early, for_s = self.rng.random() < self.plan.early, self.rng.uniform(0.0, self.plan.life_s)
        self.start(until)
        with trio.move_on_after(for_s if early else START_S) as life:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.listen)
                await self._stored.wait()
                if not early:
                    life.deadline = trio.current_time() + for_s
                await trio.sleep_forever()
        await self.kill()

    async def finish(self, deadline_s: float) -> None:
        """Let a last driver put in the rest and deliver everything; give up when nothing moves."""
        if self.process is None or self.process.poll() is not None:
            self.start(self.plan.events)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.listen)
            end, moved, before = trio.current_time() + deadline_s, trio.current_time(), -1
            while (taken := self.taken) < self.plan.events * len(self.receivers):
                now = trio.current_time()
                if taken != before:
                    moved, before = now, taken
                if now > end or now - moved > STALLED_S:
                    break
                await trio.sleep(LOOK_S)  # noqa: ASYNC110 -- three receivers and a clock
            nursery.cancel_scope.cancel()
        assert self.process is not None and self._output is not None
        self.process.terminate()
        self.process.wait()
        await self._output.aclose()

    async def crashes_under_way(
        self, crash: Callable[[], Awaitable[None]], times: int, *, stopped: bool = False
    ) -> None:
        """Crash something else while a driver stores and delivers.

        With `stopped` the driver sleeps meanwhile, so that what the crash left unrecorded can be looked at before the
        driver has mended it.
        """
        self.start(self.plan.events)
        assert self.process is not None
        for _ in range(times):
            with trio.move_on_after(self.rng.uniform(0.5, 2.0)):
                await self.listen()
            assert self.taken < self.plan.events * len(self.receivers), (
                "the crash came too late: more events are needed"
            )
            if stopped:
                self.process.send_signal(signal.SIGSTOP)
            await crash()
            self.crashes += 1
            if stopped:
                await self._note_unrecorded()
                self.process.send_signal(signal.SIGCONT)

    @property
    def taken(self) -> int:
        return sum(len(receiver.ledger.bodies) for receiver in self.receivers)

    def _receiver(self, name: str) -> Receiver:
        return next(receiver for receiver in self.receivers if receiver.name == name)

    async def _pending(self) -> list[tuple[str, str]]:
        query = (
            "select e.reason, d.event_id from bridge.delivery d"
            " join bridge.endpoint e on e.id = d.endpoint_id where d.state = 'pending'"
        )
        with await _connected(self.database) as conn:
            return [(row[0], row[1]) for row in conn.execute(query).fetchall()]

    def report(self) -> "Report":
        """Count."""
        expected = set(range(self.plan.events))
        ledgers = [receiver.ledger for receiver in self.receivers]
        repeated = Counter({(r.name, id): n for r in self.receivers for id, n in r.ledger.repeated.items()})
        ids = {number: {ledger.numbers.get(number) for ledger in ledgers} for number in expected}
        return Report(
            events=self.plan.events,
            endpoints=len(ledgers),
            kills=self.kills,
            crashes=self.crashes,
            lost=sum(len(expected - ledger.numbers.keys()) for ledger in ledgers),
            out_of_order=sum(ledger.out_of_order for ledger in ledgers),
            duplicates=repeated.total(),
            in_flight=self.unrecorded,
            unexplained=(repeated - self.in_flight).total(),
            changed=sum(ledger.changed for ledger in ledgers) + sum(len(found) != 1 for found in ids.values()),
            refused=sum(receiver.answers["failed"] for receiver in self.receivers),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it; all but the first four must be 0, or explained."""

    events: int
    endpoints: int
    kills: int
    crashes: int
    lost: int
    out_of_order: int
    duplicates: int
    in_flight: int
    unexplained: int
    """Duplicates of what was not in flight when a driver was killed."""
    changed: int
    refused: int

    @property
    def ok(self) -> bool:
        wrong = self.lost + self.out_of_order + self.unexplained + self.changed
        return wrong == 0 and self.duplicates <= self.in_flight

    def __str__(self) -> str:
        return (
            f"{self.events} events to {self.endpoints} endpoints, {self.kills} kills,"
            f" {self.crashes} PostgreSQL crashes: {self.lost} lost, {self.out_of_order} out of order,"
            f" {self.duplicates} duplicates of {self.in_flight} in flight at kills ({self.unexplained} unexplained),"
            f" {self.changed} with another id or body, {self.refused} refused by the endpoints"
        )


async def _connected(database: str) -> "psycopg.Connection[tuple[object, ...]]":
    """Connect, and try again while PostgreSQL comes back."""
    while True:
        try:
            return psycopg.connect(database, autocommit=True)
        except psycopg.OperationalError:
            await trio.sleep(LOOK_S)


@asynccontextmanager
async def world(plan: Plan, database: str) -> AsyncIterator[World]:
    """Make instances and endpoints on a migrated database, and run the receivers: well, failing, coming and going."""
    rng = random.Random(plan.seed)
    outages = random.Random(rng.random())
    receivers = [
        Receiver("well", Ledger(plan.chats), lambda: False, Hook("")),
        Receiver("failing", Ledger(plan.chats), failing(random.Random(rng.random()), 0.3), Hook("")),
        Receiver("absent", Ledger(plan.chats), lambda: False, Hook("")),
    ]

    def periods() -> tuple[float, float]:
        return outages.uniform(0.5, 3.0), outages.uniform(0.5, 3.0)

    async with trio.open_nursery() as nursery:
        for receiver in receivers:
            await nursery.start(receiver.run, periods if receiver.name == "absent" else None)
        store, stop = Store(database, vault=Vault(MAIN_KEY)), trio.Event()
        async with trio.open_nursery() as setup:
            await setup.start(partial(store.run, stop=stop))
            instances = [(await owned(store)).key for _ in range(plan.instances)]
            for receiver in receivers:
                id = await endpoint(store, receiver.url)
                await store.endpoints.set_state(id, "active", receiver.name)
            stop.set()
        yield World(plan, database, rng, list(instances), receivers, [0] * plan.instances)
        nursery.cancel_scope.cancel()


async def killed_again_and_again(world: World, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Kill the driver `kills` times while events flow, let the last one finish, and count."""
    plan, began = world.plan, time.monotonic()
    for life in range(plan.kills):
        await world.live(plan.events * (life + 1) // (plan.kills + 1))
        if life % 10 == 9:
            stored = sum(world.done)
            progress(f"{life + 1} kills, {stored} stored, {world.taken} taken, {time.monotonic() - began:.0f} s")
    for receiver in world.receivers:
        receiver.stay()
    await world.finish(deadline_s=900)
    return world.report()
