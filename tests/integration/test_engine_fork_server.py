"""The fork server: hosts that share their memory, live on without it, and never outlive the bridge."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio

from bridge.engine import wire
from bridge.engine.forkserver import ForkServer, host_environment
from bridge.engine.process import Process
from bridge.engine.wire import Hello, Ping, Pong, Ready
from tests.support.engine import running_rig, until_text

pytestmark = pytest.mark.engine
SOON_S = 20.0
REPOSITORY = Path(__file__).parents[2]


@asynccontextmanager
async def running_server() -> AsyncIterator[ForkServer]:
    server = ForkServer(host_environment(None))
    try:
        yield server
    finally:
        with trio.move_on_after(SOON_S, shield=True):
            await server.close()


class Talk:
    """A host that has said that it is ready."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._decoder = wire.bridge_side()

    async def tell(self, message: wire.FromBridge) -> None:
        await self.process.stdin.send_all(wire.encode(message))

    async def hear(self) -> wire.FromHost:
        while True:
            for message in self._decoder.feed(await self.process.stdout.receive_some(65536)):
                return message


async def ready_host(server: ForkServer, folder: Path) -> Talk:
    folder.mkdir()  # noqa: ASYNC240 - once, in a test
    talk = Talk(await server.start_host(folder))
    await talk.tell(Hello(wire.VERSION, "postgres://u@127.0.0.1:1/d", str(folder), b"", None))
    ready = await talk.hear()
    assert isinstance(ready, Ready) and ready.pid == talk.process.pid
    return talk


def working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def sockets(pid: int) -> list[str]:
    opened = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return [name for name in opened if name.startswith("socket:")]


def private_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


async def test_hosts_share_what_they_have_in_common(tmp_path: Path) -> None:
    async with running_server() as server:
        with trio.fail_after(SOON_S):
            hosts = [await ready_host(server, tmp_path / str(number)) for number in range(2)]
        for host in hosts:
            assert os.getsid(host.process.pid) == host.process.pid
            assert working_folder(host.process.pid).parent == tmp_path
            assert sockets(host.process.pid) == [], "the server's own"
            assert private_kb(host.process.pid) < 13_000, "started by itself it takes 17 MB"
            await host.process.end(5)


async def test_the_end_of_a_host_is_told_with_its_status(tmp_path: Path) -> None:
    async with running_server() as server:
        with trio.fail_after(SOON_S):
            leaving, killed, wrong = [await ready_host(server, tmp_path / name) for name in "abc"]
            assert (killed.process.ended(), killed.process.returncode) == (False, None)
            await leaving.process.stdin.aclose()
            killed.process.kill()
            await wrong.process.stdin.send_all(b"\xff\xff\xff\xff no frame")
            for talk, status in ((leaving, 0), (killed, -signal.SIGKILL), (wrong, 1)):
                await talk.process.end(SOON_S)
                assert (talk.process.ended(), talk.process.returncode) == (True, status)
            killed.process.kill()  # changes nothing


async def test_hosts_live_on_without_the_server_and_the_next_gets_a_new_one(tmp_path: Path) -> None:
    async with running_server() as server:
        with trio.fail_after(SOON_S):
            first = await ready_host(server, tmp_path / "first")
            before = server.pid
            os.kill(before, signal.SIGKILL)
            second = await ready_host(server, tmp_path / "second")
            assert server.pid != before
            await first.tell(Ping(1))
            assert isinstance(await first.hear(), Pong)
            first.process.kill()
            await first.process.end(SOON_S)
            assert first.process.returncode is None, "nobody was there to reap it"
            await second.process.end(0)


async def test_hosts_leave_with_the_server_though_their_stdin_stays_open(tmp_path: Path) -> None:
    server = ForkServer(host_environment(None))
    with trio.fail_after(SOON_S):
        host = await ready_host(server, tmp_path / "host")
        await server.close()
        await host.process.wait()
        assert not psutil.pid_exists(server.pid)
        await host.process.end(0)


def test_a_killed_bridge_leaves_no_host_behind(tmp_path: Path) -> None:
    code = (
        "import sys, trio; from pathlib import Path\n"
        "from bridge.engine.forkserver import ForkServer, host_environment\n"
        "async def main():\n"
        "    server = ForkServer(host_environment(None))\n"
        "    host = await server.start_host(Path(sys.argv[1]))\n"
        "    print(server.pid, host.pid, flush=True); await trio.sleep_forever()\n"
        "trio.run(main)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as bridge:
        assert bridge.stdout is not None
        pidfds = [os.pidfd_open(int(word)) for word in bridge.stdout.readline().split()]
        bridge.kill()
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], SOON_S)[0], "it lives on"
            os.close(pidfd)


async def test_sessions_of_a_pool_never_notice_that_the_server_is_killed(database_url: str, tmp_path: Path) -> None:
    async with running_rig(database_url, tmp_path) as rig:
        ada = await rig.pair()
        session = await rig.online(ada)
        os.kill(rig.pool.fork_server_pid, signal.SIGKILL)
        bob = await rig.pair()
        await rig.phones.send(bob.phone.phone, ada.phone.phone, "still here")
        await until_text(session, "still here")
