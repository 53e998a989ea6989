"""A bridge on a sandbox elsewhere, told by `BRIDGE_SANDBOX_URL`: it works, and its sessions stay apart from others'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.sandbox import running_sandbox
from tests.support.stack import Stack, until

pytestmark = pytest.mark.engine
A = "4915100000001"


async def test_a_bridge_uses_a_sandbox_elsewhere_and_keeps_its_sessions_for_it(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox") as sandbox, sandbox.client() as phones:
        elsewhere = {
            "BRIDGE_SANDBOX_URL": sandbox.ready["control"],
            "BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP": "on",
        }
        stack = Stack(tmp_path / "data", elsewhere, arguments=(), sandbox_url=sandbox.ready["control"])
        await stack.start()
        try:
            await stack.pair(A)
            ann = await phones.create_phone(name="Ann")
            await phones.send(ann.phone, A, "from elsewhere")
            await until(lambda: _received(stack))
        finally:
            with trio.CancelScope(shield=True):
                assert await stack.stop() == 0
        alone = dict(os.environ, BRIDGE_LOG_FORMAT="json")
        ended = _up(tmp_path / "data", alone)
        assert ended.returncode == 1
        assert "They are a sandbox's" in ended.stderr


async def _received(stack: Stack) -> bool:
    return await stack.received_texts() == ["from elsewhere"]


def _up(data_dir: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `bridge up` until it ends by itself, as it should."""
    flags = ["--json", "--port", "0", "--receiver-port", "0", "--data-dir", str(data_dir)]
    return subprocess.run(
        [sys.executable, "-m", "bridge", "up", *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
