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


def test_names_of_the_original_whose_events_neonize_does_not_forward_come_by_a_way_that_the_guide_tells() -> None:
    missing = {"message_deleted": "DeleteForMe", "app_state_sync_complete": "AppStateSyncComplete"}
    assert set(missing.values()) <= {entry.missing for entry in CANNOT}
    guide = (REPOSITORY / "docs/migrating-from-the-go-bridge.md").read_text()
    assert [name for name in missing if f"`{name}`" not in guide or not NAMES[name].types] == []


@pytest.mark.parametrize("entry", CANNOT, ids=lambda entry: entry.what)
def test_the_documentation_says_so(entry: Cannot) -> None:
    assert f"| {entry.what} | {entry.why} |" in (REPOSITORY / "docs/sandbox.md").read_text()
