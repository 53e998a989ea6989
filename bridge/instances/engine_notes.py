"""Tells as events what the engine has stored and not reported: that people call themselves otherwise, that on another
device chats were archived, pinned or muted and messages deleted, and that it has read a collection of app state.

whatsmeow has events for all of it that neonize does not forward (goneonize/main.go); what it stores on the same
occasion is noted by triggers in PostgreSQL. A note is removed after its event is stored: one that is told twice is the
same event.
"""

import structlog
import trio

from bridge.domain.events import Event
from bridge.errors import BridgeError
from bridge.instances.deletions import DeletionTeller, Emit
from bridge.instances.numbers import Numbers
from bridge.store.engine_notes import EngineNote, EngineNotes
from bridge.store.errors import StoreError

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
_SETTINGS = ("archived", "pinned", "muted_until")


class NoteTeller:
    """The task that does it."""

    def __init__(self, notes: EngineNotes, numbers: Numbers, emit: Emit) -> None:
        self._notes = notes
        self._numbers = numbers
        self._emit = emit
        self._deletions = DeletionTeller(notes, numbers, emit)

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
        done, macs = [], []
        for note in await self._notes.read():
            if note.instance is not None and "index_macs" in note.after:
                macs.append(note)
                continue
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
        await self._deletions.tell(macs)


def event_of(note: EngineNote) -> Event | None:
    """Return what a note means, None when nothing has changed."""
    before = note.before or {}
    if "app_state_version" in note.after:
        return _synced(note)
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


def _synced(note: EngineNote) -> Event:
    return Event(
        type="app_state.synced",
        name="app_state_sync_complete",
        dedup_key=f"engine_note:{note.id}",
        at=note.at,
        data={"name": note.about, "version": note.after["app_state_version"], "timestamp": int(note.at)},
    )
