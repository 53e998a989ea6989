"""Starts a sandbox and real neonize clients as child processes, for tests. All of them end with their `async with`."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from bridge.sandbox.client import SandboxClient

REPOSITORY = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("neonize_worker.py")


class ChildGone(Exception):
    """The child process ended while something was expected of it."""


class _Lines:
    """Reads JSON lines from a process."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> dict[str, Any] | None:
        """Return the next line, None at the end."""
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


@dataclass
class SandboxProcess:
    """A sandbox in a process of its own; can be killed and started again on the same data."""

    data_dir: Path
    port: int = 0
    python: tuple[str, ...] = (sys.executable,)
    process: trio.Process | None = None
    ready: dict[str, Any] = field(default_factory=dict)

    async def start(self) -> None:
        """Start it and wait for its ready line; a restart uses the control port of before."""
        command = [*self.python, "-m", "bridge.sandbox", "--data-dir", str(self.data_dir), "--parent-pipe"]
        command += ["--port", str(self.port), "--log-level", "warning"]
        self.process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        with trio.fail_after(20):
            line = await _Lines(self.process.stdout).next()
        if line is None:
            raise ChildGone("sandbox")
        self.ready = line
        self.port = int(line["control"].rpartition(":")[2])

    async def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            await self.stop()

    async def stop(self) -> None:
        """Close its stdin, which ends it; kill it if it stays."""
        process, self.process = self.process, None
        if process is None:
            return
        with trio.move_on_after(10, shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(5):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stdout.aclose()

    def client(self) -> SandboxClient:
        return SandboxClient(self.ready["control"])


@asynccontextmanager
async def running_sandbox(data_dir: Path) -> AsyncIterator[SandboxProcess]:
    """Run a sandbox on that directory."""
    sandbox = SandboxProcess(data_dir)
    try:
        await sandbox.start()
        yield sandbox
    finally:
        with trio.move_on_after(10, shield=True):
            await sandbox.stop()


class Neonize:
    """The process with the real clients: its events so far, and calls."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._replies: dict[int, dict[str, Any]] = {}
        self._changed = trio.Event()
        self._last_id = 0
        self._gone = False
        self._writing = trio.Lock()

    async def call(self, op: str, client: str, timeout_s: float = 30, **arguments: object) -> Any:
        """Have a client do something; return the result."""
        self._last_id += 1
        request = {"id": self._last_id, "op": op, "client": client, **arguments}
        async with self._writing:
            await self.process.stdin.send_all(json.dumps(request).encode() + b"\n")
        with trio.fail_after(timeout_s):
            while request["id"] not in self._replies:
                await self._change()
        reply = self._replies.pop(request["id"])
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    async def event(
        self,
        kind: str,
        client: str,
        where: Callable[[dict[str, Any]], bool] = lambda _: True,
        *,
        since: int = 0,
        timeout_s: float = 20,
    ) -> dict[str, Any]:
        """Return the first such event behind a place in `events`, or the next one to come."""
        with trio.fail_after(timeout_s):
            while True:
                for event in self.events[since:]:
                    if event["event"] == kind and event["client"] == client and where(event):
                        return event
                await self._change()

    def texts(self, client: str) -> list[str]:
        """Return the texts a client received, in order, those included that it got twice."""
        return [e["text"] for e in self.events if e["event"] == "message" and e["client"] == client and e["text"]]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Return when the condition holds; it is looked at after every line from the process."""
        with trio.fail_after(timeout_s):
            while not condition():
                await self._change()

    async def pair(self, client: str, phone: str, sandbox: SandboxClient) -> str:
        """Pair a new client by QR code, and return its JID once it is logged in."""
        since = len(self.events)
        await self.call("start", client)
        qr = await self.event("qr", client, since=since)
        linked = await sandbox.scan(phone, qr["qr"])
        await self.event("paired", client, since=since)
        await self.event("connected", client, since=since)
        return linked.jid

    async def read(self) -> None:
        """Take in what the process says until it ends."""
        lines = _Lines(self.process.stdout)
        while (line := await lines.next()) is not None:
            if "reply" in line:
                self._replies[line["reply"]] = line
            else:
                self.events.append(line)
            changed, self._changed = self._changed, trio.Event()
            changed.set()
        self._gone = True
        self._changed.set()

    async def kill(self) -> None:
        """End the process as a crash does."""
        self.process.kill()
        with trio.move_on_after(10, shield=True):
            await self.process.wait()

    async def _change(self) -> None:
        if self._gone:
            raise ChildGone(f"neonize worker, status {self.process.poll()}")
        await self._changed.wait()


@asynccontextmanager
async def neonize_clients(sandbox: SandboxProcess, database: Path) -> AsyncIterator[Neonize]:
    """Run a process of real clients whose sessions are in that SQLite file."""
    environment = dict(os.environ, SSL_CERT_FILE=sandbox.ready["ca_file"], PYTHONPATH=str(REPOSITORY))
    with database.with_suffix(".log").open("ab") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", str(WORKER), json.dumps(sandbox.ready), str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    clients = Neonize(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clients.read)
            await clients.event("ready", "")
            yield clients
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(10, shield=True):
            await clients.kill()
            await process.stdin.aclose()
            await process.stdout.aclose()
