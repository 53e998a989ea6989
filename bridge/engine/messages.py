"""Messages and receipts as domain events."""

import hashlib

from bridge.domain.events import Event, Flags, MessageRow, StatusChange
from bridge.engine import content, jids
from bridge.engine.content import Content
from bridge.engine.journal import Record
from bridge.engine.people import LID_SERVER, PHONE_SERVER, Person, chat_kind, person
from bridge.protos import e2e, neonize_pb

_Receipt = neonize_pb.Receipt
_RECEIPTS: dict[int, tuple[str, str, bool]] = {
    _Receipt.DELIVERED: ("delivered", "message_delivered", True),
    _Receipt.INACTIVE: ("delivered", "message_delivered", True),  # to a device whose owner is not looking
    _Receipt.READ: ("read", "message_read", True),
    _Receipt.PLAYED: ("played", "message_played", True),
    _Receipt.READ_SELF: ("read_self", "message_read_self", False),
    _Receipt.PLAYED_SELF: ("played_self", "message_played_self", False),
    # neonize 0.5.2 writes played-self so (`EncodeReceipts` in goneonize/utils/encoder.go), and nothing else
    _Receipt.SERVER_ERROR: ("played_self", "message_played_self", False),
    _Receipt.RETRY: ("retry", "message_retry", False),
    _Receipt.SENDER: ("sender", "message_sender_receipt", False),
    # between devices of ours, about nothing that anybody wrote
    _Receipt.PEER_MSG: ("peer_msg", "message_receipt", False),
    _Receipt.HISTORY_SYNC: ("history_sync", "message_receipt", False),
}
"""By type: our status, the original's event name, and whether it is a status of a message that we sent. The library has
no other types: a receipt of one ends the session (`docs/delivery.md`, what an engine crash can lose)."""
_FROM_ME, _FROM_OTHERS = Flags(from_me=True), Flags()
_KEY_CHARACTERS = 300
"""A longer key is hashed: the store has an index over keys, whose entries have a limit."""


def message(record: Record) -> tuple[Event, ...]:
    """Return `message.received`, `message.sent` for one of another device of ours, or what changes an older message."""
    report = neonize_pb.Message.FromString(record.payload)
    said = content.unwrap(report.Message)
    if said.HasField("protocolMessage"):
        return _change(report.Info, said.protocolMessage)
    what = content.read(said)
    if what is None:
        return ()
    if said.HasField("pollUpdateMessage"):
        vote = {"poll_message_id": said.pollUpdateMessage.pollCreationMessageKey.ID}
        return (_about(report.Info, "message.poll_vote", "message_received", {**vote, "kind": "poll_vote"}),)
    if what.kind == "reaction":
        return (
            _about(report.Info, "message.reaction", what.name, {**what.extra, "kind": what.kind, "text": what.text}),
        )
    return (_said(report.Info, what),)


def _said(info: "neonize_pb.MessageInfo", what: Content) -> Event:
    said = {
        "kind": what.kind,
        "text": what.text,
        "mentions": list(what.mentions),
        "quoted": what.quoted,
        **what.extra,
    }
    if info.MessageSource.IsFromMe:
        return _about(info, "message.sent", "message_sent", said, what)
    return _about(info, "message.received", what.name, said, what)


def _change(info: "neonize_pb.MessageInfo", protocol: "e2e.ProtocolMessage") -> tuple[Event, ...]:
    target = {"message_id": protocol.key.ID, "change_id": info.ID}
    match protocol.type:
        case e2e.ProtocolMessage.REVOKE:
            return (_about(info, "message.revoked", "message_revoked", {**target, "kind": "revoked"}),)
        case e2e.ProtocolMessage.MESSAGE_EDIT:
            what = content.read(content.unwrap(protocol.editedMessage))
            if what is not None:
                edit = {**target, "kind": what.kind, "text": what.text, "mentions": list(what.mentions)}
                return (_about(info, "message.edited", "message_edited", edit),)
    return ()


def undecryptable(record: Record) -> tuple[Event, ...]:
    """Return `message.undecryptable`; when its sender sends it again it comes as a message of the same id."""
    report = neonize_pb.UndecryptableMessage.FromString(record.payload)
    hidden = report.DecryptFailMode == neonize_pb.UndecryptableMessage.DECRYPT_FAIL_HIDE
    lost = {"kind": "unknown", "text": None, "unavailable": report.IsUnavailable, "hidden": hidden}
    return (_about(report.Info, "message.undecryptable", "message_undecryptable", lost),)


