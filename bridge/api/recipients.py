"""Reads whom a request names, wherever it names somebody."""

from typing import Any

from bridge.api.problems import InvalidField, InvalidRecipientField
from bridge.domain.identity import InvalidRecipient, Recipient, Server, parse_recipient

NAMES = ("to", "chat", "phone")
"""The fields that name the recipient or the chat; those of them that are given must agree."""
_PEOPLE = frozenset({Server.USER, Server.LID})


def recipient(request: Any) -> Recipient:
    """Return whom `to` or its aliases name; raise `InvalidRecipientField`, or `InvalidField` for two people."""
    given = {name: text for name in NAMES if (text := getattr(request, name, None))}
    if not given:
        raise InvalidField("phone", "is required: a phone number with its country code, or a JID")
    found = {name: read(name, text) for name, text in given.items()}
    first, *others = found.items()
    for name, other in others:
        if other != first[1]:
            raise InvalidField(name, f"and `{first[0]}` name different recipients; give one of them")
    return first[1]


def read(field: str, text: str) -> Recipient:
    """Return whom the field's text names; raise `InvalidRecipientField`."""
    try:
        return parse_recipient(text)
    except InvalidRecipient as error:
        raise InvalidRecipientField(field, str(error)) from None


def person(field: str, text: str) -> Recipient:
    """Return the person whom the field's text names; raise `InvalidRecipientField`, also for a group."""
    found = read(field, text)
    if found.server not in _PEOPLE:
        raise InvalidRecipientField(field, "must be a person: a phone number, a JID or a LID")
    return found
