"""The stages that the conformance tests play on. A pairing costs a second: tests share one and make own contacts."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def broken(own: Stage) -> Iterator[Callable[..., int]]:
    """Return what breaks something for client a, and mends it afterwards; it returns the fault's number."""
    numbers: list[int] = []

    def fault(kind: str, **more: Any) -> int:
        more.setdefault("phone", own.a.phone)
        body = {name: value for name, value in more.items() if value is not None}
        numbers.append(own.sandbox.post("/faults", kind=kind, **body)["number"])
        return numbers[-1]

    yield fault
    for kind in ("slow", "unanswered", "ack_missing", "ack_delayed", "rate_limited", "reachout_locked"):
        own.sandbox.post("/faults", kind=kind, seconds=0)
