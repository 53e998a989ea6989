"""`bridge serve` as containers run it: a ready line, an orderly end by a signal or with its parent, exit statuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import REPOSITORY

STOP_S = 30.0


def serve(data_dir: Path, *flags: str, **environment: str) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    with (data_dir / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "bridge", "serve", "--json", "--port", "0", "--data-dir", str(data_dir), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=REPOSITORY,
            env={**kept, **environment},
        )


@pytest.mark.parametrize("by_parent", [False, True])
def test_it_says_where_it_is_and_ends_in_order(database_url: str, tmp_path: Path, by_parent: bool) -> None:
    flags = ("--parent-pipe",) if by_parent else ()
    process = serve(tmp_path, *flags, BRIDGE_DATABASE_URL=database_url)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        ready = json.loads(process.stdout.readline() or b"{}")
        assert ready.get("ready") and ready["api"].startswith("http://"), (tmp_path / "log").read_text()
        if by_parent:
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
        assert process.stdout.read() == b""
    frozen = [line for line in (tmp_path / "log").read_text().splitlines() if "process.memory_frozen" in line]
    assert len(frozen) == 1 and json.loads(frozen[0])["objects"] > 10_000


def test_without_a_database_it_is_a_wrong_setting(tmp_path: Path) -> None:
    process = serve(tmp_path)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        assert process.wait(STOP_S) == 2
    assert "BRIDGE_DATABASE_URL" in (tmp_path / "log").read_text()
