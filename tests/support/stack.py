"""Runs the whole product as its users do, `bridge up --sandbox` in a process of its own, and talks to it over HTTP."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import trio

from bridge.sandbox.client import SandboxClient

REPOSITORY = Path(__file__).parents[2]
START_S, STOP_S = 60.0, 20.0
UP = (*(sys.executable, "-m", "bridge", "up", "--json"), *("--port", "0", "--receiver-port", "0"))
WITH_SANDBOX = ("--sandbox", "--sandbox-port", "0")


@dataclass
class Stack:
    """One `bridge up`. It can be killed and started again on the same data."""

    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = WITH_SANDBOX
    sandbox_url: str | None = None
    """The sandbox's, where it is not the stack's own."""
    process: subprocess.Popen[bytes] | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    stdout: bytes = b""

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.data_dir.mkdir(exist_ok=True)
        with (self.data_dir / "stderr.log").open("ab") as log:
            # by our own thread: what ties it to us is bound to the thread that starts it
            self.process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "tests.support.tied", *UP, "--data-dir", str(self.data_dir), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env=_environment(self.environment),
            )
        assert self.process.stdout is not None
        self._output = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self.process.stdout.close()
        self.stdout = b""
        with trio.fail_after(START_S):
            while b"\n" not in self.stdout:
                data = await self._output.receive_some(65536)
                if not data:
                    raise RuntimeError(f"bridge up ended with {self.process.wait(5)}: {self.log()[-3000:]}")
                self.stdout += data
        self.ready = json.loads(self.stdout)
        self.api = httpx2.AsyncClient(
            base_url=self.ready["api"],
            headers={"authorization": f"Bearer {self.ready['api_key']}"},
            timeout=60,
            trust_env=False,
        )
        self.receiver = httpx2.AsyncClient(base_url=self.ready["receiver"], timeout=30, trust_env=False)
        self.sandbox = SandboxClient(self.sandbox_url or self.ready["sandbox"])

    async def kill(self) -> None:
        """End it as a crash does, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        await self._gone()

    async def stop(self) -> int:
        """End it with SIGTERM and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return await self._gone()

    async def _gone(self) -> int:
        process, self.process = self.process, None
        assert process is not None
        with trio.CancelScope(shield=True):
            with trio.move_on_after(STOP_S):
                # its end is the end of its output, which also shows that no child of it holds that open
                async for data in self._output:
                    self.stdout += data
            await self._output.aclose()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            for client in (self.api, self.receiver):
                await client.aclose()
            await self.sandbox.close()
        return process.wait(5)

    def log(self) -> str:
        """Return what it wrote to stderr."""
        return (self.data_dir / "stderr.log").read_text(errors="replace")

    # --- what a user does ---------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the API and return its JSON; fail the test on an error."""
        answer = await self.api.request(method, path, json=body or None)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def pair(self, phone: str, **options: Any) -> str:
        """Create an instance, pair it with `phone`, wait until it is online, and return its key."""
        key: str = (await self.call("POST", "/instance/create", **options))["instance_key"]
        await self.call("POST", "/instance/connect", instance_key=key)
        qr = await self.call("GET", f"/instance/{key}/qr?format=json")
        await self.sandbox.scan(phone, qr["code"])
        await self.until_online(key)
        return key

    async def pair_all(self, phones: Iterable[str], **options: Any) -> dict[str, str]:
        """Pair all of them at once and return the instance key of each."""
        keys: dict[str, str] = {}

        async def pair(phone: str) -> None:
            keys[phone] = await self.pair(phone, **options)

        async with trio.open_nursery() as nursery:
            for phone in phones:
                nursery.start_soon(pair, phone)
        return keys

    async def status(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", f"/instance/{key}/status")
        return found

    async def until_online(self, *keys: str, timeout_s: float = 60) -> None:
        for key in keys:
            await until(partial(self._is_online, key), timeout_s)

    async def _is_online(self, key: str) -> bool:
        return bool((await self.status(key))["state"] == "online")

    async def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the details of the engine hosts by name: pid, sessions."""
        tree = (await self.call("GET", "/readyz?verbose"))["tree"]
        return {node["name"]: node["detail"] for node in nodes(tree) if node["name"].startswith("host ")}

    async def received(self, **filters: str) -> list[dict[str, Any]]:
        """Return the events that the receiver has stored, in the order of their arrival."""
        return await received(self.receiver, **filters)

    async def received_texts(self, **filters: str) -> list[str]:
        """Return the texts that arrived as webhooks, in order."""
        events = await self.received(type="message.received", **filters)
        return [event["body"]["data"]["text"] for event in events]


async def received(client: httpx2.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    """Return everything that a receiver has stored."""
    found: list[dict[str, Any]] = []
    after = "0"
    while True:
        answer = await client.get("/events", params={"limit": "1000", "after": after, **filters})
        page = answer.json()
        if not page["events"]:
            return found
        found += page["events"]
        after = str(page["next_after"])


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a node of the process tree and all below it."""
    return [node, *(below for child in node["children"] for below in nodes(child))]


async def until(condition: Callable[[], Any], timeout_s: float = 60, every_s: float = 0.05) -> None:
    """Return when the async `condition` holds; it is asked again and again, because it lies in another process."""
    with trio.fail_after(timeout_s):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(every_s)


@asynccontextmanager
async def running_stack(data_dir: Path, **environment: str) -> AsyncIterator[Stack]:
    """Run the product on that directory and stop it at the end, whatever happened."""
    async with running(Stack(data_dir, environment)) as stack:
        yield stack


@asynccontextmanager
async def running(stack: Stack) -> AsyncIterator[Stack]:
    """Start `stack` and stop it at the end, whatever happened."""
    await stack.start()
    try:
        yield stack
    finally:
        if stack.process is not None:
            with trio.CancelScope(shield=True):
                await stack.stop()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "RECEIVER_"))}
    return {**kept, "BRIDGE_LOG_FORMAT": "json", **more}
