"""Every event: the original's name for it, our type, and what it is emitted for. One table, which a test holds true.

Our types are those of the webhook envelope (`docs/delivery.md`).
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Name:
    """One name. A name may stand for several types, `message_received` above all."""

    name: str
    types: tuple[str, ...]
    when: str
    source: str = "engine"
    """engine, or bridge for what an instance says about itself."""


_RECEIVED, _STATUS, _CONNECTION = ("message.received",), ("message.status",), ("connection.update",)

_ROWS = (
    Name(
        "message_received",
        ("message.received", "message.reaction", "message.poll_vote"),
        "a text came, a reaction, a vote, or any message that has no name of its own",
    ),
    Name("image_received", _RECEIVED, "a picture came"),
    Name("video_received", _RECEIVED, "a video came"),
    Name("audio_received", _RECEIVED, "a voice note or an audio file came"),
    Name("document_received", _RECEIVED, "a file came"),
    Name("sticker_received", _RECEIVED, "a sticker came"),
    Name("contact_received", _RECEIVED, "one or more contact cards came"),
    Name("location_received", _RECEIVED, "a place came"),
    Name("live_location_received", _RECEIVED, "somebody begins to share where they are"),
    Name("list_received", _RECEIVED, "a list came, or the choice from one"),
    Name("order_received", _RECEIVED, "an order came"),
    Name("interactive_message_received", _RECEIVED, "buttons came, or the choice of one"),
    Name("message_revoked", ("message.revoked",), "a message was deleted for everybody"),
    Name("message_edited", ("message.edited",), "a message was edited"),
    Name(
        "message_deleted",
        ("message.deleted",),
        "another device of ours deleted a message for itself, one of those whose events are the newest",
    ),
    Name("message_undecryptable", ("message.undecryptable",), "a message came that cannot be read; it may come again"),
    Name("media_updated", ("media.updated",), "the download of a message's file has ended, well or not", "bridge"),
    Name("message_delivered", _STATUS, "a message of ours arrived"),
    Name("message_read", _STATUS, "a message of ours was read"),
    Name("message_read_self", _STATUS, "another device of ours read a message"),
    Name("message_played", _STATUS, "a voice note of ours was played"),
    Name("message_played_self", _STATUS, "another device of ours played a voice note"),
    Name("message_sender_receipt", _STATUS, "another device of ours has a message that this one sent"),
    Name("message_retry", _STATUS, "a recipient could not read a message; whatsmeow sends it again by itself"),
    Name("message_receipt", _STATUS, "another device of ours has what our devices tell each other"),
    Name("message_sent", ("message.status", "message.sent"), "WhatsApp took a message: ours, or another device's"),
    Name("message_error", _STATUS, "a message was not sent, or it is not known whether it was", "bridge"),
    Name("message_cancelled", _STATUS, "a call took a queued message back", "bridge"),
    Name("connected", _CONNECTION, "the instance is online", "bridge"),
    Name("disconnected", _CONNECTION, "the connection is lost; the bridge connects again by itself", "bridge"),
    Name("logged_out", _CONNECTION, "WhatsApp removed the device", "bridge"),
    Name("pair_success", _CONNECTION, "a phone has scanned the code", "bridge"),
    Name("stream_replaced", _CONNECTION, "another connection of the same device took over", "bridge"),
    Name("instance_created", ("instance.created",), "a call made the instance", "bridge"),
    Name("instance_connected", _CONNECTION, "the instance is online, and had not merely lost its connection", "bridge"),
    Name("instance_disconnected", _CONNECTION, "pairing ended without a phone", "bridge"),
    Name("instance_manually_connected", _CONNECTION, "a call connects a paired instance", "bridge"),
    Name("instance_manually_disconnected", _CONNECTION, "a call disconnects the instance", "bridge"),
    Name("instance_deleted", ("instance.deleted",), "a call deleted the instance", "bridge"),
    Name("history_sync", ("history.batch",), "the phone gave a part of its history; only to instances that ask for it"),
    Name(
        "presence_update",
        ("presence.update",),
        "a contact that we follow came or went, by `POST /contact/{key}/{id}/follow`",
    ),
    Name("chat_presence_update", ("chat.presence",), "somebody types or records"),
    Name("group_info_update", ("group.update", "group.participants"), "a group or its members changed"),
    Name("push_name_update", ("contact.update",), "a contact writes, and has another name than before"),
    Name("push_name_setting", ("contact.update",), "our own name is another", "bridge"),
    Name("app_state_update", ("chat.update",), "a chat was archived, pinned or muted on another device of ours"),
    Name(
        "app_state_sync_complete",
        ("app_state.synced",),
        "the engine has read a collection of what our devices share from its beginning, and nothing followed for 5 s",
    ),
    Name("contact_update", ("contact.update",), "a contact has another picture"),
    Name("contact_identity_changed", ("contact.identity_changed",), "a contact has a new phone"),
    Name("call_offer", ("call.offer",), "somebody rings"),
    Name("call_ended", ("call.ended",), "it rings no longer"),
    Name("unknown_event", ("engine.event",), "the engine reports what the original has no name for"),
)

NAMES: Mapping[str, Name] = {row.name: row for row in _ROWS}
