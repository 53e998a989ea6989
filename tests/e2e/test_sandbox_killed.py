"""A test run that is killed leaves no process of its bridge behind: pytest is really killed here, with SIGKILL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.stack import REPOSITORY

pytestmark = [pytest.mark.engine, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

INNER = """
import pathlib
import time
from bridge.sandbox.testing import whatsapp

def test_that_never_ends(whatsapp):
    whatsapp.pair()
    pathlib.Path("ready").touch()
    time.sleep(600)
"""
READY_S, GONE_S = 90.0, 40.0


def processes() -> dict[int, tuple[int, str]]:
    """Return parent and state of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        found[int(folder.name)] = (int(parent), state)
    return found


def below(pid: int) -> set[int]:
    """Return all that a process has started, and what these have started."""
    parents = {child: parent for child, (parent, _) in processes().items()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    return {pid for pid, (_, state) in processes().items() if pid in pids and state != "Z"}


async def test_a_killed_test_run_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(INNER)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "test_inner.py"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        with trio.fail_after(READY_S):
            while not (tmp_path / "ready").exists():  # noqa: ASYNC110
                assert run.poll() is None, (tmp_path / "log").read_text()
                await trio.sleep(0.1)
        started = below(run.pid)
        assert len(started) >= 5, started  # the bridge, PostgreSQL, receiver, sandbox, an engine host
    finally:
        run.kill()
        run.wait(10)
    with trio.fail_after(GONE_S):
        while alive(started):  # noqa: ASYNC110  # they are nobody's children any more
            await trio.sleep(0.1)
