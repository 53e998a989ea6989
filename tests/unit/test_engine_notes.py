"""What a note of the engine's tables means: another name, a chat that was archived, pinned or muted, or nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.domain.ids import InstanceKey
from bridge.instances.engine_notes import event_of
from bridge.store.engine_notes import EngineNote

CHAT = {"our_jid": "49:1@s.whatsapp.net", "chat_jid": "1@lid", "archived": False, "pinned": False, "muted_until": 0}


def note(before: Mapping[str, Any] | None, after: Mapping[str, Any], about: str = "1@lid") -> EngineNote:
    return EngineNote(7, about, before, after, 1_750_000_000.5, 0, InstanceKey("a" * 32))


@pytest.mark.parametrize(("about", "sender"), [("111@lid", "111@lid"), ("4915@s.whatsapp.net", "4915")])
def test_another_name_of_a_person(about: str, sender: str) -> None:
    event = event_of(note({"push_name": "Ada"}, {"push_name": "Ada L."}, about))
    assert event is not None
    assert (event.type, event.name, event.chat) == ("contact.update", "push_name_update", about)
    assert (event.data["from"], event.data["push_name"], event.data["old_push_name"]) == (sender, "Ada L.", "Ada")
    assert event.dedup_key == "engine_note:7"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (None, {"archived": True}, {"archived": True}),
        ({"pinned": True}, {"pinned": False}, {"pinned": False}),
        ({}, {"muted_until": 5, "archived": True}, {"muted_until": 5, "archived": True}),
        (None, {}, None),
        ({"archived": True}, {"archived": True}, None),
    ],
)
def test_a_chat_that_was_changed(
    before: dict[str, Any] | None, after: dict[str, Any], changes: dict[str, Any] | None
) -> None:
    event = event_of(note(None if before is None else {**CHAT, **before}, {**CHAT, **after}))
    assert (None if event is None else event.data["changes"]) == changes
