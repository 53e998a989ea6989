"""What a message says: its kind, its text, what it quotes, in the words of the HTTP API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bridge.domain.media import Media
from bridge.engine.attachments import carried
from bridge.protos import e2e

_WRAPPERS = frozenset(
    {
        "ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension", "editedMessage",
        "documentWithCaptionMessage", "lottieStickerMessage", "groupMentionedMessage", "botInvokeMessage",
        "statusMentionMessage", "groupStatusMessage", "groupStatusMessageV2", "associatedChildMessage",
        "spoilerMessage",
    }
)  # fmt: skip
"""Messages around a message."""
_SILENT = frozenset(
    {"senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo"}
)
"""Keys and settings that travel with a message, or alone; nothing that anybody said."""
_KINDS = {
    "conversation": ("text", "message_received"),
    "extendedTextMessage": ("text", "message_received"),
    "imageMessage": ("image", "image_received"),
    "videoMessage": ("video", "video_received"),
    "ptvMessage": ("video", "video_received"),
    "audioMessage": ("audio", "audio_received"),
    "documentMessage": ("document", "document_received"),
    "stickerMessage": ("sticker", "sticker_received"),
    "contactMessage": ("contact", "contact_received"),
    "contactsArrayMessage": ("contact", "contact_received"),
    "locationMessage": ("location", "location_received"),
    "liveLocationMessage": ("live_location", "live_location_received"),
    "pollCreationMessage": ("poll", "message_received"),
    "pollCreationMessageV2": ("poll", "message_received"),
    "pollCreationMessageV3": ("poll", "message_received"),
    "pollCreationMessageV5": ("poll", "message_received"),
    "listMessage": ("interactive", "list_received"),
    "listResponseMessage": ("interactive", "list_received"),
    "orderMessage": ("interactive", "order_received"),
    "buttonsMessage": ("interactive", "interactive_message_received"),
    "buttonsResponseMessage": ("interactive", "interactive_message_received"),
    "templateMessage": ("interactive", "interactive_message_received"),
    "templateButtonReplyMessage": ("interactive", "interactive_message_received"),
    "interactiveMessage": ("interactive", "interactive_message_received"),
    "interactiveResponseMessage": ("interactive", "interactive_message_received"),
    "reactionMessage": ("reaction", "message_received"),
}
"""By the field of `waE2E.Message`: our kind and the original's event name."""
_MEDIA = frozenset({"image", "video", "audio", "document", "sticker"})
_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says."""

    kind: str
    name: str
    text: str | None = None
    mentions: tuple[str, ...] = ()
    quoted: Mapping[str, object] | None = None
    extra: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    """Fields of `data` that only this kind has."""
    media: Media | None = None


def unwrap(message: "e2e.Message") -> "e2e.Message":
    """Return the message inside of those that only wrap one."""
    for _ in range(8):
        inner = next((value for part, value in message.ListFields() if part.name in _WRAPPERS), None)
        if inner is None or not inner.HasField("message"):
            return message
        message = inner.message
    return message


def read(message: "e2e.Message") -> Content | None:
    """Return what an unwrapped message says; None when it carries nothing but keys and settings."""
    for part, value in message.ListFields():
        if part.name in _SILENT:
            continue
        kind, name = _KINDS.get(part.name, ("unknown", "message_received"))
        text = value if isinstance(value, str) else _text(kind, value)
        context = None if isinstance(value, str) else getattr(value, "contextInfo", None)
        mentions: tuple[str, ...] = ()
        quoted = None
        if context is not None and context.ByteSize():
            mentions, quoted = tuple(context.mentionedJID), _quoted(context)
        media = carried(part.name, kind, value) if kind in _MEDIA else None
        return Content(kind, name, text, mentions, quoted, _extra(kind, part.name, value), media)
    return None


def _text(kind: str, value: Any) -> str | None:
    """Return the words of a part, wherever its kind keeps them."""
    if kind == "unknown":
        return None
    for name in ("text", "caption", "selectedDisplayText", "title", "displayName", "contentText", "name", "comment"):
        words = getattr(value, name, None)
        if isinstance(words, str) and words:
            return words
    return None


def _quoted(context: Any) -> Mapping[str, object] | None:
    if not context.stanzaID:
        return None
    quoted = read(unwrap(context.quotedMessage)) if context.HasField("quotedMessage") else None
    return {
        "message_id": context.stanzaID,
        "sender": context.participant or None,
        "text": quoted.text if quoted is not None else None,
    }


def _extra(kind: str, part: str, value: Any) -> Mapping[str, object]:
    if kind in _MEDIA:
        return _media(kind, value)
    match kind:
        case "location" | "live_location":
            return {
                "location": {
                    "latitude": value.degreesLatitude,
                    "longitude": value.degreesLongitude,
                    "name": getattr(value, "name", "") or None,
                    "address": getattr(value, "address", "") or None,
                }
            }
        case "contact":
            cards = value.contacts if part == "contactsArrayMessage" else [value]
            return {"contacts": [{"name": card.displayName, "vcard": card.vcard} for card in cards]}
        case "poll":
            return {
                "poll": {
                    "question": value.name,
                    "options": [option.optionName for option in value.options],
                    "max_choices": value.selectableOptionsCount,
                }
            }
        case "reaction":
            return {"reaction": {"message_id": value.key.ID, "emoji": value.text}}
    return {"part": part} if kind == "unknown" else _NOTHING


def _media(kind: str, value: Any) -> Mapping[str, object]:
    """Return the facts about a media file; it is not fetched here."""
    return {
        "media_type": kind,
        "mime_type": value.mimetype,
        "caption": getattr(value, "caption", ""),
        "filename": getattr(value, "fileName", ""),
        "media": {
            "mime_type": value.mimetype,
            "size_bytes": value.fileLength,
            "sha256": value.fileSHA256.hex(),
            "is_ptt": bool(getattr(value, "PTT", False)),
            "width": getattr(value, "width", None) or None,
            "height": getattr(value, "height", None) or None,
            "duration_s": getattr(value, "seconds", None) or None,
        },
    }