def ignored(record: Record, ours: frozenset[str]) -> tuple[Event, ...]:
    """Return `message.undecryptable` for a message that was decrypted by a process which died before it told us.

    The engine says of every redelivered message that it ignores it, and only our store knows which of them we have: the
    event has the key of the message itself, so it is refused where the message is known. Messages of `ours` (users) are
    left out, for most of those are keys on their way between our devices.
    """
    message_id, sender, chat = record.payload.decode().split(" ")
    user, _, server = sender.partition("@")
    sender = f"{user.partition(':')[0]}@{server}"
    if sender in ours:
        return ()
    phone = sender if server == PHONE_SERVER else None
    who = Person(sender, phone, sender if server == LID_SERVER else None, "")
    data = {
        "message_id": message_id,
        "chat_id": chat,
        "sender_id": sender,
        "from": who.reply_to,
        "timestamp": int(record.at),
        "push_name": "",
        "is_from_me": False,
        "is_group": chat_kind(chat) == "group",
        "chat": {"id": chat, "kind": chat_kind(chat)},
        "sender": who.as_data(),
        "kind": "unknown",
        "text": None,
        "unavailable": True,
        "hidden": False,
    }
    key = _key_of_message("message.received", chat, sender, message_id)
    return (Event("message.undecryptable", "message_undecryptable", key, record.at, data, chat),)


def receipt(record: Record) -> tuple[Event, ...]:
    """Return `message.status`, emitted when a recipient, or another device of ours, got, read or played messages."""
    report = neonize_pb.Receipt.FromString(record.payload)
    if not report.HasField("Type") or not report.MessageIDs:
        return ()
    status, name, ours = _RECEIPTS[report.Type]
    ids = tuple(report.MessageIDs)
    chat = jids.text(report.MessageSource.Chat)
    who = person(report.MessageSource.Sender, report.MessageSource.SenderAlt)
    data = {
        "message_id": ids[0],
        "message_ids": list(ids),
        "chat_id": chat,
        "sender_id": who.id,
        "from": who.reply_to,
        "timestamp": report.Timestamp,
        "is_from_me": report.MessageSource.IsFromMe,
        "is_group": report.MessageSource.IsGroup,
        "status": status,
        "chat": {"id": chat, "kind": chat_kind(chat)},
        "sender": who.as_data(),
    }
    return (
        Event(
            type="message.status",
            name=name,
            dedup_key=dedup_key("receipt", chat, who.id, status, *ids),
            at=float(report.Timestamp),
            data=data,
            chat=chat,
            flags=Flags(from_me=report.MessageSource.IsFromMe),
            status=StatusChange(ids, status) if ours else None,
        ),
    )


def _about(
    info: "neonize_pb.MessageInfo", type_: str, name: str, said: dict[str, object], kept: Content | None = None
) -> Event:
    """Return an event about a message: the original's flat fields, our objects, and what was `said`.

    A message whose content is to be `kept` has a row of its own.
    """
    source = info.MessageSource
    chat, from_me, message_id, at = jids.text(source.Chat), source.IsFromMe, info.ID, info.Timestamp / 1000
    who = person(source.Sender, source.SenderAlt, info.Pushname)
    data: dict[str, object] = {
        "message_id": message_id,
        "chat_id": chat,
        "sender_id": who.id,
        "from": who.reply_to,
        "timestamp": int(at),
        "push_name": who.name,
        "is_from_me": from_me,
        "is_group": source.IsGroup,
        "chat": {"id": chat, "kind": chat_kind(chat)},
        "sender": who.as_data(),
        **said,
    }
    row = None
    if kept is not None:
        status = "sent" if from_me else "received"
        row = MessageRow(chat, who.id, message_id, from_me, kept.kind, status, at, kept.text)
    return Event(
        type=type_,
        name=name,
        dedup_key=_key_of_message(type_, chat, who.id, message_id),
        at=at,
        data=data,
        chat=chat,
        flags=_FROM_ME if from_me else _FROM_OTHERS,
        message=row,
        media=kept.media if kept is not None else None,
    )


def _key_of_message(type_: str, chat: str, sender: str, message_id: str) -> str:
    """Return one key for whatever a message turned out to be; one that came undecryptable may come again, readable."""
    kind = "undecryptable" if type_ == "message.undecryptable" else "message"
    return dedup_key(kind, chat, sender, message_id)


def dedup_key(*parts: str) -> str:
    """Return what is equal for two reports of the same thing."""
    key = "|".join(parts)
    if len(key) <= _KEY_CHARACTERS:
        return key
    return f"{parts[0]}|{hashlib.sha256(key.encode()).hexdigest()}"
