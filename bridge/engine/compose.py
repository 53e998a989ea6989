"""Builds the protobuf of a message to send. Pure; neonize's own helpers would fetch URLs and block."""

from bridge.protos import e2e


def text_message(
    text: str, *, reply_to: str | None = None, reply_sender: str | None = None, reply_text: str | None = None
) -> bytes:
    """Return a serialised `waE2E.Message` with `text`, as an answer to the message `reply_to` when that is given.

    The recipient's phone shows the quoted message only when it knows its sender (`reply_sender`, a JID without device).
    """
    if reply_to is None:
        return bytes(e2e.Message(conversation=text).SerializeToString())
    context = e2e.ContextInfo(
        stanzaID=reply_to,
        participant=reply_sender or "",
        quotedMessage=e2e.Message(conversation=reply_text or ""),
    )
    extended = e2e.ExtendedTextMessage(text=text, contextInfo=context)
    return bytes(e2e.Message(extendedTextMessage=extended).SerializeToString())
