"""The stages that the conformance tests play on. A pairing costs a second: tests share one and make own contacts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance import Contact, Stage, stage

_MEMORY = Path("/dev/shm")
FOLDER = str(_MEMORY) if _MEMORY.is_dir() else None
"""Where the stages' files are: a client writes its 812 prekeys with a sync each, which takes 10 s on a busy disk."""


@pytest.fixture(scope="session")
def calm() -> Iterator[Stage]:
    """Return the stage of all tests that leave connections and accounts as they were."""
    with (
        tempfile.TemporaryDirectory(prefix="bridge-test-", dir=FOLDER, ignore_cleanup_errors=True) as folder,
        stage(Path(folder)) as on,
    ):
        yield on


@pytest.fixture(scope="module")
def own() -> Iterator[Stage]:
    """Return a stage of this module's own: for tests that break something."""
    with (
        tempfile.TemporaryDirectory(prefix="bridge-test-", dir=FOLDER, ignore_cleanup_errors=True) as folder,
        stage(Path(folder)) as on,
    ):
        yield on


@pytest.fixture
def contact(calm: Stage) -> Contact:
    """Return a contact that nobody has written with."""
    return calm.sandbox.contact()
