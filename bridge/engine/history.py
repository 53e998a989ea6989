"""History syncs as domain events: what a phone had written before this device was linked, chat by chat."""

from collections.abc import Iterator, Mapping

from bridge.domain.events import Event, Flags
from bridge.engine import content
from bridge.engine.journal import Record
from bridge.engine.people import LID_SERVER, PHONE_SERVER, chat_kind
from bridge.protos import history_sync, neonize_pb, web

BATCH = 100
"""Messages in one event at the most."""
BATCH_CHARACTERS = 200_000
"""As text; a single message may be longer."""
NAMES_BATCH = 500
_FLAGS = Flags(history=True)


def history(record: Record) -> tuple[Event, ...]:
    """Return `history.batch` for the messages of each chat, up to 100 in one, and for the names of people."""
    sync = neonize_pb.HistorySync.FromString(record.payload).Data
    kind = history_sync.HistorySync.HistorySyncType.Name(sync.syncType).lower()
    base = {"sync_type": kind, "chunk": sync.chunkOrder, "progress": sync.progress}
    return (*_names(record, base, sync), *_chats(record, base, sync))


def _names(record: Record, base: Mapping[str, object], sync: "history_sync.HistorySync") -> Iterator[Event]:
    people = [{"jid": one.ID, "push_name": one.pushname} for one in sync.pushnames if one.ID and one.pushname]
    for start in range(0, len(people), NAMES_BATCH):
        batch = people[start : start + NAMES_BATCH]
        occasion = f"history:{base['sync_type']}:names:{batch[0]['jid']}:{len(batch)}"
        yield _event(record, occasion, {**base, "contacts": batch})


def _chats(record: Record, base: Mapping[str, object], sync: "history_sync.HistorySync") -> Iterator[Event]:
    numbers = {one.lidJID: one.pnJID for one in sync.phoneNumberToLidMappings}
    for chat in sync.conversations:
        about = {
            "id": chat.ID,
            "kind": chat_kind(chat.ID),
            "name": chat.name or None,
            "jid": numbers.get(chat.ID) or (chat.ID if chat.ID.endswith("@" + PHONE_SERVER) else None),
            "lid": chat.ID if chat.ID.endswith("@" + LID_SERVER) else None,
            "unread": chat.unreadCount,
        }
        said = [found for one in chat.messages if (found := _message(one.message)) is not None]
        for batch in _batches(said):
            ends = f"{batch[0]['message_id']}:{batch[-1]['message_id']}"
            data = {**base, "chat_id": chat.ID, "chat": about, "messages": batch}
            yield _event(record, f"history:{base['sync_type']}:{chat.ID}:{ends}", data, chat.ID)


def _batches(said: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    """Cut a chat into parts that a receiver takes: by their number, and by their size as text."""
    batch: list[dict[str, object]] = []
    size = 0
    for one in said:
        length = len(str(one))
        if batch and (len(batch) == BATCH or size + length > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    if batch:
        yield batch


def _message(info: "web.WebMessageInfo") -> dict[str, object] | None:
    """Return one message of the past; None for what nobody said."""
    what = content.read(content.unwrap(info.message))
    if what is None:
        return None
    key = info.key
    return {
        "message_id": key.ID,
        "sender_id": key.participant or info.participant or (None if key.fromMe else key.remoteJID),
        "is_from_me": key.fromMe,
        "push_name": info.pushName,
        "timestamp": info.messageTimestamp,
        "kind": what.kind,
        "text": what.text,
        "mentions": list(what.mentions),
        "quoted": what.quoted,
        **what.extra,
    }


def _event(record: Record, occasion: str, data: Mapping[str, object], chat: str = "") -> Event:
    return Event("history.batch", "history_sync", occasion, record.at, data, chat=chat, flags=_FLAGS)
