"""The list of what neonize cannot do is true, and the documentation has it."""

import importlib.util
from pathlib import Path

import pytest

from bridge.domain.names import NAMES
from tests.conformance.cannot import CANNOT, Cannot
from tests.support.sandbox import REPOSITORY

_PACKAGE = Path(importlib.util.find_spec("neonize").submodule_search_locations[0])


@pytest.mark.parametrize("entry", CANNOT, ids=lambda entry: entry.what)
def test_neonize_still_cannot(entry: Cannot) -> None:
    for name in ("client.py", "events.py", "_binder.py"):
        assert entry.missing not in (_PACKAGE / name).read_text(), f"{name} has {entry.missing}: it can now"


def test_the_names_that_never_come_are_those_of_events_that_neonize_does_not_forward() -> None:
    never = {name for name, row in NAMES.items() if row.source is None}
    missing = {"message_deleted": "DeleteForMe", "app_state_sync_complete": "AppStateSyncComplete"}
    assert never == missing.keys()
    assert set(missing.values()) <= {entry.missing for entry in CANNOT}


@pytest.mark.parametrize("entry", CANNOT, ids=lambda entry: entry.what)
def test_the_documentation_says_so(entry: Cannot) -> None:
    assert f"| {entry.what} | {entry.why} |" in (REPOSITORY / "docs/sandbox.md").read_text()
