"""One start of PostgreSQL, from the lock on its folder to the first answer."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bridge.store.errors import EmbeddedError
from bridge.store.postgres_data import (
    initialise,
    major_version,
    pid_file,
    read_password,
    stop_leftover,
    take_lock,
)
from bridge.store.postgres_files import RunAs, find_bin, home_for, run_as, socket_folder

START_TIMEOUT_S = 60.0
START_ATTEMPTS = 50
STOP_TIMEOUT_S = 15.0
LOG_LIMIT_BYTES = 8_000_000

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "500",  # two each for 200 engine sessions that log in at once, the pools, and some air
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "jit": "off",
    "io_method": "sync",  # the default keeps three worker processes
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum_worker_slots": "2",
    "autovacuum_max_workers": "2",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Neither statements nor the values of rows go to the log: they would be people's messages.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
NOT_BEFORE_18 = frozenset({"io_method", "autovacuum_worker_slots"})


@dataclass(slots=True)
class Launch:
    """One start of PostgreSQL, from the lock to the first answer."""

    home: Path
    bin: Path
    data: Path
    user: RunAs
    lock: IO[str]
    password: str
    settings: Mapping[str, str]
    sockets: Path | None
    """The folder of its Unix socket."""
    deadline_s: float
    wanted_port: int = 0
    """The port it has to have, because others know it; 0 takes a free one at each attempt."""
    port: int = 0
    attempts: int = 0
    log_offset: int = 0
    child: subprocess.Popen[bytes] | None = None

    @classmethod
    def prepare(cls, state_dir: Path, settings: Mapping[str, str], *, port: int = 0) -> "Launch":
        """Take the lock, stop a leftover, make the data if there is none. Blocks."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        state_dir = state_dir.absolute()
        home = home_for(state_dir)
        lock = take_lock(state_dir / "lock")
        try:
            bin_dir = find_bin(home)
            user = run_as(home)
            major = major_version(bin_dir, user)
            # A directory for each major version: data is never upgraded by surprise.
            data = home / f"data-{major}"
            if data.exists():
                user = run_as(data)
            stop_leftover(data)
            password = read_password(home / "password")
            if not (data / "PG_VERSION").exists():
                initialise(bin_dir, data, user, password)
            known = {name: value for name, value in SETTINGS.items() if major >= 18 or name not in NOT_BEFORE_18}
            sockets = socket_folder(home, user)
            known["unix_socket_directories"] = str(sockets or "")
            return cls(home, bin_dir, data, user, lock, password, known | dict(settings), sockets, deadline_s, port)
        except BaseException:
            lock.close()
            raise

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self.child is not None
        return self.child

    def spawn(self) -> None:
        """Start the process, tied to this thread."""
        self.attempts += 1
        self.port = self.wanted_port or _free_port()
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        command = [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        tether = str(Path(__file__).with_name("tether.py"))
        ids = [str(os.getpid()), str(self.user.uid), str(self.user.gid)]
        with (self.home / "postgres.log").open("ab") as output:
            if output.tell() > LOG_LIMIT_BYTES:
                output.truncate(0)
            self.log_offset = output.tell()
            self.child = subprocess.Popen(  # noqa: S603 -- our own program and arguments
                [sys.executable, "-I", "-S", tether, *ids, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the bridge, which stops PostgreSQL last
            )

    def ready(self) -> bool:
        """Tell whether it takes connections; start it anew if it died of a passing cause, or raise `EmbeddedError`."""
        if self.process.poll() is not None:
            # Another program took the port, or processes of a killed PostgreSQL are still about.
            reason = self._log_tail()
            passing = "could not bind" in reason or "shared memory block" in reason or "lock file" in reason
            if not passing or self.attempts >= START_ATTEMPTS or time.monotonic() > self.deadline_s:
                raise EmbeddedError(f"It ended with status {self.process.returncode}: {reason}")
            self.spawn()
            return False
        if time.monotonic() > self.deadline_s:
            raise EmbeddedError(f"It did not start within {START_TIMEOUT_S} s: {self._log_tail()}")
        pid, state = pid_file(self.data)
        return pid == self.process.pid and state == "ready"

    def abandon(self) -> None:
        """Stop what was started and release the lock. Blocks."""
        if self.child is not None:
            end(self.child)
        self.lock.close()

    def _log_tail(self) -> str:
        with (self.home / "postgres.log").open("rb") as file:
            file.seek(self.log_offset)
            return file.read()[-800:].decode(errors="replace").strip()


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop PostgreSQL, at first politely; nothing happens when it has ended already. Blocks."""
    for number, timeout_s in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
