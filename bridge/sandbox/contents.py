"""What a message says, as plain values: how the control API shows what simulated phones received.

`describe` is a table from a field of `waE2E.Message` to a function. Every description has `kind`; the other keys depend
on it and stand in the functions. What has no row is of the kind `other`, and what is not content at all (keys, history,
requests between the devices of one account) has no description.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.protos import e2e
from bridge.sandbox.stanzas import POLLS, poll_of, unwrap

Description = dict[str, Any]

_NO_CONTENT: Final = frozenset(
    {"senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo"}
)
_VIEW_ONCE: Final = ("viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension")


def describe(message: "e2e.Message") -> Description | None:
    """Return what a message says, None if it has no content for people."""
    inner = unwrap(message)
    name = content_field(inner)
    if name is None:
        return None
    shown = _SHOWN.get(name, _other)(inner)
    if shown is None:
        return None
    return shown | _around(message, inner, name)


def summary(message: "e2e.Message") -> str | None:
    """Return the words of a message by which it can be compared: text, caption, question, emoji."""
    shown = describe(message)
    return None if shown is None else words_of(shown)


def words_of(shown: Description) -> str | None:
    """Return the words of a description, as `summary` does of its message."""
    words = shown.get("text") or shown.get("caption") or shown.get("question") or shown.get("emoji")
    return words if isinstance(words, str) else None


def content_field(inner: "e2e.Message") -> str | None:
    """Return the name of the field that is a message's content, None if it has none."""
    for field, _ in inner.ListFields():
        if field.name not in _NO_CONTENT:
            return str(field.name)
    return None


def _around(message: "e2e.Message", inner: "e2e.Message", name: str) -> Description:
    """Return what goes with any kind: view once, a quote, mentions, whether it was forwarded or will disappear."""
    around: Description = {}
    held = getattr(inner, name)
    if any(message.HasField(wrapper) for wrapper in _VIEW_ONCE) or getattr(held, "viewOnce", False):
        around["view_once"] = True
    info = getattr(held, "contextInfo", None)
    if info is None:
        return around
    if info.stanzaID:
        quoted = describe(info.quotedMessage) or {}
        around["quote"] = {"message_id": info.stanzaID, "from": info.participant, **quoted}
    if info.mentionedJID:
        around["mentions"] = list(info.mentionedJID)
    if info.isForwarded:
        around["forwarded"] = True
    if info.expiration:
        around["expiration_s"] = info.expiration
    return around


def _text(inner: "e2e.Message") -> Description:
    return {"kind": "text", "text": inner.conversation}


def _extended_text(inner: "e2e.Message") -> Description:
    text = inner.extendedTextMessage
    shown: Description = {"kind": "text", "text": text.text}
    if text.matchedText or text.title:
        thumbnail = len(text.JPEGThumbnail)
        link = {"url": text.matchedText, "title": text.title, "description": text.description}
        shown["link"] = {**link, "thumbnail_bytes": thumbnail}
    return shown


def _file(kind: str, file: Any, **more: object) -> Description:
    """Return what every kind of file has; hashes are in hex, the size in bytes."""
    media = {
        "mime": file.mimetype,
        "size": file.fileLength,
        "sha256": file.fileSHA256.hex(),
        "sealed_sha256": file.fileEncSHA256.hex(),
        "direct_path": file.directPath,
        **{name: value for name, value in more.items() if value},
    }
    shown: Description = {"kind": kind, "media": media}
    if getattr(file, "caption", ""):
        shown["caption"] = file.caption
    return shown


def _image(inner: "e2e.Message") -> Description:
    image = inner.imageMessage
    thumbnail = len(image.JPEGThumbnail)
    return _file("image", image, width=image.width, height=image.height, thumbnail_bytes=thumbnail)


def _video(inner: "e2e.Message") -> Description:
    video = inner.videoMessage
    return _moving("gif" if video.gifPlayback else "video", video)


def _video_note(inner: "e2e.Message") -> Description:
    return _moving("video_note", inner.ptvMessage)


def _moving(kind: str, video: "e2e.VideoMessage") -> Description:
    thumbnail = len(video.JPEGThumbnail)
    size = {"width": video.width, "height": video.height, "seconds": video.seconds}
    return _file(kind, video, **size, thumbnail_bytes=thumbnail)


def _audio(inner: "e2e.Message") -> Description:
    audio = inner.audioMessage
    waveform = list(audio.waveform)
    return _file("voice" if audio.PTT else "audio", audio, seconds=audio.seconds, waveform=waveform)


def _document(inner: "e2e.Message") -> Description:
    document = inner.documentMessage
    named = {"file_name": document.fileName, "title": document.title, "pages": document.pageCount}
    return _file("document", document, **named)


def _sticker(inner: "e2e.Message") -> Description:
    sticker = inner.stickerMessage
    return _file("sticker", sticker, width=sticker.width, height=sticker.height, animated=sticker.isAnimated)


def _location(inner: "e2e.Message") -> Description:
    place = inner.locationMessage
    named = {"name": place.name, "address": place.address, "url": place.URL}
    return {"kind": "location", "location": _point(place) | {name: text for name, text in named.items() if text}}


def _live_location(inner: "e2e.Message") -> Description:
    place = inner.liveLocationMessage
    shown: Description = {"kind": "live_location", "location": _point(place) | {"sequence": place.sequenceNumber}}
    return shown | ({"caption": place.caption} if place.caption else {})


def _point(place: Any) -> Description:
    point: Description = {"latitude": place.degreesLatitude, "longitude": place.degreesLongitude}
    more = {"accuracy_m": place.accuracyInMeters, "speed_mps": place.speedInMps}
    return point | {name: value for name, value in more.items() if value}


