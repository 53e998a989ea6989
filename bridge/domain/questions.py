"""What an instance can be asked to find out or to do at WhatsApp, beside sending: a question and its answer are values.

The HTTP API asks `Directory.query` with one of these; `bridge.engine.answers` has one function for each.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Question(Generic[T]):
    """Something to ask the engine for; its answer is a `T`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PhoneFound:
    """What WhatsApp says about a phone number."""

    phone: str
    """Digits, as they were asked for."""
    exists: bool
    jid: str | None
    """The account's canonical JID; WhatsApp may spell the number in another way."""
    verified_name: str | None = None


@dataclass(frozen=True, slots=True)
class MarkRead(Question[None]):
    """Tell the sender that messages of a chat were read."""

    chat: str
    sender: str
    message_ids: tuple[str, ...]
    at: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class RejectCall(Question[None]):
    """End a call that rings, before anybody takes it. WhatsApp takes the wish without an answer."""

    caller: str
    """The JID under which the call came."""
    call_id: str


@dataclass(frozen=True, slots=True)
class PhoneOfLid(Question[str | None]):
    """The JID with the phone number behind a LID; None where WhatsApp has not told us."""

    lid: str


@dataclass(frozen=True, slots=True)
class LidOfPhone(Question[str | None]):
    """The LID behind a user's JID; None where WhatsApp has not told us."""

    jid: str


@dataclass(frozen=True, slots=True)
class OnWhatsApp(Question[tuple[PhoneFound, ...]]):
    """Which phone numbers (digits) have an account."""

    phones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping(Question[None]):
    """Whether WhatsApp answers at all. It is a small query that changes nothing and is answered by its servers."""
