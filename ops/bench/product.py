"""The product as its users run it, `bridge up --sandbox` in a process of its own, and what the bench does with it."""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import httpx2
import psutil
import trio

from bridge.sandbox.client import SandboxClient
from ops.bench.candidate import Number
from ops.bench.lean_http import LeanClient
from ops.bench.lines import Child
from ops.bench.machine import Groups, tree
from ops.bench.rig import Rig

START_S, ONLINE_S, PAIR_S, END_S = 90.0, 120.0, 90.0, 40.0
ENGINE_IDLE_S = 5
SOON_IDLE = {"BRIDGE_ENGINE_IDLE_S": str(ENGINE_IDLE_S)}
"""Lets idle sessions give their connections back soon, so that the bench need not wait for it."""
PAIRING_AT_ONCE = 3
_MODULES = {"-m bridge.engine.host": "hosts", "-m receiver": "receiver", "-m bridge.sandbox": "sandbox"}


class Product:
    """One `bridge up`. It can be killed and started again on the same data."""

    name = "bridge"

    def __init__(self, rig: Rig, environment: Mapping[str, str]) -> None:
        self._rig = rig
        self._environment = dict(environment)
        self._child: Child | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._cursor = 0
        self.numbers: list[Number] = []
        self.meter = rig.meter(self._find)

    async def start(self, **settings: str) -> None:
        """Start it and wait until it is ready, which does not mean that its sessions are online."""
        environment = self._rig.environment(
            BRIDGE_DATABASE_URL=self._rig.dsn, BRIDGE_LOG_FORMAT="json", **self._environment, **settings
        )
        up = [sys.executable, "-m", "bridge", "up", "--sandbox", "--json", "--data-dir", str(self._rig.folder / "data")]
        ports = ["--port", "0", "--receiver-port", "0", "--sandbox-port", "0"]
        self._child = Child(
            [sys.executable, "-m", "ops.bench.tied", *up, *ports],
            log=self._rig.folder / "bridge.log",
            environment=environment,
        )
        self.ready = await self._child.line(START_S)
        self._api = httpx2.AsyncClient(
            base_url=self.ready["api"],
            headers={"authorization": f"Bearer {self.ready['api_key']}"},
            timeout=60,
            trust_env=False,
        )
        self._receiver = httpx2.AsyncClient(base_url=self.ready["receiver"], timeout=60, trust_env=False)
        self.sandbox = SandboxClient(self.ready["sandbox"])
        self._closers = [self._api.aclose, self._receiver.aclose, self.sandbox.close]

    async def end(self, *, kill: bool = False) -> None:
        """End it, by SIGKILL as a crash does or in good order; nothing happens when it does not run."""
        child, self._child = self._child, None
        if child is None:
            return
        if kill:
            child.kill()
            await child.gone()
        else:
            await child.stop()
        while self._closers:
            await self._closers.pop()()

    def _find(self) -> Groups:
        processes = tree(self._child.pid) if self._child is not None else []
        groups: dict[str, list[psutil.Process]] = {"bridge": processes[:1], "hosts": [], "receiver": [], "sandbox": []}
        for process in processes[1:]:
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            group = next((group for word, group in _MODULES.items() if word in line), "bridge")
            groups[group].append(process)
        return groups

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def pair(self, count: int) -> None:
        """Pair numbers through the API, as a user does, until there are `count`."""
        limiter = trio.CapacityLimiter(PAIRING_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for index in range(len(self.numbers), count):
                nursery.start_soon(self._pair, f"49151{index:08}", limiter)
        await self.until_online(count)

    async def _pair(self, phone: str, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            with trio.fail_after(PAIR_S):
                key = (await self.call("POST", "/instance/create"))["instance_key"]
                await self.call("POST", "/instance/connect", instance_key=key)
                qr = await self.call("GET", f"/instance/{key}/qr?format=json")
                paired = await self.sandbox.scan(phone, qr["code"])
                while (await self.call("GET", f"/instance/{key}/status"))["state"] != "online":  # noqa: ASYNC110
                    await trio.sleep(0.1)
        self.numbers.append(Number(phone, paired.jid, key))

    async def until_online(self, count: int) -> None:
        """Wait until that many instances are online, by the word of the bridge and by that of the sandbox."""
        with trio.fail_after(ONLINE_S):
            while (await self.sandbox.health()).online < count or await self._online() < count:  # noqa: ASYNC110
                await trio.sleep(0.1)

    async def _online(self) -> int:
        listed = await self.call("GET", "/instances")
        return sum(instance["state"] == "online" for instance in listed["instances"])

    async def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the API and return its JSON; raise for an error."""
        answer = await self._api.request(method, path, json=body or None)
        answer.raise_for_status()
        return answer.json()

    # --- texts --------------------------------------------------------------------------------------------------------

    async def arrived(self) -> int:
        """Return how many webhooks the receiver has stored."""
        return int((await self._receiver.get("/health")).json()["since_start"].get("stored", 0))

    async def arrivals(self, prefix: str) -> dict[int, float]:
        """Return when the receiver stored each text: it asks PostgreSQL for the time as it begins to store."""
        found: dict[int, float] = {}
        while True:
            query = {"after": str(self._cursor), "limit": "1000", "type": "message.received"}
            page = (await self._receiver.get("/events", params=query)).json()
            if not page["events"]:
                return found
            self._cursor = page["next_after"]
            for event in page["events"]:
                word, _, number = event["body"]["data"]["text"].rpartition(" ")
                if word == prefix:
                    found[int(number)] = datetime.fromisoformat(event["received_at"]).timestamp()

    async def send_in_turn(self, number: Number, to: str, count: int) -> list[float]:
        """Post texts over one kept connection."""
        async with LeanClient(self.ready["api"], self.ready["api_key"]) as client:
            return [await self._send(client, number, to, index) for index in range(count)]

    async def send_at_once(self, pairs: Sequence[tuple[Number, str]], each: int) -> list[float]:
        """Post texts over one kept connection for each pair."""
        took: list[float] = []

        async def one(number: Number, to: str) -> None:
            took.extend(await self.send_in_turn(number, to, each))

        async with trio.open_nursery() as nursery:
            for pair in pairs:
                nursery.start_soon(partial(one, *pair))
        return took

    async def _send(self, client: LeanClient, number: Number, to: str, index: int) -> float:
        began = time.perf_counter()
        await client.post("/message/send", {"instance_key": number.key, "phone": to, "message": f"out {index}"})
        return time.perf_counter() - began


@asynccontextmanager
async def running_product(rig: Rig, environment: Mapping[str, str] | None = None) -> AsyncIterator[Product]:
    """Run the product and end it in good order."""
    product = Product(rig, environment or {})
    try:
        await product.start(**SOON_IDLE)
        yield product
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + END_S):
            await product.end()
