"""A PostgreSQL that a test can crash: an immediate stop, which is a crash without its cause, and a start after it."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bridge.store import embedded
from bridge.store.postgres_launch import Launch


@dataclass
class Crashing:
    """It keeps its port and, with fsync on, what it had committed."""

    launch: Launch
    url: str = ""

    async def ready(self) -> None:
        while not self.launch.ready():  # noqa: ASYNC110 -- it tells by a file; `ready` has the deadline
            await trio.sleep(0.01)

    async def crash(self) -> None:
        """Stop it in immediate mode, at once and without a checkpoint, and start it again."""
        self.launch.process.send_signal(signal.SIGQUIT)
        await trio.to_thread.run_sync(self.launch.process.wait)
        self.launch.wanted_port = self.launch.port
        self.launch.spawn()
        await self.ready()


@asynccontextmanager
async def crashing_postgres(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Crashing]:
    """Run one, with the settings of the embedded one and those given."""
    running = Crashing(await trio.to_thread.run_sync(Launch.prepare, folder, settings or {}))
    try:
        running.launch.spawn()
        await running.ready()
        running.url = embedded._embedded(running.launch).database("bridge")
        yield running
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(running.launch.abandon)
