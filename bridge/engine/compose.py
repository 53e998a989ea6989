"""Builds the protobuf of a message to send, by its kind. Pure; neonize's own helpers would fetch URLs and block.

Shapes are those of whatsmeow's `BuildEdit`, `BuildRevoke`, `BuildReaction` and `BuildPollCreation`.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.domain.identity import Server
from bridge.protos import common, e2e

Body = Mapping[str, Any]
"""What the command's row keeps of a send: plain JSON."""
_PARTICIPANT_SERVERS = frozenset({Server.GROUP.value, "broadcast"})
"""Chats in which the key of a message names its sender."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that a reply quotes. The recipient's phone shows it only when it knows `sender`, a JID."""

    message_id: str
    sender: str | None = None
    text: str | None = None


def compose(kind: str, body: Body, quote: Quote | None = None) -> bytes:
    """Return the serialised `waE2E.Message` of one of `COMPOSERS`."""
    return bytes(COMPOSERS[kind](body, context(body, quote)).SerializeToString())


def context(body: Body, quote: Quote | None = None) -> "e2e.ContextInfo | None":
    """Return what a message quotes, whom it mentions, and whether it was forwarded; None for nothing of that."""
    found = e2e.ContextInfo()
    if quote is not None:
        found.stanzaID = quote.message_id
        found.participant = quote.sender or ""
        found.quotedMessage.conversation = quote.text or ""
    found.mentionedJID.extend(body.get("mentions", ()))
    if body.get("forwarded"):
        found.isForwarded, found.forwardingScore = True, 1
    return found if found.ByteSize() else None


def _text(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    preview = body.get("link_preview")
    if context is None and preview is None:
        return e2e.Message(conversation=body["text"])
    extended = e2e.ExtendedTextMessage(text=body["text"], contextInfo=context)
    if preview is not None:
        extended.matchedText, extended.title = preview["url"], preview["title"]
        extended.description = preview.get("description", "")
        extended.JPEGThumbnail = base64.b64decode(preview.get("thumbnail_base64", ""))
    return e2e.Message(extendedTextMessage=extended)


def _location(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    return e2e.Message(
        locationMessage=e2e.LocationMessage(
            degreesLatitude=body["latitude"],
            degreesLongitude=body["longitude"],
            name=body.get("name"),
            address=body.get("address"),
            contextInfo=context,
        )
    )


def _contact(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    cards = [e2e.ContactMessage(displayName=card["name"], vcard=card["vcard"]) for card in body["contacts"]]
    if len(cards) == 1:
        cards[0].contextInfo.CopyFrom(context or e2e.ContextInfo())
        return e2e.Message(contactMessage=cards[0])
    several = e2e.ContactsArrayMessage(displayName=f"{len(cards)} contacts", contacts=cards, contextInfo=context)
    return e2e.Message(contactsArrayMessage=several)


def _poll(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    """Return a poll; its secret, by which votes are decrypted, was drawn when the poll was accepted."""
    poll = e2e.PollCreationMessage(
        name=body["question"],
        options=[e2e.PollCreationMessage.Option(optionName=option) for option in body["options"]],
        selectableOptionsCount=body["max_choices"],
        contextInfo=context,
    )
    secret = e2e.MessageContextInfo(messageSecret=base64.b64decode(body["secret"]))
    if body["max_choices"] == 1:  # what WhatsApp's own clients use for one answer
        return e2e.Message(pollCreationMessageV3=poll, messageContextInfo=secret)
    return e2e.Message(pollCreationMessage=poll, messageContextInfo=secret)


def _reaction(body: Body, _: "e2e.ContextInfo | None") -> "e2e.Message":
    reaction = e2e.ReactionMessage(key=_key(body), text=body["emoji"], senderTimestampMS=body["at_ms"])
    return e2e.Message(reactionMessage=reaction)


def _edit(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    change = e2e.ProtocolMessage(
        key=_key(body),
        type=e2e.ProtocolMessage.MESSAGE_EDIT,
        editedMessage=_text(body, context),
        timestampMS=body["at_ms"],
    )
    inner = e2e.Message(protocolMessage=change)
    return e2e.Message(editedMessage=e2e.FutureProofMessage(message=inner))


def _revoke(body: Body, _: "e2e.ContextInfo | None") -> "e2e.Message":
    change = e2e.ProtocolMessage(key=_key(body), type=e2e.ProtocolMessage.REVOKE)
    return e2e.Message(protocolMessage=change)


def _key(body: Body) -> "common.MessageKey":
    """Return the key of the message that this one is about, from `target`: message_id, chat, from_me, sender."""
    target = body["target"]
    key = common.MessageKey(remoteJID=target["chat"], fromMe=target["from_me"], ID=target["message_id"])
    if not target["from_me"] and target["chat"].rpartition("@")[2] in _PARTICIPANT_SERVERS:
        key.participant = target["sender"]
    return key


COMPOSERS: Mapping[str, Callable[[Body, "e2e.ContextInfo | None"], "e2e.Message"]] = {
    "text": _text,
    "interactive": _text,
    "location": _location,
    "contact": _contact,
    "poll": _poll,
    "reaction": _reaction,
    "edit": _edit,
    "revoke": _revoke,
}
"""By kind of the command."""
