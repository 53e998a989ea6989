"""The sandbox as a process: how it starts, what it says, when it ends, and its control API as bytes on a socket."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import trio

from bridge.sandbox.client import SandboxClient
from tests.support.sandbox import REPOSITORY, SandboxProcess, running_sandbox


async def _refused(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.request(method, path, content=body)
        assert response.headers["content-type"] == "application/json"
        return response.status_code, response.json()["error"]["code"]


async def test_it_prints_one_line_when_it_is_ready_and_ends_with_its_stdin(tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path)
    await sandbox.start()
    process = sandbox.process
    assert process is not None
    assert set(sandbox.ready) == {"ready", "control", "proxy", "root_key", "ca_file", "pid"}
    assert sandbox.ready["pid"] == process.pid
    assert "BEGIN CERTIFICATE" in await trio.Path(sandbox.ready["ca_file"]).read_text()
    assert len(bytes.fromhex(sandbox.ready["root_key"])) == 32
    async with sandbox.client() as control:
        assert (await control.health()).status == "ok"
    await process.stdin.aclose()
    with trio.fail_after(10):
        assert await process.wait() == 0
        assert await process.stdout.receive_some() == b""
    await sandbox.stop()


async def test_a_fresh_sandbox_is_up_after_less_than_two_seconds_of_work(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        used = psutil.Process(sandbox.ready["pid"]).cpu_times()
        assert used.user + used.system < 2


async def test_sigterm_ends_it_with_status_0(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        process = sandbox.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await process.wait() == 0


async def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bridge.sandbox", "--data-dir", str(tmp_path), "--port", "0"]
    starter = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), end='', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = await trio.lowlevel.open_process(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, cwd=REPOSITORY, stdin=subprocess.DEVNULL
    )
    try:
        line = b""
        with trio.fail_after(20):
            while not line.endswith(b"\n"):
                line += await parent.stdout.receive_some()
            child = json.loads(line)["pid"]
    finally:
        parent.kill()
        with trio.move_on_after(5, shield=True):
            await parent.wait()
    with trio.fail_after(10):
        while _runs(child):  # noqa: ASYNC110 - nothing of ours is told of a stranger's end
            await trio.sleep(0.02)
    await parent.stdout.aclose()


def _runs(pid: int) -> bool:
    """Say whether a process is there and is no zombie that only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_addresses_and_keys_stay_the_same_over_a_restart(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        before = sandbox.ready
        async with sandbox.client() as control:
            await control.create_phone("4915700000001", "Ada")
            await control.create_phone("4915700000002")
            await control.send("4915700000001", "4915700000002", "kept")
        await sandbox.kill()
        await sandbox.start()
        after = sandbox.ready
        assert {**after, "pid": 0} == {**before, "pid": 0}
        async with sandbox.client() as control:
            assert (await control.create_phone("4915700000001")).name == "Ada"
            assert [text.text for text in await control.messages("4915700000002")] == ["kept"]
            assert [message.text for message in await control.oracle()] == ["kept"]


async def test_a_port_in_use_is_said_and_ends_it(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "one") as sandbox:
        command = [sys.executable, "-m", "bridge.sandbox", "--data-dir", str(tmp_path / "two")]
        command += ["--port", str(sandbox.port)]
        result = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, cwd=REPOSITORY, env=dict(os.environ)
        )
    assert result.returncode == 1
    assert result.stdout == b""
    assert str(sandbox.port) in result.stderr.decode()


async def test_every_error_of_the_control_api_is_json(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox, sandbox.client() as control:
        url = sandbox.ready["control"]
        ada = (await control.create_phone()).phone
        send = f"/phones/{ada}/send"
        assert await _refused(url, "GET", "/nowhere") == (404, "not_found")
        assert await _refused(url, "PUT", "/phones") == (405, "method_not_allowed")
        assert await _refused(url, "POST", "/phones", b"{") == (400, "bad_request")
        assert await _refused(url, "POST", "/phones", b'{"phone": "12"}') == (400, "bad_phone")
        assert await _refused(url, "POST", send, b'{"to": 7, "text": "x"}') == (400, "bad_request")
        assert await _refused(url, "POST", send, b'{"to": "499999999", "text": "x"}') == (404, "unknown_phone")
        assert await _refused(url, "POST", "/phones/499999999/send", b'{"to": "1", "text": "x"}') == (
            404,
            "unknown_phone",
        )
        assert await _refused(url, "POST", f"/phones/{ada}/read", b'{"message_id": "x"}') == (404, "unknown_message")
        assert await _refused(url, "GET", f"/phones/{ada}/messages?after=x") == (400, "bad_request")
        assert await _refused(url, "POST", "/faults", b'{"kind": "earthquake"}') == (400, "unknown_fault")
        assert await _refused(url, "POST", "/faults", b'{"kind": "server_down"}') == (400, "bad_fault")
        assert await _refused(url, "POST", send, b" " * (5 << 20)) == (413, "too_large")
        assert (await control.health()).phones == 1


async def test_what_is_no_http_and_no_client_harms_nothing(tmp_path: Path) -> None:
    noises = (b"\x16\x03\x01 no http\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT a:443 HTTP/1.1\r\n\r\nno TLS")
    async with running_sandbox(tmp_path) as sandbox:
        for address in (sandbox.ready["control"], sandbox.ready["proxy"]):
            for noise in noises:
                stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
                async with stream:
                    await stream.send_all(noise)
                    await stream.send_eof()
                    with trio.fail_after(10):
                        while await stream.receive_some():
                            pass
        async with SandboxClient(sandbox.ready["control"]) as control:
            assert (await control.health()).connections == 0
