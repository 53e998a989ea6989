"""How much traffic the sandbox makes on one core, and what it remembers of it in memory, with no engine in the way.

The sandbox's own load goes its whole way: encryption, oracle, pending list, commit. At its end stands a client that
acknowledges everything and decrypts nothing, in the same process; what a connection would add (TLS, Noise and websocket
of bytes that are ready) is not in it.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import trio
import trio.lowlevel

from bridge.sandbox.accounts import Device, SignedPrekey
from bridge.sandbox.load import Plan
from bridge.sandbox.nodes import decode
from bridge.sandbox.signal import DeviceKeys
from bridge.sandbox.state import State
from bridge.sandbox.verdict import judge
from bridge.sandbox.world import World
from ops.bench.figures import Figure

TARGET_PER_S = 1000.0
FLAT_MIB = 10.0
_FIRST_INSTANCE = 4915900000000
_ONE_TIME_KEYS = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages per second of processor time, all acknowledged; memory after the first fifth and at the end."""

    messages: int
    per_cpu_s: float
    mib_before: float
    mib_after: float
    clean: bool
    """Whether the oracle found nothing lost, doubled or out of order."""


class Acknowledging:
    """A client's connection that reads no message and acknowledges each."""

    def __init__(self, world: World, device: Device) -> None:
        self._world = world
        self._device = device
        self._arrived: list[bytes] = []
        self._posted = trio.Event()

    def post(self, stanza: bytes) -> None:
        self._arrived.append(stanza)
        self._posted.set()

    async def run(self) -> None:
        while True:
            await self._posted.wait()
            self._posted = trio.Event()
            await self._world.state.settled()
            arrived, self._arrived = self._arrived, []
            nodes = [decode(stanza) for stanza in arrived]
            self._world.relay.acknowledge(self._device, [node.text("id") for node in nodes if node.tag == "message"])


def pair(world: World, phone: str) -> Acknowledging:
    """Link such a client to a phone."""
    account = world.phones.create(phone, None)[0].account
    keys = DeviceKeys(one_time_keys=_ONE_TIME_KEYS)
    signed = SignedPrekey(keys.signed_id.to_bytes(3, "big"), keys.signed.public, keys.signature)
    registration = keys.registration_id.to_bytes(4, "big")
    device = Device(account, 1, keys.identity.public, registration, signed, bytes(32), provisioned=True)
    world.accounts.add_device(device)
    prekeys = [(key_id.to_bytes(3, "big"), one.public) for key_id, one in keys.one_time.items()]
    world.accounts.add_prekeys(device, prekeys)
    client = Acknowledging(world, device)
    device.link = client
    return client


async def measure(count: int, instances: int = 10, contacts: int = 50) -> Rate:
    """Send `count` messages as fast as it goes, after a fifth as many to warm up."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        state = State(Path(folder) / "sandbox.db")
        world = World.load(state)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(state.commit_always)
                await nursery.start(world.loads.run)
                for index in range(instances):
                    nursery.start_soon(pair(world, str(_FIRST_INSTANCE + index)).run)
                await _send(world, Plan(instances, contacts, count=count // 5, seed=1))
                before, cpu = _mib(), time.process_time()
                await _send(world, Plan(instances, contacts, count=count, seed=2))
                took = time.process_time() - cpu
                after = _mib()
                clean = judge(world.oracle.all(0)).clean
                nursery.cancel_scope.cancel()
            return Rate(count, count / took, before, after, clean)
        finally:
            state.close()


async def _send(world: World, plan: Plan) -> None:
    load = world.loads.begin(plan, world.oracle.last())
    await load.finished.wait()
    while world.state.one("SELECT 1 FROM pending LIMIT 1") is not None:
        await trio.lowlevel.checkpoint()
        await world.state.settled()


def _mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def figures(rate: Rate) -> list[Figure]:
    """Return what is told of it."""
    grown = round(rate.mib_after - rate.mib_before, 1)
    return [
        Figure(
            f"sandbox alone: messages made and acknowledged, of {rate.messages}",
            "per s of one core",
            round(rate.per_cpu_s),
            target=f">= {TARGET_PER_S:.0f}",
            met=rate.per_cpu_s >= TARGET_PER_S,
            details={"clean": rate.clean},
        ),
        Figure(
            f"sandbox alone: memory grown over {rate.messages} messages",
            "MiB",
            grown,
            target=f"< {FLAT_MIB:.0f}",
            met=grown < FLAT_MIB,
            details={"before": rate.mib_before, "after": rate.mib_after},
        ),
    ]
