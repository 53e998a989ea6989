"""Fixtures that several suites share: one PostgreSQL for the run, a fresh database for each test, a running store."""

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg import sql

from bridge.store import embedded
from bridge.store.embedded import Embedded
from bridge.store.migrate import migrate
from bridge.store.store import Store
from bridge.store.trio_psycopg import TrioConnection

_PREFIX = "bridge-test-postgres-"
_names = itertools.count(1)


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
    _remove_leftovers()
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
    store, stop = Store(database_url), trio.Event()
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
