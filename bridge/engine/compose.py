"""Builds the protobuf of a message to send, by its kind. Pure; neonize's own helpers would fetch URLs and block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.protos import e2e

Body = Mapping[str, Any]
"""What the command's row keeps of a send: plain JSON."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that a reply quotes. The recipient's phone shows it only when it knows `sender`, a JID."""

    message_id: str
    sender: str | None = None
    text: str | None = None


def compose(kind: str, body: Body, quote: Quote | None = None) -> bytes:
    """Return the serialised `waE2E.Message` of one of `COMPOSERS`."""
    return bytes(COMPOSERS[kind](body, context(body, quote)).SerializeToString())


def context(body: Body, quote: Quote | None) -> "e2e.ContextInfo | None":
    """Return what a message quotes; None for nothing."""
    if quote is None:
        return None
    return e2e.ContextInfo(
        stanzaID=quote.message_id,
        participant=quote.sender or "",
        quotedMessage=e2e.Message(conversation=quote.text or ""),
    )


def _text(body: Body, context: "e2e.ContextInfo | None") -> "e2e.Message":
    if context is None:
        return e2e.Message(conversation=body["text"])
    return e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text=body["text"], contextInfo=context))


COMPOSERS: Mapping[str, Callable[[Body, "e2e.ContextInfo | None"], "e2e.Message"]] = {
    "text": _text,
}
"""By kind of the command."""
