"""A program of ours beside the bridge, as a supervised child process: the receiver and the sandbox of `bridge up`.

Such a program prints one JSON line when it is ready, and ends when its standard input does, so it never outlives us.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
import trio

from bridge.errors import BridgeError

log = structlog.get_logger()

STOP_GRACE_S = 5.0


class CompanionEnded(BridgeError):
    """A program beside the bridge has ended:"""

    code = "companion_ended"


class Companion:
    """Runs `python -m module arguments`; a restart listens on the same ports as the first start."""

    def __init__(
        self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], ports: Mapping[str, int]
    ) -> None:
        self._module = module
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._ports = dict(ports)
        self.ready: dict[str, Any] = {}
        self._pid: int | None = None

    def inspect(self) -> Mapping[str, object]:
        """Return what a snapshot of the tree shows of it."""
        return {"pid": self._pid}

    def remember(self, flag: str, port: int) -> None:
        """Pass `port` for `flag` from now on."""
        self._ports[flag] = port

    async def run(
        self, *, stop: trio.Event, task_status: trio.TaskStatus[dict[str, Any]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run it until `stop`; raise `CompanionEnded` when it ends by itself."""
        ports = [text for flag, port in self._ports.items() for text in (flag, str(port))]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", self._module, "--json", "--parent-pipe", *ports, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        self._pid = process.pid
        try:
            self.ready = json.loads(await _first_line(process))
            task_status.started(self.ready)
            await _until_ended(process, stop)
        finally:
            with trio.CancelScope(shield=True):
                await end(process)
            self._pid = None
        if not stop.is_set():
            raise CompanionEnded(f"{self._module} with status {process.returncode}.")


async def _first_line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = b""
    while b"\n" not in line:
        chunk = await process.stdout.receive_some(4096)
        if not chunk:
            raise CompanionEnded(f"before it was ready, with status {await process.wait()}.")
        line += chunk
    return line


async def _until_ended(process: trio.Process, stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await process.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await stop.wait()
        nursery.cancel_scope.cancel()


async def end(process: trio.Process) -> None:
    """End a child: SIGTERM, and SIGKILL after a grace; waits until it is gone."""
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(STOP_GRACE_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await stream.aclose()
