"""Fixtures that several suites share: one PostgreSQL for each worker, a fresh database for each test, a running store.

The suite runs in several workers (`make test`); what a test has measured is printed at the end of the run.
"""

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest
import structlog
import trio
from psycopg import sql

from bridge.store import embedded
from bridge.store.embedded import Embedded
from bridge.store.migrate import migrate
from bridge.store.store import Store
from bridge.store.trio_psycopg import TrioConnection
from bridge.vault import Vault
from tests.support.hooks import MAIN_KEY

_PREFIX = "bridge-test-postgres-"
_MEASURED = "measured"
_names = itertools.count(1)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove what killed runs left, before any worker makes a folder of its own."""
    if not hasattr(session.config, "workerinput"):
        _remove_leftovers()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured, whichever process they ran in."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = [text for report in reports for name, text in report.user_properties if name == _MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that has a line printed at the end of the run: numbers that a person should see."""
    return lambda line: request.node.user_properties.append((_MEASURED, line))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a test did to logging by running a command: loggers would keep its level, and its stderr."""
    root = logging.getLogger()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder of this test's own. pytest's is closed to the user that PostgreSQL is run as when we are root."""
    with tempfile.TemporaryDirectory(prefix="bridge-test-", ignore_cleanup_errors=True) as folder:
        path = Path(folder).resolve()
        path.chmod(0o711)
        yield path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Embedded]:
    """Return a PostgreSQL that ends with this process, even a killed one. Its data is not safe from a power failure."""
    state_dir = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        running = embedded.start(state_dir, settings={"fsync": "off", "synchronous_commit": "off"})
        try:
            yield running
        finally:
            embedded.stop(running)
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres: Embedded) -> str:
    """Return the name of a database that has been migrated and that nobody is connected to."""

    async def prepare() -> None:
        conn = await TrioConnection.connect(postgres.database("template_migrated"), autocommit=True)
        await migrate(conn)
        await conn.close()

    trio.run(prepare)
    return "template_migrated"


@pytest.fixture
def empty_database_url(postgres: Embedded) -> Iterator[str]:
    """Return the URL of an empty database of this test's own."""
    yield from _fresh(postgres, "template1")


@pytest.fixture
def database_url(postgres: Embedded, migrated_template: str) -> Iterator[str]:
    """Return the URL of a migrated database of this test's own."""
    yield from _fresh(postgres, migrated_template)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Return a started store on a database of this test's own."""
    store, stop = Store(database_url, vault=Vault(MAIN_KEY)), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(store.run, stop=stop))
        yield store
        stop.set()


def _fresh(postgres: Embedded, template: str) -> Iterator[str]:
    name = f"test_{next(_names)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        # Copying the files is faster than logging their pages for a database this small.
        admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    try:
        yield postgres.database(name)
    finally:
        with psycopg.connect(postgres.dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _remove_leftovers() -> None:
    """Remove what killed test runs left: folders of ours whose lock nobody holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.stat().st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
