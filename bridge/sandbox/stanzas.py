"""What a message's stanza says in the clear about the message inside: its type, the kind of media, whether it edits.

Servers and clients route by it without reading the message: a revoke is `edit="7"`, a poll `type="poll"` with a
`<meta>`, a file `type="media"` with `mediatype` on its `<enc>`. Pure; the rules are those of whatsmeow's `send.go`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.protos import e2e
from bridge.sandbox.nodes import Node

WRAPPERS: Final = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "lottieStickerMessage",
    "editedMessage",
)
"""Fields that hold a whole message, which counts in the place of the outer one (`FutureProofMessage`)."""

POLLS: Final = ("pollCreationMessage", "pollCreationMessageV2", "pollCreationMessageV3", "pollCreationMessageV5")

_MEDIA_TYPES: Final[dict[str, Callable[["e2e.Message"], str]]] = {
    "imageMessage": lambda _: "image",
    "stickerMessage": lambda _: "sticker",
    "documentMessage": lambda _: "document",
    "audioMessage": lambda m: "ptt" if m.audioMessage.PTT else "audio",
    "videoMessage": lambda m: "gif" if m.videoMessage.gifPlayback else "video",
    "ptvMessage": lambda _: "video",
    "locationMessage": lambda _: "location",
    "liveLocationMessage": lambda _: "livelocation",
    "contactMessage": lambda _: "vcard",
    "contactsArrayMessage": lambda _: "contact_array",
    "listMessage": lambda _: "list",
    "listResponseMessage": lambda _: "list_response",
    "buttonsResponseMessage": lambda _: "buttons_response",
    "interactiveResponseMessage": lambda _: "native_flow_response",
}
_EDIT, _PIN, _SENDER_REVOKE, _ADMIN_REVOKE = "1", "2", "7", "8"


@dataclass(frozen=True, slots=True)
class Outside:
    """What stands outside the encryption. Empty texts are left out."""

    type: str = "text"
    media_type: str = ""
    edit: str = ""
    nodes: tuple[Node, ...] = ()


def unwrap(message: "e2e.Message") -> "e2e.Message":
    """Return the message inside all wrappers."""
    while True:
        for name in WRAPPERS:
            if message.HasField(name):
                message = getattr(message, name).message
                break
        else:
            return message


def poll_of(message: "e2e.Message") -> "e2e.PollCreationMessage | None":
    """Return the poll that a message asks, in whatever version, None if it asks none."""
    for name in POLLS:
        if message.HasField(name):
            return getattr(message, name)
    return None


def outside(message: "e2e.Message") -> Outside:
    """Return what the message's stanza is to say."""
    inner = unwrap(message)
    if poll_of(inner) is not None:
        return Outside("poll", nodes=(Node("meta", {"polltype": "creation"}),))
    if inner.HasField("pollUpdateMessage"):
        return Outside("poll", nodes=(Node("meta", {"polltype": "vote"}),))
    if inner.HasField("reactionMessage"):
        return Outside("reaction", edit="" if inner.reactionMessage.text else _SENDER_REVOKE)
    if inner.HasField("pinInChatMessage"):
        return Outside(edit=_PIN)
    if inner.HasField("protocolMessage"):
        return Outside(edit=_edit(inner.protocolMessage))
    media = next((word(inner) for name, word in _MEDIA_TYPES.items() if inner.HasField(name)), "")
    if not media and inner.HasField("extendedTextMessage") and inner.extendedTextMessage.HasField("title"):
        media = "url"
    return Outside("media" if media else "text", media)


def _edit(protocol: "e2e.ProtocolMessage") -> str:
    if protocol.type == e2e.ProtocolMessage.REVOKE and protocol.HasField("key"):
        return _SENDER_REVOKE if protocol.key.fromMe else _ADMIN_REVOKE
    return _EDIT if protocol.type == e2e.ProtocolMessage.MESSAGE_EDIT else ""
