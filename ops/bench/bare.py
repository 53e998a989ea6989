"""Bare neonize as the other candidate: its sessions in one process, the same devices, database and sandbox."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bridge.engine.urls import engine_url
from bridge.sandbox.client import SandboxClient
from ops.bench.candidate import Number
from ops.bench.lines import REPOSITORY, Child
from ops.bench.machine import Groups, tree
from ops.bench.product import ENGINE_IDLE_S
from ops.bench.rig import Rig

READY_S, CALL_S, END_S = 30.0, 180.0, 30.0
WORKER = Path(__file__).with_name("neonize_worker.py")


class BareFailed(Exception):
    """Bare neonize did not do what it was asked:"""


class Sandbox:
    """The product's sandbox, started alone on the same data."""

    def __init__(self, rig: Rig) -> None:
        self._child = Child(
            [
                *(sys.executable, "-m", "bridge.sandbox", "--parent-pipe", "--log-level", "warning", "--port", "0"),
                *("--data-dir", str(rig.folder / "data" / "sandbox")),
            ],
            log=rig.folder / "sandbox.log",
            environment=rig.environment(),
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    async def ready(self) -> dict[str, Any]:
        return await self._child.line(READY_S)

    async def stop(self) -> None:
        await self._child.stop()


class Bare:
    """One process of neonize clients."""

    name = "bare neonize"

    def __init__(self, rig: Rig, sandbox_pid: int, ready: dict[str, Any]) -> None:
        self._ready = ready
        ours = engine_url(rig.dsn, idle_session_timeout_ms=ENGINE_IDLE_S * 1000).text
        self._url = ours.replace("&binary_parameters=yes", "")  # the driver's default, for it is bare
        assert self._url != ours
        self._asking = trio.Lock()
        folder = rig.folder / "bare"
        folder.mkdir(exist_ok=True)
        self._child = Child(
            [sys.executable, str(WORKER)],
            log=rig.folder / "bare.log",
            environment=rig.environment(SSL_CERT_FILE=ready["ca_file"], PYTHONPATH=str(REPOSITORY)),
            folder=folder,  # the library leaves files where it stands
        )
        self._sandbox_pid = sandbox_pid
        self.sandbox = SandboxClient(ready["control"])
        self.meter = rig.meter(self._find)

    async def begin(self) -> None:
        """Wait until it has loaded the library and trusts the sandbox."""
        await self._child.say({"sandbox": self._ready, "database": self._url})
        await self._child.line(READY_S)

    async def login(self, numbers: Sequence[Number]) -> float:
        """Start the sessions of these numbers and return the seconds until they were online."""
        return float(await self._ask("start", jids=[number.jid for number in numbers]))

    async def stop(self) -> None:
        """End the process, by the end of its stdin."""
        await self._child.stop(politely=False)
        await self.sandbox.close()

    def _find(self) -> Groups:
        return {"neonize": tree(self._child.pid), "sandbox": tree(self._sandbox_pid)}

    async def arrived(self) -> int:
        return int(await self._ask("arrived"))

    async def arrivals(self, prefix: str) -> dict[int, float]:
        """Return when the callback saw each text."""
        return {int(number): at for number, at in (await self._ask("arrivals", prefix=prefix)).items()}

    async def send_in_turn(self, number: Number, to: str, count: int) -> list[float]:
        return list(await self._ask("send_in_turn", jid=number.jid, to=to, count=count))

    async def send_at_once(self, pairs: Sequence[tuple[Number, str]], each: int) -> list[float]:
        named = [(number.jid, to) for number, to in pairs]
        return list(await self._ask("send_at_once", pairs=named, each=each))

    async def _ask(self, op: str, **arguments: Any) -> Any:
        async with self._asking:
            await self._child.say({"op": op, **arguments})
            answer = await self._child.line(CALL_S)
        if "error" in answer:
            raise BareFailed(f"{op}: {answer['error']}")
        return answer["result"]


@asynccontextmanager
async def running_sandbox(rig: Rig) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """Run the sandbox alone; gives its process id and its ready line."""
    sandbox = Sandbox(rig)
    try:
        yield sandbox.pid, await sandbox.ready()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + END_S):
            await sandbox.stop()


@asynccontextmanager
async def running_bare(rig: Rig, sandbox: tuple[int, dict[str, Any]]) -> AsyncIterator[Bare]:
    """Run a process of bare neonize, as yet without sessions."""
    bare = Bare(rig, *sandbox)
    try:
        await bare.begin()
        yield bare
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + END_S):
            await bare.stop()
