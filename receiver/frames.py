"""What the receiver and a handler's process say to each other: JSON behind its length in four bytes."""

import struct

import msgspec

MAX_FRAME_BYTES = 8_000_000
"""A body is a million bytes at most; its envelope and what JSON adds to it fit into the rest."""

_LENGTH = struct.Struct("!I")


class Call(msgspec.Struct, frozen=True, tag="call", tag_field="frame"):
    """To the handler: an event; `body` is JSON as it was signed."""

    number: int
    id: str
    attempt: int
    cursor: int
    received_at: str
    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None
    body: msgspec.Raw


class Loaded(msgspec.Struct, frozen=True, tag="loaded", tag_field="frame"):
    """From the handler, once: it is imported, or why not."""

    error: str | None = None


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="frame"):
    """From the handler: call `number` has returned, or raised `error`."""

    number: int
    error: str | None = None


class BadFrame(Exception):
    """The other side sent what is no frame."""


def encode(frame: Call | Loaded | Done) -> bytes:
    """Return the bytes of a frame."""
    body = msgspec.json.encode(frame)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Collects bytes and returns the bodies of complete frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """Return the bodies that `data` completes; raise `BadFrame`."""
        self._data += data
        bodies = []
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > MAX_FRAME_BYTES:
                raise BadFrame
            end = _LENGTH.size + length
            if len(self._data) < end:
                break
            bodies.append(bytes(self._data[_LENGTH.size : end]))
            del self._data[:end]
        return bodies
