"""Finds out which messages another device of ours has deleted for oneself, and tells it.

Neither does neonize forward whatsmeow's event, nor does whatsmeow store what was deleted. It stores the MAC of each
setting's name, and the name of such a setting is made of chat and message: so the MACs of the messages that the
instance knows are computed and compared. One that is equal is proof; one that is equal to none is another setting (a
star, a mute), or a message that nobody here has seen.
"""

from collections.abc import Awaitable, Collection
from typing import Final, Protocol

import structlog
import trio

from bridge.domain.events import Event, Flags
from bridge.domain.ids import InstanceKey
from bridge.engine.messages import dedup_key
from bridge.engine.people import LID_SERVER, PHONE_SERVER, Person, chat_kind
from bridge.errors import BridgeError
from bridge.instances.numbers import Numbers
from bridge.store.engine_notes import DeletedMessage, EngineNote, EngineNotes, Reach
from bridge.store.errors import StoreError

log = structlog.get_logger()

FIRST: Final = Reach(events=2_000, keys=3)
"""At once: what is deleted is mostly recent. 60 ms of PostgreSQL."""
LAST: Final = Reach(events=20_000, keys=20)
"""After `AGAIN_S`, for what was not found at first: 0.5 s of PostgreSQL with three keys, 1 s with six."""
AGAIN_S: Final = 60.0
"""A deletion may be read before its message is stored, when both waited for a number that was offline."""
TRIES: Final = 3
"""Looks that may fail before it is given up."""
BUSY_S: Final = 0.5
"""After so long no other instance is begun until the next time, so that PostgreSQL has rest after a restart of all."""


class Emit(Protocol):
    """Stores an event of an instance; raises `BridgeError`."""

    def __call__(self, key: InstanceKey, event: Event, /) -> Awaitable[None]: ...


class DeletionTeller:
    """Tells what notes of MACs mean."""

    def __init__(self, notes: EngineNotes, numbers: Numbers, emit: Emit) -> None:
        self._notes = notes
        self._numbers = numbers
        self._emit = emit

    async def tell(self, notes: Collection[EngineNote]) -> None:
        """Look at notes of MACs, and remove or postpone them; what takes too long is left for the next time.

        Raises `StoreError`.
        """
        began = trio.current_time()
        by_instance: dict[InstanceKey, list[EngineNote]] = {}
        for note in sorted(notes, key=lambda note: note.looks):  # the new ones first, which take less time
            if note.instance is not None:
                by_instance.setdefault(note.instance, []).append(note)
        for instance, of_it in by_instance.items():
            if trio.current_time() - began >= BUSY_S:
                return
            await self._tell_of(instance, of_it)

    async def _tell_of(self, instance: InstanceKey, notes: list[EngineNote]) -> None:
        at = {mac: note.at for note in notes for mac in note.after["index_macs"]}
        reach = LAST if any(note.looks for note in notes) else FIRST
        try:
            found, looks_max = await self._notes.deleted(instance, at, reach), 1
        except StoreError as error:  # it took too long, perhaps
            log.warning("engine_notes.not_found_out", instance=instance, code=error.code)
            found, looks_max = [], TRIES
        try:
            for event in await self._numbers.complete([event_of(one, at[one.mac]) for one in found]):
                await self._emit(instance, event)
        except BridgeError as error:
            log.info("engine_notes.not_told", instance=instance, code=error.code)
            await self._notes.postpone([note.id for note in notes], AGAIN_S, looks=0)
            return
        known = {one.mac for one in found}
        again = [note.id for note in notes if note.looks < looks_max and not known.issuperset(note.after["index_macs"])]
        await self._notes.postpone(again, AGAIN_S, looks=1)
        await self._notes.remove([note.id for note in notes if note.id not in again])


def event_of(message: DeletedMessage, at: float) -> Event:
    """Return `message.deleted`, the same for the same message however often its MAC is stored; `at` in seconds."""
    server = message.sender.rpartition("@")[2]
    who = Person(
        message.sender,
        message.sender if server == PHONE_SERVER else None,
        message.sender if server == LID_SERVER else None,
        "",
    )
    data: dict[str, object] = {
        "message_id": message.message_id,
        "chat_id": message.chat,
        "sender_id": who.id,
        "from": who.reply_to,
        "timestamp": int(at),
        "push_name": "",
        "is_from_me": message.from_me,
        "is_group": chat_kind(message.chat) == "group",
        "chat": {"id": message.chat, "kind": chat_kind(message.chat)},
        "sender": who.as_data(),
        "kind": "deleted",
    }
    return Event(
        type="message.deleted",
        name="message_deleted",
        dedup_key=dedup_key("deleted", message.chat, message.sender, message.message_id),
        at=at,
        data=data,
        chat=message.chat,
        flags=Flags(from_me=message.from_me),
    )
