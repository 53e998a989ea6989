"""Tells as events what the engine has stored and not reported: that people call themselves otherwise, and that chats
were archived, pinned or muted on another device.

whatsmeow has events for both that neonize does not forward (goneonize/main.go); what it stores on the same occasion is
noted by triggers in PostgreSQL. A note is removed after its event is stored: one that is told twice is the same event.
"""

from collections.abc import Awaitable
from typing import Protocol

import structlog
import trio

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey
from bridge.errors import BridgeError
from bridge.instances.numbers import Numbers
from bridge.store.engine_notes import EngineNote, EngineNotes
from bridge.store.errors import StoreError

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
_SETTINGS = ("archived", "pinned", "muted_until")


class Emit(Protocol):
    """Stores an event of an instance; raises `BridgeError`."""

    def __call__(self, key: InstanceKey, event: Event, /) -> Awaitable[None]: ...


class NoteTeller:
    """The task that does it."""

    def __init__(self, notes: EngineNotes, numbers: Numbers, emit: Emit) -> None:
        self._notes = notes
        self._numbers = numbers
        self._emit = emit

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for notes until `stop`; what cannot be told now waits for the next look."""
        task_status.started()
        while not stop.is_set():
            with trio.move_on_after(LOOK_EVERY_S):
                await stop.wait()
                return
            try:
                await self.tell()
            except StoreError as error:
                log.warning("engine_notes.not_read", code=error.code)

    async def tell(self) -> None:
        """Tell what there is; raise `StoreError`. An instance that is not there to tell it keeps its notes."""
        done = []
        for note in await self._notes.read():
            if note.instance is not None and (event := event_of(note)) is not None:
                (event,) = await self._numbers.complete([event])
                try:
                    await self._emit(note.instance, event)
                except BridgeError as error:
                    log.info("engine_notes.not_told", instance=note.instance, code=error.code)
                    continue
            done.append(note.id)
        if done:
            await self._notes.remove(done)


def event_of(note: EngineNote) -> Event | None:
    """Return what a note means, None when nothing has changed."""
    before = note.before or {}
    if "push_name" in note.after:
        name = str(note.after["push_name"])
        changes: dict[str, object] = {"push_name": name}
        is_lid = note.about.endswith("@lid")
        sender = {
            "jid": None if is_lid else note.about,
            "lid": note.about if is_lid else None,
            "phone": None if is_lid else note.about.partition("@")[0],
            "phone_known": not is_lid,
            "name": name,
        }
        data: dict[str, object] = {
            "jid": note.about,
            "from": sender["phone"] or note.about,
            "push_name": name,
            "old_push_name": before.get("push_name"),
            "sender": sender,
        }
        type_, event_name = "contact.update", "push_name_update"
    else:
        untouched = {"archived": False, "pinned": False, "muted_until": 0}
        changes = {
            field: note.after[field]
            for field in _SETTINGS
            if field in note.after and note.after[field] != before.get(field, untouched[field])
        }
        if not changes:
            return None
        data = {"chat_id": note.about}
        type_, event_name = "chat.update", "app_state_update"
    return Event(
        type=type_,
        name=event_name,
        dedup_key=f"engine_note:{note.id}",
        at=note.at,
        data={**data, "timestamp": int(note.at), "changes": changes},
        chat=note.about,
    )
