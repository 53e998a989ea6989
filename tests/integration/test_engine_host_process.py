"""The host process itself: what it says on which descriptor, when it ends, whom it trusts."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from bridge.engine import wire
from bridge.engine.host.library import NEONIZE_VERSION
from bridge.engine.wire import Hello, Ping, Pong, Ready, SandboxTrust, Stop

pytestmark = pytest.mark.engine
REPOSITORY = Path(__file__).parents[2]


class HostProcess:
    """A host, spoken to without the port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bridge.engine.host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
        )
        self._decoder = wire.bridge_side()
        self._waiting: list[wire.FromHost] = []

    def tell(self, message: wire.FromBridge) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(wire.encode(message))
        self.process.stdin.flush()

    def hear(self) -> wire.FromHost | None:
        """Return the next message, None at the end."""
        assert self.process.stdout is not None
        while not self._waiting:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self._waiting += self._decoder.feed(data)
        return self._waiting.pop(0)

    def end(self) -> tuple[int, str]:
        """Return the exit status and what went to stderr."""
        assert self.process.stderr is not None
        status = self.process.wait(20)
        return status, self.process.stderr.read().decode()


@contextmanager
def host(**environment: str) -> Iterator[HostProcess]:
    with tempfile.TemporaryDirectory() as folder:
        running = HostProcess(Path(folder), environment)
        try:
            yield running
        finally:
            running.process.kill()
            with running.process:  # closes the pipes and waits
                pass


def hello(sandbox: SandboxTrust | None = None) -> Hello:
    return Hello(wire.VERSION, "postgres://u@127.0.0.1:1/d", tempfile.gettempdir(), b"", sandbox)


def test_a_host_is_ready_and_answers() -> None:
    with host() as running:
        running.tell(hello())
        ready = running.hear()
        assert isinstance(ready, Ready) and ready.pid == running.process.pid
        running.tell(Ping(5))
        pong = running.hear()
        assert isinstance(pong, Pong)
        assert (pong.number, pong.sessions) == (5, 0)
        # a host of a machine with 200 sessions must be small: with the whole of neonize it is 60 MB
        assert pong.rss_kb < 45_000


def test_a_host_loads_next_to_nothing_of_neonize() -> None:
    code = (
        "import sys; from bridge.engine.host.library import Library; library = Library()\n"
        "heavy = {'google', 'magic', 'PIL', 'linkpreview', 'bs4', 'requests', 'httpx', 'phonenumbers', 'segno'}\n"
        "heavy |= {'tqdm', 'trio', 'neonize.client', 'neonize.events'}\n"
        "print(sorted(heavy & set(sys.modules)), library.path.exists())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=REPOSITORY)
    assert shown.stdout == "[] True\n"


def test_this_was_written_for_the_installed_neonize() -> None:
    assert version("neonize") == NEONIZE_VERSION


def test_a_host_ends_with_its_stdin() -> None:
    with host() as running:
        running.tell(hello())
        running.hear()
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.end()[0] == 0


def test_a_host_does_not_outlive_its_parent_though_its_stdin_stays_open() -> None:
    code = (
        "import os, subprocess, sys\n"
        "host = subprocess.Popen([sys.executable, '-P', '-m', 'bridge.engine.host'], stdin=0, stdout=1)\n"
        "sys.stderr.write(f'{host.pid}\\n'); sys.stderr.flush(); host.wait()"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as parent:
        assert parent.stdin is not None and parent.stdout is not None and parent.stderr is not None
        pidfd = os.pidfd_open(int(parent.stderr.readline()))
        parent.stdin.write(wire.encode(hello()))
        parent.stdin.flush()
        assert parent.stdout.read(4)
        parent.kill()
        ended, _, _ = select.select([pidfd], [], [], 20)
        os.close(pidfd)
        assert ended, "the host lives on"


def test_the_bridges_own_process_never_loads_the_library() -> None:
    code = (
        "import bridge.engine.pool, bridge.engine.translate, bridge.engine.compose, sys\n"
        "print('neonize-' in open('/proc/self/maps').read(), 'neonize' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=REPOSITORY)
    assert shown.stdout == "False False\n"


def test_a_host_that_is_told_to_stop_exits_with_success() -> None:
    with host() as running:
        running.tell(hello())
        running.hear()
        running.tell(Stop(5))
        assert running.hear() is None
        assert running.end()[0] == 0


def test_a_terminals_interrupt_is_the_bridges_business() -> None:
    with host() as running:
        running.tell(hello())
        running.hear()
        running.process.send_signal(signal.SIGINT)
        running.tell(Ping(1))
        assert isinstance(running.hear(), Pong)


def test_nothing_but_frames_goes_to_stdout() -> None:
    code = (
        "import os, sys\n"
        "from bridge.engine.host import __main__ as host\n"
        "from bridge.engine.host.serve import Host\n"
        "def noisy(*a, **k):\n"
        "    print('printed'); os.write(1, b'written\\n'); return original(*a, **k)\n"
        "original = Host.__init__; Host.__init__ = noisy\n"
        "host.main()"
    )
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        )
        out, errors = process.communicate(wire.encode(hello()), timeout=20)
    assert [type(message) for message in wire.bridge_side().feed(out)] in ([Ready], [])
    assert b"printed" in errors or b"written" in errors


def test_a_bridge_of_another_release_is_refused() -> None:
    with host() as running:
        running.tell(Hello(wire.VERSION + 1, "postgres://u@127.0.0.1:1/d", "", b""))
        assert running.hear() is None
        status, errors = running.end()
        assert status == 1
        assert "other code" in errors


def test_a_sandbox_without_its_authority_is_refused() -> None:
    sandbox = SandboxTrust("http://127.0.0.1:1", "11" * 32, "/tmp/ca.pem")
    with host() as running:  # SSL_CERT_FILE is not set
        running.tell(hello(sandbox))
        assert running.hear() is None
        status, errors = running.end()
        assert status == 1
        assert "trust anchor stays" in errors


def anchors(sandbox: str) -> str:
    """Return how often WhatsApp's own key stands in a library that was, or was not, told of a sandbox."""
    code = (
        "from bridge.engine.host.library import Library\n"
        "from bridge.engine.host.trust import find_anchor, trust_sandbox\n"
        "from bridge.engine.wire import SandboxTrust\n"
        "library = Library(); before = len(find_anchor(library.path))\n"
        f"{sandbox}\n"
        "print(before, len(find_anchor(library.path)))"
    )
    environment = {**os.environ, "SSL_CERT_FILE": "/tmp/ca.pem", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment
    ).stdout


def test_a_sandbox_takes_the_place_of_whatsapps_key_and_nothing_else_does() -> None:
    told = "trust_sandbox(library.path, SandboxTrust('http://127.0.0.1:1', '11' * 32, '/tmp/ca.pem'))"
    assert anchors(told) == "1 0\n"
    assert anchors("pass") == "1 1\n"
