"""What bridge and engine host say to each other: frames of a 4-byte big-endian length and a msgpack array.

One array per message, its first element the kind. Both ends are of one release, so there is no negotiation: `VERSION`
in the first frame only catches a child that runs other code.
"""

import struct
from typing import Any, Generic, TypeVar

import msgspec

VERSION = 1
FRAME_LIMIT = 64 * 1024 * 1024
TOO_LARGE = b"larger than the limit"
"""The answer to `DownloadFile` for a file that was not written."""
"""Bytes of one frame; media never travel in a frame."""

_LENGTH = struct.Struct(">I")


Argument = bytes | str | bool | int | float
"""Of a function of the library: bytes go as a pointer and a length, text as a C string, numbers as they are."""


class BadFrame(Exception):
    """The other side sent what is no frame of this protocol: end the connection, the stream can't be resynchronised."""


class SandboxTrust(msgspec.Struct, frozen=True, array_like=True):
    """What a host needs to talk to a local WhatsApp server instead of the real one."""

    proxy: str
    """`http://host:port` of the sandbox: whatever the engine dials goes there."""
    root_key_hex: str
    """The sandbox's root key, 32 bytes in hex."""
    ca_file: str
    """PEM file of the authority that signed the sandbox's TLS certificate."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first frame: secrets travel here, never in arguments or the environment."""

    version: int
    database_url: str
    journal_dir: str
    device_props: bytes
    """Serialised `DeviceProps`: what the phone lists as the linked device."""
    sandbox: SandboxTrust | None = None
    settle_timeout_s: float = 30.0
    history: bool = False

    def __repr__(self) -> str:
        return f"Hello(version={self.version})"  # the URL has a password, and what has a repr ends in a log


class Open(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Start a session; without `jid`, a new device that wants to be paired."""

    call: int
    key: str
    jid: bytes
    """Serialised `JID` of a stored device, empty for a new one."""


class Call(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Call a function of the library for a session."""

    call: int
    key: str
    method: str
    arguments: tuple[Any, ...] = ()
    """`Argument`s; msgspec does not tell bytes from text in a union, msgpack does."""
    expires_at: float = 0.0
    """Monotonic clock, which the processes of one machine share: not begun by then, it is refused."""


class Close(msgspec.Struct, frozen=True, array_like=True, tag=4):
    call: int
    key: str


class Progress(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """How far a session's records got."""

    key: str
    opened: int
    """`call` of the `Open` that this is about: an earlier session of the same key counted its own."""
    taken: int
    """How many records the consumer has taken; makes room for more."""
    acked: int
    """Up to which `seq` they are stored, so that the journal may forget them."""


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=6):
    number: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Leave WhatsApp with every session, then exit."""

    grace_s: float


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """The first frame of a host: it can take sessions."""

    version: int
    pid: int
    start_s: float


class Item(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """One record of a session."""

    key: str
    seq: int
    at: float
    code: int
    payload: bytes
    replayed: bool = False


class Reply(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """The answer to `Open`, `Call` or `Close`."""

    call: int
    result: bytes = b""
    refused: str = ""
    """Why the library was not called at all: it is certain that nothing happened."""
    error: str = ""
    """Why it failed while or after it was called."""


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=35):
    number: int
    sessions: int
    rss_kb: int
    threads: int
    records: int
    slowest_append_us: int
    """The longest time that a callback took since the last answer."""


FromBridge = Hello | Open | Call | Close | Progress | Ping | Stop
FromHost = Ready | Item | Reply | Pong

_encoder = msgspec.msgpack.Encoder()


def encode(message: FromBridge | FromHost) -> bytes:
    """Return the frame of `message`; raise `BadFrame` when it is too large to be one."""
    body = _encoder.encode(message)
    if len(body) > FRAME_LIMIT:
        raise BadFrame(f"{type(message).__name__} of {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


Message = TypeVar("Message")


class Decoder(Generic[Message]):
    """Cuts a byte stream into messages: feed it what arrives, in pieces of any size."""

    def __init__(self, kinds: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kinds)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes; raise `BadFrame` at the first byte that can't be right."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start, size = 0, len(buffer)
        with memoryview(buffer) as view:
            while size - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                if length > FRAME_LIMIT:
                    raise BadFrame(f"a frame of {length} bytes")
                end = start + _LENGTH.size + length
                if end > size:
                    break
                try:
                    messages.append(self._decoder.decode(view[start + _LENGTH.size : end]))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise BadFrame(str(error)) from None
                start = end
        if start:
            del buffer[:start]
        return messages


def bridge_side() -> Decoder[FromHost]:
    """Return a decoder of what hosts say."""
    return Decoder(FromHost)


def host_side() -> Decoder[FromBridge]:
    """Return a decoder of what the bridge says."""
    return Decoder(FromBridge)
