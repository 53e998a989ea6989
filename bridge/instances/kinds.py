"""The kinds of messages that can be sent: how each gets to WhatsApp, and what our own rows say of it.

The HTTP API's side of a kind, its path and its request's schema, is `bridge.api.sends`; a test holds the two together.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bridge.engine.compose import Body, Quote, compose
from bridge.engine.session import Sent, Session
from bridge.instances.outbox import Outgoing

Deliver = Callable[[Session, Outgoing, Quote | None, float], Awaitable[Sent]]
"""Sends a message within so many seconds; raises `EngineError`, whose `certain` is False when it may have gone out."""


async def composed(session: Session, message: Outgoing, quote: Quote | None, timeout_s: float) -> Sent:
    """Send what `bridge.engine.compose` makes of a body."""
    return await session.send(message.to, compose(message.kind, message.body, quote), timeout_s)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message."""

    deliver: Deliver | None = composed
    """None for one with a file: `bridge.instances.attach` sends it."""
    text: Callable[[Body], str | None] = lambda body: body.get("text")
    """The words that the message's row keeps."""
    has_row: bool = True
    """Whether it is a message of its own; what only changes another one is none."""


ATTACHED = Kind(deliver=None, text=lambda body: body.get("caption"))

KINDS: Mapping[str, Kind] = {
    "text": Kind(),
    "image": ATTACHED,
    "video": ATTACHED,
    "audio": ATTACHED,
    "document": ATTACHED,
    "sticker": ATTACHED,
    "interactive": Kind(),
    "location": Kind(text=lambda body: body.get("name")),
    "contact": Kind(text=lambda body: ", ".join(card["name"] for card in body["contacts"])),
    "poll": Kind(text=lambda body: str(body["question"])),
    "reaction": Kind(has_row=False),
    "edit": Kind(has_row=False),
    "revoke": Kind(has_row=False),
}
"""By the `kind` of a command's row, which is also the message's kind in events and answers."""
