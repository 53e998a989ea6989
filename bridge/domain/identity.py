"""Reads who a message is for: one parser from everything that callers write to one canonical JID.

Forms: a phone number (E.164, with the spaces, dashes, plus and parentheses that people write), a user JID, a LID, a
group id or a newsletter. Guessing sends a message to a stranger, so that what is ambiguous is refused with a text that
says what to write instead. The shapes are those of whatsmeow's `types/jid.go`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_LENGTH = 128
"""Characters: more than any identity with its decoration."""


class Server(StrEnum):
    """The part of a JID behind the @: what kind of thing it names."""

    USER = "s.whatsapp.net"
    LID = "lid"
    GROUP = "g.us"
    NEWSLETTER = "newsletter"


class InvalidRecipient(ValueError):
    """This recipient cannot be read; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody or something that a message can be sent to."""

    user: str
    server: Server

    @property
    def jid(self) -> str:
        """The canonical form, which `parse_recipient` reads as the same recipient."""
        return f"{self.user}@{self.server.value}"

    @property
    def phone(self) -> str | None:
        """E.164 digits without the plus; None where the number is not part of the identity."""
        return self.user if self.server is Server.USER else None


_SERVERS = {
    "s.whatsapp.net": Server.USER,
    "c.us": Server.USER,  # the web client's old name for it
    "lid": Server.LID,
    "g.us": Server.GROUP,
    "newsletter": Server.NEWSLETTER,
}
_PHONE = re.compile(r"[1-9][0-9]{4,14}")  # E.164: 15 digits at the most, and no country code begins with 0
_NUMERIC_ID = re.compile(r"[0-9]{5,25}")
_OLD_GROUP = re.compile(r"[1-9][0-9]{4,14}-[0-9]{10}")  # its creator's number and the second of its creation
_NEW_GROUP = re.compile(r"120363[0-9]{10,19}")
_DEVICE = re.compile(r"(\.[0-9]{1,3})?(:[0-9]{1,5})?")
_DECORATION = re.compile(r"[\s()\-\u2010-\u2015\u202a-\u202e\u2066-\u2069\u200e\u200f]")
"""What people and address books put between digits: spaces, dashes, parentheses, marks of direction."""


def parse_recipient(text: str) -> Recipient:
    """Return whom `text` names; raise `InvalidRecipient` with advice. Costs a few microseconds."""
    stripped = text.strip()
    if not stripped:
        raise InvalidRecipient("is empty; give a phone number with its country code, or a JID")
    if len(stripped) > MAX_LENGTH:
        raise InvalidRecipient(f"is longer than {MAX_LENGTH} characters")
    if "@" in stripped:
        return _parse_jid(stripped)
    if (_OLD_GROUP.fullmatch(stripped) and len(stripped) > 16) or _NEW_GROUP.fullmatch(stripped):
        return Recipient(stripped, Server.GROUP)
    return Recipient(_digits(stripped), Server.USER)


def _parse_jid(text: str) -> Recipient:
    user, _, name = text.rpartition("@")
    name = name.lower()
    server = _SERVERS.get(name)
    match server:
        case None if name == "broadcast":
            raise InvalidRecipient("is a broadcast list or the status, which messages cannot be sent to")
        case None:
            raise InvalidRecipient(f"has an unknown server after the @; known are {', '.join(sorted(_SERVERS))}")
        case Server.USER:
            return Recipient(_without_device(user, _PHONE, "5 to 15 digits that do not begin with 0"), server)
        case Server.LID:
            return Recipient(_without_device(user, _NUMERIC_ID, "5 to 25 digits"), server)
        case Server.GROUP:
            if not (_NUMERIC_ID.fullmatch(user) or _OLD_GROUP.fullmatch(user)):
                raise InvalidRecipient("is not a group id: before @g.us stand digits, or digits-digits for old groups")
            return Recipient(user, server)
        case Server.NEWSLETTER:
            if not _NUMERIC_ID.fullmatch(user):
                raise InvalidRecipient("is not a newsletter: before @newsletter stand 5 to 25 digits")
            return Recipient(user, server)


def _without_device(user: str, shape: re.Pattern[str], words: str) -> str:
    """Return the account of `user`: a message goes to an account, never to one of its devices."""
    found = shape.match(user)
    if found is None or not _DEVICE.fullmatch(user, found.end()):
        raise InvalidRecipient(f"has a wrong part before the @: expected {words}")
    return found.group()


def _digits(text: str) -> str:
    if "(0)" in text:
        raise InvalidRecipient("contains (0), which is not dialled from abroad; leave it out")
    bare = _DECORATION.sub("", text)
    digits = bare.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidRecipient(
            "is neither a phone number (digits, spaces, dashes, parentheses, a + in front) nor a JID"
        )
    if digits.startswith("00"):
        raise InvalidRecipient("begins with 00; write the country code without it")
    if digits.startswith("0"):
        raise InvalidRecipient("begins with 0; write the number with its country code")
    if not _PHONE.fullmatch(digits):
        raise InvalidRecipient(f"has {len(digits)} digits; a phone number with its country code has 5 to 15")
    return digits


def phone_of(jid: str | None) -> str | None:
    """Return the digits of a device's or user's JID, None when it names something else."""
    if jid is None:
        return None
    try:
        return _parse_jid(jid).phone if "@" in jid else None
    except InvalidRecipient:
        return None