def _contact(inner: "e2e.Message") -> Description:
    return {"kind": "contact", "contacts": [_card(inner.contactMessage)]}


def _contacts(inner: "e2e.Message") -> Description:
    array = inner.contactsArrayMessage
    return {"kind": "contacts", "name": array.displayName, "contacts": [_card(card) for card in array.contacts]}


def _card(card: "e2e.ContactMessage") -> Description:
    return {"name": card.displayName, "vcard": card.vcard}


def _reaction(inner: "e2e.Message") -> Description:
    reaction = inner.reactionMessage
    return {"kind": "reaction", "target": reaction.key.ID, "emoji": reaction.text}


def _poll(inner: "e2e.Message") -> Description:
    poll = poll_of(inner)
    assert poll is not None
    options = [option.optionName for option in poll.options]
    return {"kind": "poll", "question": poll.name, "options": options, "selectable": poll.selectableOptionsCount}


def _vote(inner: "e2e.Message") -> Description:
    """Return the poll that is meant; what was chosen is sealed with the poll's secret (`votes.py`)."""
    return {"kind": "vote", "target": inner.pollUpdateMessage.pollCreationMessageKey.ID}


def _protocol(inner: "e2e.Message") -> Description | None:
    protocol = inner.protocolMessage
    if protocol.type == e2e.ProtocolMessage.REVOKE:
        return {"kind": "revoke", "target": protocol.key.ID}
    if protocol.type == e2e.ProtocolMessage.MESSAGE_EDIT:
        changed = describe(protocol.editedMessage) or {}
        return {**changed, "kind": "edit", "target": protocol.key.ID, "of": changed.get("kind", "")}
    if protocol.type == e2e.ProtocolMessage.EPHEMERAL_SETTING:
        return {"kind": "timer", "expiration_s": protocol.ephemeralExpiration}
    return None


def _pin(inner: "e2e.Message") -> Description:
    pin = inner.pinInChatMessage
    pinned = pin.type == e2e.PinInChatMessage.PIN_FOR_ALL
    return {"kind": "pin" if pinned else "unpin", "target": pin.key.ID}


def _buttons(inner: "e2e.Message") -> Description:
    held = inner.buttonsMessage
    buttons = [{"id": button.buttonID, "text": button.buttonText.displayText} for button in held.buttons]
    return {"kind": "buttons", "text": held.contentText, "footer": held.footerText, "buttons": buttons}


def _buttons_response(inner: "e2e.Message") -> Description:
    chosen = inner.buttonsResponseMessage
    return {"kind": "buttons_response", "id": chosen.selectedButtonID, "text": chosen.selectedDisplayText}


def _template_response(inner: "e2e.Message") -> Description:
    chosen = inner.templateButtonReplyMessage
    return {"kind": "template_response", "id": chosen.selectedID, "text": chosen.selectedDisplayText}


def _list(inner: "e2e.Message") -> Description:
    held = inner.listMessage
    sections = [
        {
            "title": section.title,
            "rows": [{"id": row.rowID, "title": row.title, "description": row.description} for row in section.rows],
        }
        for section in held.sections
    ]
    words = {"title": held.title, "text": held.description, "footer": held.footerText, "button": held.buttonText}
    return {"kind": "list", **words, "sections": sections}


def _list_response(inner: "e2e.Message") -> Description:
    chosen = inner.listResponseMessage
    return {"kind": "list_response", "id": chosen.singleSelectReply.selectedRowID, "text": chosen.title}


def _interactive(inner: "e2e.Message") -> Description:
    held = inner.interactiveMessage
    buttons = [{"name": b.name, "params": b.buttonParamsJSON} for b in held.nativeFlowMessage.buttons]
    words = {"title": held.header.title, "text": held.body.text, "footer": held.footer.text}
    return {"kind": "interactive", **words, "buttons": buttons}


def _interactive_response(inner: "e2e.Message") -> Description:
    held = inner.interactiveResponseMessage
    flow = held.nativeFlowResponseMessage
    return {"kind": "interactive_response", "text": held.body.text, "name": flow.name, "params": flow.paramsJSON}


def _group_invite(inner: "e2e.Message") -> Description:
    invite = inner.groupInviteMessage
    group = {"group": invite.groupJID, "code": invite.inviteCode, "name": invite.groupName}
    return {"kind": "group_invite", **group, "expires_at": invite.inviteExpiration, "caption": invite.caption}


def _other(inner: "e2e.Message") -> Description:
    return {"kind": "other", "field": content_field(inner)}


_SHOWN: Final[Mapping[str, Callable[["e2e.Message"], Description | None]]] = {
    "conversation": _text,
    "extendedTextMessage": _extended_text,
    "imageMessage": _image,
    "videoMessage": _video,
    "ptvMessage": _video_note,
    "audioMessage": _audio,
    "documentMessage": _document,
    "stickerMessage": _sticker,
    "locationMessage": _location,
    "liveLocationMessage": _live_location,
    "contactMessage": _contact,
    "contactsArrayMessage": _contacts,
    "reactionMessage": _reaction,
    **dict.fromkeys(POLLS, _poll),
    "pollUpdateMessage": _vote,
    "protocolMessage": _protocol,
    "pinInChatMessage": _pin,
    "buttonsMessage": _buttons,
    "buttonsResponseMessage": _buttons_response,
    "templateButtonReplyMessage": _template_response,
    "listMessage": _list,
    "listResponseMessage": _list_response,
    "interactiveMessage": _interactive,
    "interactiveResponseMessage": _interactive_response,
    "groupInviteMessage": _group_invite,
}
