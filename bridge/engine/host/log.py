"""Writes the library's log entries to stderr, which the bridge reads, scrubs and limits.

One of them is more than a line for people: that a message is ignored because its keys are used up. It was decrypted
before, and if the process died between that and our journal, this is the only trace of it.
"""

import re
import sys

_LENGTH_DELIMITED = 2
_MESSAGE, _LEVEL, _NAME = 1, 2, 3
"""Fields of neonize's `LogEntry`, all of them strings: not worth 10 MB of protobuf classes in every host."""


_IGNORED = re.compile(r"Ignoring message (?P<id>\S+) from (?P<sender>\S+?)(?: in (?P<chat>\S+?))?: ")


def ignored(text: str) -> str | None:
    """Return id, sender and chat of a message that the library says to ignore, None when it says anything else."""
    match = _IGNORED.match(text)
    return f"{match['id']} {match['sender']} {match['chat'] or match['sender']}" if match is not None else None


def write(entry: bytes, key: str) -> str:
    """Write one serialised `LogEntry` of the session `key` as a line, which librarylog.py reads; return its text.

    May be called from any thread.
    """
    try:
        fields = _strings(entry)
    except (IndexError, ValueError):
        fields = {_MESSAGE: "a log entry that can't be read"}
    text = fields.get(_MESSAGE, "").replace("\n", "\\n")
    name = fields.get(_NAME, "").replace(" ", "_")
    print(f"whatsmeow {fields.get(_LEVEL, 'WARN')} {key} {name}: {text}", file=sys.stderr)
    return text


def _strings(entry: bytes) -> dict[int, str]:
    fields = {}
    at = 0
    while at < len(entry):
        tag, at = _varint(entry, at)
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError(tag)
        length, at = _varint(entry, at)
        fields[tag >> 3] = entry[at : at + length].decode(errors="replace")
        at += length
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
