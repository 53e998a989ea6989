"""Presence, groups, contacts and calls as domain events."""

import hashlib
from collections.abc import Mapping

from bridge.domain.events import Event
from bridge.engine import jids
from bridge.engine.codes import Code
from bridge.engine.journal import Record
from bridge.engine.people import GROUP_SERVER, person
from bridge.protos import neonize_pb


def presence(record: Record) -> tuple[Event, ...]:
    """Return `presence.update`, emitted when a contact that we follow comes or goes."""
    report = neonize_pb.Presence.FromString(record.payload)
    who = person(report.From, neonize_pb.JID())
    data = {
        "from": who.reply_to,
        "timestamp": int(record.at),
        "state": "unavailable" if report.Unavailable else "available",
        "last_seen": report.LastSeen if report.LastSeen > 0 else None,
        "sender": who.as_data(),
    }
    return (_event(record, "presence.update", "presence_update", data, chat=who.id, at=record.at),)


def chat_presence(record: Record) -> tuple[Event, ...]:
    """Return `chat.presence`, emitted when somebody types or records."""
    report = neonize_pb.ChatPresence.FromString(record.payload)
    chat = jids.text(report.MessageSource.Chat)
    who = person(report.MessageSource.Sender, report.MessageSource.SenderAlt)
    composing = report.State == neonize_pb.ChatPresence.COMPOSING
    recording = report.Media == neonize_pb.ChatPresence.AUDIO
    state = ("recording" if recording else "typing") if composing else "paused"
    data = {"chat_id": chat, "from": who.reply_to, "state": state, "sender": who.as_data()}
    return (_event(record, "chat.presence", "chat_presence_update", data, chat=chat, at=record.at),)


def group_info(record: Record) -> tuple[Event, ...]:
    """Return `group.participants` for who came, went, rose or fell, and `group.update` for any other change."""
    report = neonize_pb.GroupInfoEvent.FromString(record.payload)
    chat = jids.text(report.JID)
    base = {"group_id": chat, "chat_id": chat, "by": jids.text(report.Sender) or None, "timestamp": report.Timestamp}
    moves = {
        "added": report.Join,
        "removed": report.Leave,
        "promoted": report.Promote,
        "demoted": report.Demote,
    }
    participants = {name: [jids.text(jid) for jid in people] for name, people in moves.items() if people}
    changes: dict[str, object] = {}
    if report.HasField("Name"):
        changes["subject"] = report.Name.Name
    if report.HasField("Topic"):
        changes["description"] = report.Topic.Topic
    if report.HasField("Locked"):
        changes["locked"] = report.Locked.isLocked
    if report.HasField("Announce"):
        changes["announce"] = report.Announce.IsAnnounce
    if report.HasField("Ephemeral"):
        changes["disappearing_s"] = report.Ephemeral.DisappearingTimer if report.Ephemeral.IsEphemeral else 0
    if report.HasField("Delete") and report.Delete.Deleted:
        changes["deleted"] = True
    if report.NewInviteLink:
        changes["invite_link"] = report.NewInviteLink
    events = []
    if participants:
        data: dict[str, object] = {**base, **participants, "reason": report.JoinReason or None}
        events.append(
            _event(record, "group.participants", "group_info_update", data, chat=chat, at=float(report.Timestamp))
        )
    if changes or not participants:
        data = {**base, "changes": changes}
        events.append(_event(record, "group.update", "group_info_update", data, chat=chat, at=float(report.Timestamp)))
    return tuple(events)


def joined_group(record: Record) -> tuple[Event, ...]:
    """Return `group.update`, emitted when we are in a group from now on."""
    report = neonize_pb.JoinedGroup.FromString(record.payload)
    group = report.GroupInfo
    chat = jids.text(group.JID)
    changes = {"joined": True, "subject": group.GroupName.Name, "participants": len(group.Participants)}
    data = {"group_id": chat, "chat_id": chat, "by": None, "timestamp": int(record.at), "changes": changes}
    return (_event(record, "group.update", "group_info_update", data, chat=chat, at=record.at),)


def picture(record: Record) -> tuple[Event, ...]:
    """Return `contact.update` or `group.update`, emitted when a picture was changed or removed."""
    report = neonize_pb.Picture.FromString(record.payload)
    whose = jids.text(report.JID)
    changes = {"picture": "removed" if report.Remove else "changed"}
    at = float(report.Timestamp)
    if report.JID.Server == GROUP_SERVER:
        by = jids.text(report.Author) or None
        data = {"group_id": whose, "chat_id": whose, "by": by, "timestamp": report.Timestamp, "changes": changes}
        return (_event(record, "group.update", "group_info_update", data, chat=whose, at=at),)
    data = {"jid": whose, "timestamp": report.Timestamp, "changes": changes}
    return (_event(record, "contact.update", "contact_update", data, chat=whose, at=at),)


def identity_change(record: Record) -> tuple[Event, ...]:
    """Return `contact.identity_changed`, emitted when a contact has a new phone or has installed WhatsApp anew."""
    report = neonize_pb.IdentityChange.FromString(record.payload)
    whose = jids.text(report.JID)
    data = {"jid": whose, "timestamp": report.Timestamp, "implicit": report.Implicit}
    return (
        _event(
            record, "contact.identity_changed", "contact_identity_changed", data, chat=whose, at=float(report.Timestamp)
        ),
    )


def call_offer(record: Record) -> tuple[Event, ...]:
    """Return `call.offer`, emitted when somebody rings."""
    return (_call("call.offer", "call_offer", record, neonize_pb.CallOffer.FromString(record.payload).basicCallMeta),)


def call_offer_notice(record: Record) -> tuple[Event, ...]:
    """Return `call.offer` for a group call."""
    report = neonize_pb.CallOfferNotice.FromString(record.payload)
    return (_call("call.offer", "call_offer", record, report.basicCallMeta, media=report.media or None),)


def call_terminate(record: Record) -> tuple[Event, ...]:
    """Return `call.ended`."""
    report = neonize_pb.CallTerminate.FromString(record.payload)
    return (_call("call.ended", "call_ended", record, report.basicCallMeta, reason=report.reason or None),)


def _call(type_: str, name: str, record: Record, meta: "neonize_pb.BasicCallMeta", **extra: str | None) -> Event:
    caller = person(meta.callCreator, meta.callCreatorAlt)
    data = {
        "call_id": meta.callID,
        "from": caller.reply_to,
        "timestamp": meta.timestamp,
        "sender": caller.as_data(),
        **extra,
    }
    return _event(record, type_, name, data, chat=caller.id, at=float(meta.timestamp))


def unnamed(record: Record) -> tuple[Event, ...]:
    """Return `engine.event`, emitted for what the original has no name for; `kind` is the engine's word for it."""
    data = {"kind": Code(record.code).name.lower(), "timestamp": int(record.at)}
    return (_event(record, "engine.event", "unknown_event", data, chat="", at=record.at),)


def _event(record: Record, type_: str, name: str, data: Mapping[str, object], *, chat: str, at: float) -> Event:
    """Return an event that is the same one when the very same report comes at the same time again."""
    report = hashlib.sha256(record.payload).hexdigest()[:32]
    return Event(type=type_, name=name, dedup_key=f"{type_}|{chat}|{at:.3f}|{report}", at=at, data=data, chat=chat)
