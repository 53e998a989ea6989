"""`bridge up` keeps its programs running: PostgreSQL and receiver are killed and come back where they were."""

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx2
import psutil
import pytest
import trio

from tests.support.stack import REPOSITORY, Stack, running_stack, until

pytestmark = pytest.mark.engine


def child(stack: Stack, *words: str) -> psutil.Process | None:
    """Return the process below `bridge up` whose command line has all of the words."""
    assert stack.process is not None
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        try:
            if set(words) <= set(" ".join(process.cmdline()).replace("/", " ").split()):
                return process
        except psutil.Error:
            continue
    return None


def pid_of(stack: Stack, *words: str) -> int:
    found = child(stack, *words)
    assert found is not None, words
    return found.pid


async def is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def has_other_pid(stack: Stack, before: int, *words: str) -> bool:
    await trio.lowlevel.checkpoint()
    found = child(stack, *words)
    return found is not None and found.pid != before


async def create_and_arrive(stack: Stack) -> None:
    """Create an instance, asked again under the same key as any client would, and wait for its webhook."""
    key = os.urandom(8).hex()
    instance: list[str] = []

    async def created() -> bool:
        answer = await stack.api.post("/instance/create", json={}, headers={"idempotency-key": key})
        if answer.status_code == 200:
            instance.append(answer.json()["instance_key"])
        return answer.status_code == 200

    await until(created)

    async def arrived() -> bool:
        try:
            answer = await stack.receiver.get("/events", params={"type": "instance.created", "instance": instance[0]})
        except httpx2.TransportError:
            return False
        return answer.status_code == 200 and len(answer.json()["events"]) == 1

    await until(arrived)


async def test_postgresql_and_receiver_are_started_again_where_they_were(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await create_and_arrive(stack)
        for words, number in (
            (("-m", "receiver"), signal.SIGTERM),
            (("postgres", "-D"), signal.SIGKILL),
        ):
            before = pid_of(stack, *words)
            os.kill(before, number)
            await until(partial(has_other_pid, stack, before, *words))
            await until(partial(is_ready, stack.api))
            await until(partial(is_ready, stack.receiver))
            await create_and_arrive(stack)
        assert await stack.stop() == 0
        log = stack.log()
        assert log.count('"event": "postgres.started"') == 2
        assert log.count('"event": "postgres.stopped"') == 1, "at the end it was stopped, not abandoned"


async def test_a_port_that_is_taken_at_the_first_start_is_said_and_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "bridge", "up", "--port", "0", "--data-dir", str(tmp_path / "data")]
        ended = await trio.run_process(
            [*command, "--receiver-port", str(taken.getsockname()[1])],
            check=False,
            capture_stderr=True,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
        )
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1].startswith("bridge: A program beside the bridge has ended:")
    assert b"\nTraceback" not in ended.stderr
