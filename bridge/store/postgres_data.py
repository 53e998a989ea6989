"""The data directory of an embedded PostgreSQL: who holds it, what a crash left on it, and how a new one is made."""

import fcntl
import os
import secrets
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from bridge.store.errors import DataDirectoryBusy, EmbeddedError
from bridge.store.postgres_files import RunAs
from bridge.store.tether import ENVIRONMENT

USER = "bridge"
LOCK_WAIT_S = 1.0
LEAVE_S = 4.0
"""How long a PostgreSQL whose parent was killed may let its clients finish: more than an engine host has to leave
WhatsApp (`bridge.engine.host.__main__.LEAVE_S`)."""


def take_lock(path: Path) -> IO[str]:
    file = path.open("a+")
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(0.02)
                continue
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise DataDirectoryBusy(f"{path.parent} is used by process {holder or 'unknown'}.") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file


def major_version(bin_dir: Path, user: RunAs) -> int:
    version = _execute(user, [str(bin_dir / "postgres"), "-V"])
    return int(version.split()[2].split(".")[0])


def _execute(user: RunAs, command: list[str]) -> str:
    """Run `command` as `user` and return its output; raise `EmbeddedError` when it fails."""
    ids = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.other else {}
    try:
        done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603 -- our own programs; the ids are a mapping
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
            **ids,
        )
    except OSError as exc:
        raise EmbeddedError(f"{command[0]}: {exc.strerror}.") from exc
    if done.returncode != 0:
        raise EmbeddedError(f"{command[0]}: {done.stderr[-800:].strip()}")
    return str(done.stdout)


def read_password(path: Path) -> str:
    if not path.exists():
        scratch = path.with_name(".password")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        scratch.rename(path)
    return path.read_text().strip()


def initialise(bin_dir: Path, data: Path, user: RunAs, password: str) -> None:
    """Make new data; a crash in the middle leaves only a scratch folder that the next try removes."""
    scratch = data.with_name(f".{data.name}")
    secret = data.with_name(".initial-password")
    shutil.rmtree(scratch, ignore_errors=True)
    secret.unlink(missing_ok=True)
    scratch.mkdir(mode=0o700)
    user.give(scratch)
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    user.give(secret)
    try:
        options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-instructions"]
        if major_version(bin_dir, user) >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        where = [f"--pgdata={scratch}", f"--username={USER}", f"--pwfile={secret}"]
        _execute(user, [str(bin_dir / "initdb"), *where, *options])
        scratch.rename(data)
    finally:
        secret.unlink(missing_ok=True)


def pid_file(data: Path) -> tuple[int, str]:
    """Return the pid and the state that `postmaster.pid` tells; (0, "") when there is none yet."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (OSError, ValueError):
        return 0, ""


def stop_leftover(data: Path) -> None:
    """Stop the PostgreSQL that a crash of ours left on `data`: it may have other settings, or be ending already."""
    pid, state = pid_file(data)
    if state == "stopping" and _is_postmaster(pid, data):  # engines of a killed bridge are still leaving
        _wait_gone(pid, LEAVE_S)
    for number, timeout_s in ((signal.SIGINT, 5.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0)):
        if pid <= 1 or not _is_postmaster(pid, data):
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        _wait_gone(pid, timeout_s)


def _is_postmaster(pid: int, data: Path) -> bool:
    """Tell whether `pid` runs on `data`: the pid in the file may belong to another program by now."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        return str(data) in _execute(RunAs(), ["/bin/ps", "-o", "command=", "-p", str(pid)])
    try:  # a postmaster works in its data directory; a zombie has none
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False


def _wait_gone(pid: int, timeout_s: float) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(timeout_s * 1000)
        finally:
            os.close(fd)
        return
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
