"""Writes the library's log entries to stderr, which the bridge reads, scrubs and limits."""

import sys

_LENGTH_DELIMITED = 2
_MESSAGE, _LEVEL, _NAME = 1, 2, 3
"""Fields of neonize's `LogEntry`, all of them strings: not worth 10 MB of protobuf classes in every host."""


def write(entry: bytes) -> None:
    """Write one serialised `LogEntry` as a line; may be called from any thread."""
    try:
        fields = _strings(entry)
    except (IndexError, ValueError):
        fields = {_MESSAGE: "a log entry that can't be read"}
    text = fields.get(_MESSAGE, "").replace("\n", "\\n")
    print(f"whatsmeow {fields.get(_LEVEL, '')} {fields.get(_NAME, '')}: {text}", file=sys.stderr)


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
