"""An engine that was not told of a sandbox refuses it: the check of the server's certificate is the real one."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conformance.conftest import FOLDER
from tests.support.conformance import Sandbox
from tests.support.sandbox import REPOSITORY

pytestmark = pytest.mark.engine

ENGINE = """
import json, sys, threading
from pathlib import Path
from bridge.engine.host.library import Library, Start
from bridge.engine.host.trust import trust_sandbox
from bridge.engine.wire import SandboxTrust

ready, database, told = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] == "told"
library = Library()
if told:
    trust_sandbox(library.path, SandboxTrust(ready["proxy"], ready["root_key"], ready["ca_file"]))
start = Start(b"client", database, b"", b"", ready["proxy"])
say = lambda *words: print(*words, flush=True)
say(library.run(start, lambda code, payload: say("event", code), lambda line: say("log", line)))
"""


@pytest.mark.parametrize("told", [True, False], ids=["told of the sandbox", "not told"])
def test_only_an_engine_that_was_told_of_the_sandbox_talks_to_it(told: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bridge-test-", dir=FOLDER, ignore_cleanup_errors=True) as folder:
        sandbox = Sandbox(Path(folder) / "sandbox")
        try:
            engine = _engine(sandbox, Path(folder) / "engine.sqlite", told)
            try:
                assert engine.stdout is not None
                said = []
                for line in engine.stdout:
                    said.append(line)
                    if line.startswith("event -1") or "certificate" in line or "cert" in line:
                        break
            finally:
                engine.kill()
                engine.communicate()
        finally:
            sandbox.close()
    shown = [line for line in said if line.startswith("event -1")]
    assert bool(shown) is told, said
    if not told:
        assert "cert" in said[-1], said


def _engine(sandbox: Sandbox, database: Path, told: bool) -> "subprocess.Popen[str]":
    """Run the bridge's engine on the sandbox's proxy, with its TLS trusted in either case."""
    return subprocess.Popen(
        [sys.executable, "-c", ENGINE, json.dumps(sandbox.ready), str(database), "told" if told else "not"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=dict(os.environ, SSL_CERT_FILE=sandbox.ready["ca_file"]),
    )
