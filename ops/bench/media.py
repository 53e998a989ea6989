"""What files cost: memory of the bridge and of its engine hosts, and how long other instances' texts take meanwhile.

    python -m ops.bench.media [--mb 100] [--files 10] [--seconds 20]

One instance receives and sends files of so many MB; another receives texts all the while, first in quiet. Everything
runs on this machine: the sandbox, which seals the files and carries them, takes its share of the cores.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import trio

MB = 1024 * 1024
RATE = 10.0
PHONES = ("4915100000101", "4915100000102", "4915100000103")


@dataclass
class Memory:
    """Resident bytes of the bridge and of its hosts: at the start, and at the most since."""

    bridge: psutil.Process
    start: dict[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)

    def look(self) -> dict[str, int]:
        found = {"bridge": self.bridge.memory_info().rss, "hosts": 0}
        for child in self.bridge.children(recursive=True):
            try:
                if "bridge.engine.host" in " ".join(child.cmdline()):
                    found["hosts"] += child.memory_info().rss
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def begin(self) -> None:
        self.start = self.look()
        self.peak = dict(self.start)

    async def watch(self) -> None:
        while True:
            for name, size in self.look().items():
                self.peak[name] = max(self.peak[name], size)
            await trio.sleep(0.05)

    def grown(self) -> str:
        return ", ".join(f"{name} +{(self.peak[name] - self.start[name]) / MB:.0f} MB" for name in self.start)


@dataclass
class Rig:
    api: httpx2.AsyncClient
    sandbox: httpx2.AsyncClient
    memory: Memory

    async def call(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.api.request(method, path, json=body or None)
        assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def control(self, path: str, **body: Any) -> Any:
        answer = await self.sandbox.post(path, json=body)
        assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def pair(self, phone: str) -> str:
        key: str = (await self.call("POST", "/instance/create"))["instance_key"]
        await self.call("POST", "/instance/connect", instance_key=key)
        qr = await self.call("GET", f"/instance/{key}/qr?format=json")
        await self.control(f"/phones/{phone}/scan", qr=qr["code"])
        while (await self.call("GET", f"/instance/{key}/status"))["state"] != "online":  # noqa: ASYNC110
            await trio.sleep(0.1)
        return key

    async def events(self, key: str, after: int, types: str) -> tuple[list[dict[str, Any]], int]:
        query = {"instance_key": key, "after": after, "types": types, "wait_s": 5}
        page = (await self.api.get("/events", params=query)).json()
        return page["events"], page["next_after"]

    async def texts(self, key: str, to: str, seconds: float) -> list[float]:
        """Send texts at `RATE` and return the seconds until each could be read at the bridge."""
        sent: dict[str, float] = {}
        took: list[float] = []
        count = int(seconds * RATE)
        async with trio.open_nursery() as nursery:

            async def one(number: int) -> None:
                text = f"text {time.monotonic_ns()} {number}"
                sent[text] = time.monotonic()
                await self.control(f"/phones/{PHONES[2]}/send", to=to, text=text)

            async def sender() -> None:
                begun = trio.current_time()
                for number in range(count):
                    await trio.sleep_until(begun + number / RATE)
                    nursery.start_soon(one, number)

            nursery.start_soon(sender)
            cursor = 0
            while len(took) < count:
                events, cursor = await self.events(key, cursor, "message.received")
                now = time.monotonic()
                took += [now - sent[text] for event in events if (text := event["data"]["text"]) in sent]
        return took


def p(values: list[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] * 1000


async def receive(rig: Rig, key: str, size: int, files: int) -> float:
    """Let the contact send files; return the seconds until all are there."""
    begun, cursor, there = time.monotonic(), 0, set()
    wanted = set()
    for number in range(files):
        wanted.add(
            (
                await rig.control(
                    f"/phones/{PHONES[2]}/send",
                    to=PHONES[0],
                    kind="document",
                    file={"size": size - number, "name": f"{number}.bin"},
                )
            )["message_id"]
        )
    while not wanted <= there:
        events, cursor = await rig.events(key, cursor, "media.updated")
        for event in events:
            if event["data"]["message_id"] in wanted:
                assert event["data"]["media"]["status"] == "available", event["data"]["media"]
                there.add(event["data"]["message_id"])
    return time.monotonic() - begun


async def send(rig: Rig, key: str, size: int) -> float:
    """Upload a file, send it, and return the seconds that took."""
    begun = time.monotonic()

    async def body() -> Any:
        for _ in range(size // MB):
            yield bytes(MB)

    answer = await rig.api.post(f"/media/{key}", content=body())
    assert answer.status_code == 201, answer.text
    await rig.call(
        "POST",
        "/message/send-media",
        instance_key=key,
        phone=PHONES[2],
        type="file",
        media_id=answer.json()["media_id"],
    )
    return time.monotonic() - begun


async def run(given: argparse.Namespace, ready: dict[str, Any], say: Callable[[str], None]) -> None:
    size = given.mb * MB
    headers = {"authorization": f"Bearer {ready['api_key']}"}
    async with (
        httpx2.AsyncClient(base_url=ready["api"], headers=headers, timeout=600, trust_env=False) as api,
        httpx2.AsyncClient(base_url=ready["sandbox"], timeout=600, trust_env=False) as sandbox,
        trio.open_nursery() as nursery,
    ):
        rig = Rig(api, sandbox, Memory(psutil.Process(ready["pid"])))
        for phone in PHONES:
            await rig.control("/phones", phone=phone)
        busy, other = [await rig.pair(phone) for phone in PHONES[:2]]
        await rig.texts(other, PHONES[1], 3)
        rig.memory.begin()
        nursery.start_soon(rig.memory.watch)
        quiet = await rig.texts(other, PHONES[1], given.seconds)
        say(f"texts of another instance, quiet: p50 {p(quiet, 0.5):.0f} ms, p99 {p(quiet, 0.99):.0f} ms")
        rig.memory.begin()
        say(f"one file of {given.mb} MB in: {await receive(rig, busy, size, 1):.1f} s, {rig.memory.grown()}")
        rig.memory.begin()
        say(f"one file of {given.mb} MB out: {await send(rig, busy, size):.1f} s, {rig.memory.grown()}")
        rig.memory.begin()
        took: list[float] = []
        async with trio.open_nursery() as both:

            async def texts() -> None:
                took.extend(await rig.texts(other, PHONES[1], given.seconds))

            both.start_soon(texts)
            all_s = await receive(rig, busy, size, given.files)
        say(f"{given.files} files of {given.mb} MB at once in: {all_s:.1f} s, {rig.memory.grown()}")
        say(f"texts of another instance, meanwhile: p50 {p(took, 0.5):.0f} ms, p99 {p(took, 0.99):.0f} ms")
        nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.media")
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        Path(folder).chmod(0o711)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bridge", "up", "--sandbox", "--json", "--data-dir", f"{folder}/data"),
                *("--port", "0", "--receiver-port", "0", "--sandbox-port", "0"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            trio.run(run, given, json.loads(process.stdout.readline()), partial(print, flush=True))
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
