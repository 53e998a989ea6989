"""Writes messages of every kind that a simulated contact can send: a table from `kind` to a function.

Pure: what has to be looked up first (the message that is quoted, edited or voted on; the file, which is on the media
host by then; addresses) comes in as `Found`.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bridge.protos import common, e2e
from bridge.sandbox.asked import BadMessage, Card, File, Found, Kept, Send
from bridge.sandbox.certificates import MEDIA_HOST
from bridge.sandbox.nodes import GROUP_SERVER
from bridge.sandbox.stanzas import unwrap
from bridge.sandbox.votes import Poll, seal_vote

FILES: Final[Mapping[str, tuple[str, str]]] = {
    "image": ("image", "image/jpeg"),
    "video": ("video", "video/mp4"),
    "gif": ("video", "video/mp4"),
    "video_note": ("video", "video/mp4"),
    "audio": ("audio", "audio/mpeg"),
    "voice": ("audio", "audio/ogg; codecs=opus"),
    "document": ("document", "application/octet-stream"),
    "sticker": ("sticker", "image/webp"),
}
"""Kinds of message that have a file: the kind of file, and its MIME type unless another is named."""


def compose(asked: Send, found: Found) -> "e2e.Message":
    """Return the message; raise `BadMessage` where a field is missing or the kind is unknown."""
    write = KINDS.get(asked.kind)
    if write is None:
        raise BadMessage(f"unknown kind {asked.kind!r}; there are: {', '.join(sorted(KINDS))}")
    message = write(asked, found)
    _add_context(message, asked, found)
    if asked.view_once:
        return e2e.Message(viewOnceMessageV2=e2e.FutureProofMessage(message=message))
    return message


def key_of(target: Kept) -> "common.MessageKey":
    """Return how a message is named in another one."""
    key = common.MessageKey(remoteJID=str(target.chat), fromMe=target.mine, ID=target.id)
    if target.chat.server == GROUP_SERVER and not target.mine:
        key.participant = str(target.author)
    return key


def _add_context(message: "e2e.Message", asked: Send, found: Found) -> None:
    """Write what goes with any kind: quote, mentions, forwarding, expiry."""
    if not (found.quoted or found.mentioned or asked.forwarded or asked.expiration_s):
        return
    if message.HasField("conversation"):
        text = message.conversation
        message.ClearField("conversation")
        message.extendedTextMessage.text = text
    held = next((value for _, value in message.ListFields() if hasattr(value, "contextInfo")), None)
    if held is None:
        raise BadMessage(f"a message of kind {asked.kind!r} has no quote, mentions or expiry")
    info = held.contextInfo
    if found.quoted is not None:
        info.stanzaID, info.participant = found.quoted.id, str(found.quoted.author)
        info.quotedMessage.CopyFrom(unwrap(found.quoted.message))
    info.mentionedJID.extend(str(jid) for jid in found.mentioned)
    if asked.forwarded:
        info.isForwarded, info.forwardingScore = True, 1
    if asked.expiration_s:
        info.expiration = asked.expiration_s


def _text(asked: Send, found: Found) -> "e2e.Message":
    if asked.text is None:
        raise BadMessage("`text` is missing")
    if asked.link is None:
        return e2e.Message(conversation=asked.text)
    link = asked.link
    text = e2e.ExtendedTextMessage(text=asked.text, matchedText=link.url, title=link.title)
    text.description, text.JPEGThumbnail = link.description, decoded(link.thumbnail)
    return e2e.Message(extendedTextMessage=text)


def _file(asked: Send, found: Found) -> "e2e.Message":
    field_name, more = _FILE_FIELDS[asked.kind]
    if found.attachment is None or asked.file is None:
        raise BadMessage("`file` is missing")
    file, sealed, path = asked.file, found.attachment.sealed, found.attachment.direct_path
    message = e2e.Message()
    held = getattr(message, field_name)
    held.URL, held.directPath = f"https://{MEDIA_HOST}{path}", path
    held.mediaKey, held.mediaKeyTimestamp = sealed.media_key, found.now_s
    held.fileSHA256, held.fileEncSHA256, held.fileLength = sealed.sha256, sealed.sealed_sha256, sealed.size
    held.mimetype = file.mime or FILES[asked.kind][1]
    if asked.caption:
        if not hasattr(held, "caption"):
            raise BadMessage(f"a message of kind {asked.kind!r} has no caption")
        held.caption = asked.caption
    for name, value in more(file).items():
        if value:
            setattr(held, name, value)
    if asked.kind == "document" and asked.caption:
        return e2e.Message(documentWithCaptionMessage=e2e.FutureProofMessage(message=message))
    return message


def _picture(file: File) -> dict[str, Any]:
    return {"width": file.width, "height": file.height, "JPEGThumbnail": decoded(file.thumbnail)}


def _film(file: File) -> dict[str, Any]:
    return _picture(file) | {"seconds": file.seconds}


_FILE_FIELDS: Final[Mapping[str, tuple[str, Callable[[File], dict[str, Any]]]]] = {
    "image": ("imageMessage", _picture),
    "video": ("videoMessage", _film),
    "gif": ("videoMessage", lambda file: _film(file) | {"gifPlayback": True}),
    "video_note": ("ptvMessage", _film),
    "audio": ("audioMessage", lambda file: {"seconds": file.seconds}),
    "voice": ("audioMessage", lambda file: {"seconds": file.seconds, "PTT": True, "waveform": bytes(range(64))}),
    "document": ("documentMessage", lambda file: {"fileName": file.name, "title": file.name}),
    "sticker": (
        "stickerMessage",
        lambda file: {"width": file.width, "height": file.height, "isAnimated": file.animated},
    ),
}


def _location(asked: Send, found: Found) -> "e2e.Message":
    place = e2e.LocationMessage(degreesLatitude=asked.latitude, degreesLongitude=asked.longitude)
    place.name, place.address = asked.name, asked.address
    return e2e.Message(locationMessage=place)


def _live_location(asked: Send, found: Found) -> "e2e.Message":
    place = e2e.LiveLocationMessage(degreesLatitude=asked.latitude, degreesLongitude=asked.longitude)
    place.accuracyInMeters, place.sequenceNumber, place.caption = asked.accuracy_m, asked.sequence, asked.caption
    return e2e.Message(liveLocationMessage=place)


def _contact(asked: Send, found: Found) -> "e2e.Message":
    if len(asked.contacts) != 1:
        raise BadMessage("`contacts` has one entry for kind `contact`; there is `contacts` for more")
    return e2e.Message(contactMessage=_card(asked.contacts[0]))


def _contacts(asked: Send, found: Found) -> "e2e.Message":
    cards = [_card(card) for card in asked.contacts]
    return e2e.Message(contactsArrayMessage=e2e.ContactsArrayMessage(displayName=asked.name, contacts=cards))


def _card(card: Card) -> "e2e.ContactMessage":
    number = f"TEL;type=CELL;waid={card.phone}:+{card.phone}\n" if card.phone else ""
    made = f"BEGIN:VCARD\nVERSION:3.0\nN:;{card.name};;;\nFN:{card.name}\n{number}END:VCARD"
    return e2e.ContactMessage(displayName=card.name, vcard=card.vcard or made)


def _target(asked: Send, found: Found) -> Kept:
    if found.target is None:
        raise BadMessage(f"`target` is missing: the id of the message that the {asked.kind} is about")
    return found.target


def _reaction(asked: Send, found: Found) -> "e2e.Message":
    reaction = e2e.ReactionMessage(key=key_of(_target(asked, found)), text=asked.emoji)
    reaction.senderTimestampMS = found.now_s * 1000
    return e2e.Message(reactionMessage=reaction)


def _edit(asked: Send, found: Found) -> "e2e.Message":
    target = _target(asked, found)
    changed = e2e.Message()
    inner = unwrap(target.message)
    if inner.HasField("conversation") or inner.HasField("extendedTextMessage"):
        changed.conversation = asked.text or ""
    else:
        changed.CopyFrom(inner)
        held = next((value for _, value in changed.ListFields() if hasattr(value, "caption")), None)
        if held is None:
            raise BadMessage("only texts and captions can be edited")
        held.caption = asked.text or ""
    protocol = e2e.ProtocolMessage(key=key_of(target), type=e2e.ProtocolMessage.MESSAGE_EDIT)
    protocol.editedMessage.CopyFrom(changed)
    protocol.timestampMS = found.now_s * 1000
    inside = e2e.Message(protocolMessage=protocol)
    return e2e.Message(editedMessage=e2e.FutureProofMessage(message=inside))


def _revoke(asked: Send, found: Found) -> "e2e.Message":
    return _protocol(e2e.ProtocolMessage(key=key_of(_target(asked, found)), type=e2e.ProtocolMessage.REVOKE))


def _timer(asked: Send, found: Found) -> "e2e.Message":
    protocol = e2e.ProtocolMessage(type=e2e.ProtocolMessage.EPHEMERAL_SETTING, ephemeralExpiration=asked.expiration_s)
    asked.expiration_s = 0
    return _protocol(protocol)


def _protocol(protocol: "e2e.ProtocolMessage") -> "e2e.Message":
    return e2e.Message(protocolMessage=protocol)


def _pin(asked: Send, found: Found) -> "e2e.Message":
    kind = e2e.PinInChatMessage.PIN_FOR_ALL if asked.kind == "pin" else e2e.PinInChatMessage.UNPIN_FOR_ALL
    pin = e2e.PinInChatMessage(key=key_of(_target(asked, found)), type=kind, senderTimestampMS=found.now_s * 1000)
    return e2e.Message(pinInChatMessage=pin)


def _poll(asked: Send, found: Found) -> "e2e.Message":
    if not asked.question or len(asked.options) < 2:
        raise BadMessage("a poll needs a `question` and two or more `options`")
    options = [e2e.PollCreationMessage.Option(optionName=name) for name in asked.options]
    poll = e2e.PollCreationMessage(name=asked.question, options=options, selectableOptionsCount=asked.selectable)
    message = (
        e2e.Message(pollCreationMessageV3=poll) if asked.selectable == 1 else e2e.Message(pollCreationMessage=poll)
    )
    message.messageContextInfo.messageSecret = secrets.token_bytes(32)
    return message


def _vote(asked: Send, found: Found) -> "e2e.Message":
    target = _target(asked, found)
    poll = Poll(target.id, target.author, target.message)
    unknown = set(asked.options) - set(poll.options().values())
    if not poll.secret or unknown:
        raise BadMessage(f"not a poll, or without these options: {', '.join(sorted(unknown))}")
    vote = seal_vote(poll, found.me, asked.options)
    update = e2e.PollUpdateMessage(pollCreationMessageKey=key_of(target), vote=vote)
    update.senderTimestampMS = found.now_s * 1000
    return e2e.Message(pollUpdateMessage=update)


def _buttons(asked: Send, found: Found) -> "e2e.Message":
    held = e2e.ButtonsMessage(contentText=asked.text or "", footerText=asked.footer)
    held.headerType = e2e.ButtonsMessage.EMPTY
    for button in asked.buttons:
        shown = e2e.ButtonsMessage.Button.ButtonText(displayText=button.text)
        held.buttons.add(buttonID=button.id, buttonText=shown, type=e2e.ButtonsMessage.Button.RESPONSE)
    return e2e.Message(buttonsMessage=held)


def _buttons_response(asked: Send, found: Found) -> "e2e.Message":
    chosen = e2e.ButtonsResponseMessage(selectedButtonID=asked.id, selectedDisplayText=asked.text or "")
    chosen.type = e2e.ButtonsResponseMessage.DISPLAY_TEXT
    return e2e.Message(buttonsResponseMessage=chosen)


def _template_response(asked: Send, found: Found) -> "e2e.Message":
    chosen = e2e.TemplateButtonReplyMessage(selectedID=asked.id, selectedDisplayText=asked.text or "")
    return e2e.Message(templateButtonReplyMessage=chosen)


def _list(asked: Send, found: Found) -> "e2e.Message":
    held = e2e.ListMessage(title=asked.title, description=asked.text or "", buttonText=asked.button)
    held.footerText, held.listType = asked.footer, e2e.ListMessage.SINGLE_SELECT
    for section in asked.sections:
        added = held.sections.add(title=section.title)
        for row in section.rows:
            added.rows.add(rowID=row.id, title=row.title, description=row.description)
    return e2e.Message(listMessage=held)


def _list_response(asked: Send, found: Found) -> "e2e.Message":
    chosen = e2e.ListResponseMessage(title=asked.title, listType=e2e.ListResponseMessage.SINGLE_SELECT)
    chosen.singleSelectReply.selectedRowID = asked.id
    return e2e.Message(listResponseMessage=chosen)


def _interactive(asked: Send, found: Found) -> "e2e.Message":
    held = e2e.InteractiveMessage()
    held.header.title, held.body.text, held.footer.text = asked.title, asked.text or "", asked.footer
    for button in asked.buttons:
        params = msgspec.json.encode({"display_text": button.text, "id": button.id}).decode()
        held.nativeFlowMessage.buttons.add(name="quick_reply", buttonParamsJSON=params)
    held.nativeFlowMessage.messageVersion = 1
    return e2e.Message(interactiveMessage=held)


def _interactive_response(asked: Send, found: Found) -> "e2e.Message":
    held = e2e.InteractiveResponseMessage()
    held.body.text = asked.text or ""
    flow = held.nativeFlowResponseMessage
    flow.name, flow.paramsJSON, flow.version = asked.name or "menu_options", asked.params, 3
    return e2e.Message(interactiveResponseMessage=held)


def _raw(asked: Send, found: Found) -> "e2e.Message":
    try:
        return e2e.Message.FromString(decoded(asked.message or ""))
    except Exception as error:  # protobuf's own error is a class of its C library
        raise BadMessage(f"`message` is no waE2E.Message: {error}") from error


def decoded(text: str) -> bytes:
    """Return the bytes behind base64; raise `BadMessage`."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadMessage("no base64") from error


KINDS: Final[Mapping[str, Callable[[Send, Found], "e2e.Message"]]] = {
    "text": _text,
    **dict.fromkeys(FILES, _file),
    "location": _location,
    "live_location": _live_location,
    "contact": _contact,
    "contacts": _contacts,
    "reaction": _reaction,
    "poll": _poll,
    "vote": _vote,
    "edit": _edit,
    "revoke": _revoke,
    "timer": _timer,
    "pin": _pin,
    "unpin": _pin,
    "buttons": _buttons,
    "buttons_response": _buttons_response,
    "template_response": _template_response,
    "list": _list,
    "list_response": _list_response,
    "interactive": _interactive,
    "interactive_response": _interactive_response,
    "raw": _raw,
}
