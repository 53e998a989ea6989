"""Encodes and decodes WhatsApp's binary XML, the form of everything that is said after the handshake.

A stanza is a tree of nodes: a tag, attributes, and as content nothing, bytes, or more nodes. On the wire it is one flag
byte (bit 2: the rest is zlib) and the tree, in which every value starts with a byte that says how it is written:

    0          nothing                            245       JID of another service
    1..235     a word of the dictionary           246       JID of Messenger, device in two bytes
    236..239   a word of the four larger ones,    247       JID with a device: agent, device, user
               whose index follows in one byte    250       JID without one: user, server
    248, 249   list, length in one or two bytes   251, 255  two characters a byte: upper-case hex; digits, `-` and `.`
                                                  252..254  bytes, length in one, 20 bits, or four bytes

A node is a list of tag, alternating keys and values, and at the end the content if there is any: so an even length
says that there is content. The dictionary is version 3 (the last byte of the connection header `WA 06 03`).

JIDs must be written as JIDs and not as the equal string, otherwise the client ignores the attribute. The format was
read from whatsmeow's packages `binary` and `binary/token`, and checked against the client itself.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from bridge.errors import BridgeError
from bridge.sandbox.jids import GROUP_SERVER, LID_SERVER, SERVER, USER_SERVER, Jid

__all__ = ["GROUP_SERVER", "LID_SERVER", "SERVER", "USER_SERVER", "Jid", "MalformedNode", "Node", "decode", "encode"]

MAX_INFLATED_BYTES: Final = 16 << 20
"""A frame holds less than 16 MiB (its length has three bytes); what it inflates to is held to the same bound."""
MAX_DEPTH: Final = 64
"""Real stanzas are less than ten deep; without a bound a few bytes per level would exhaust the stack."""


class MalformedNode(BridgeError):
    """The bytes are not a stanza."""

    code = "sandbox_malformed_node"
    status = 400


Value = str | int | Jid
Content = bytes | str | list["Node"] | None


class Node(msgspec.Struct, frozen=True):
    """One element of a stanza. Attributes that are None or empty are not written.

    A struct of msgspec, as `Jid` is: a stanza has a dozen, and they are made in a sixth of a frozen dataclass's time.
    """

    tag: str
    attrs: Mapping[str, Value | None] = {}
    content: Content = None

    def children(self) -> list["Node"]:
        """Return the nodes inside, none where the content is something else."""
        return self.content if isinstance(self.content, list) else []

    def child(self, *tags: str) -> "Node | None":
        """Return the first node on the way down `tags`, or None where there is no such way."""
        node = self
        for tag in tags:
            for candidate in node.children():
                if candidate.tag == tag:
                    node = candidate
                    break
            else:
                return None
        return node

    def all(self, tag: str) -> list["Node"]:
        """Return the direct children with this tag."""
        return [node for node in self.children() if node.tag == tag]

    def text(self, name: str, default: str = "") -> str:
        """Return an attribute as text: a JID is written out, a missing one is `default`."""
        value = self.attrs.get(name)
        return default if value is None else str(value)

    def jid(self, name: str) -> Jid | None:
        """Return an attribute as an address, whether it came as one or as text; None if it is missing."""
        value = self.attrs.get(name)
        return value if isinstance(value, Jid) or value is None else Jid.parse(str(value))

    def data(self) -> bytes:
        """Return the content as bytes: a content that is a word of the dictionary arrives as text."""
        if isinstance(self.content, str):
            return self.content.encode()
        return self.content if isinstance(self.content, bytes) else b""

    def with_attrs(self, **attrs: Value | None) -> "Node":
        """Return the same node with these attributes added or replaced."""
        return Node(self.tag, {**self.attrs, **attrs}, self.content)

    def __str__(self) -> str:
        """Return it as XML for people; long binary content is shown by its size."""
        head = self.tag + "".join(f' {key}="{value}"' for key, value in self.attrs.items())
        if self.content is None:
            return f"<{head}/>"
        if isinstance(self.content, list):
            inside = "".join(str(node) for node in self.content)
        elif isinstance(self.content, str):
            inside = self.content
        else:
            inside = self.content.hex() if len(self.content) < 40 else f"({len(self.content)} bytes)"
        return f"<{head}>{inside}</{self.tag}>"


_LIST_8, _LIST_16 = 248, 249
_JID_INTEROP, _JID_FB, _JID_DEVICE, _JID_PAIR = 245, 246, 247, 250
_HEX, _BYTES_8, _BYTES_20, _BYTES_32, _NIBBLE = 251, 252, 253, 254, 255
_DOUBLE_0, _DOUBLE_3 = 236, 239
_MAX_PACKED = 127
_FLAG_ZLIB = 2

_AGENTS = {0: USER_SERVER, 1: LID_SERVER, 128: "hosted", 129: "hosted.lid"}
_AGENT_OF = {server: agent for agent, server in _AGENTS.items()}

_DICTIONARY = json.loads(Path(__file__).with_name("tokens.json").read_text())
_SINGLE: list[str] = _DICTIONARY["single"]
_DOUBLE: list[list[str]] = _DICTIONARY["double"]
_TOKENS: dict[str, bytes] = {
    **{word: bytes([_DOUBLE_0 + page, at]) for page, words in enumerate(_DOUBLE) for at, word in enumerate(words)},
    **{word: bytes([at]) for at, word in enumerate(_SINGLE) if word},
}

# Two characters a byte is a hexadecimal string in disguise: `-` and `.` take the place of `a` and `b`, `f` fills up.
_IS_NIBBLE = re.compile(r"[0-9.\-]+").fullmatch
_IS_HEX = re.compile(r"[0-9A-F]+").fullmatch


def encode(node: Node) -> bytes:
    """Return the stanza's bytes, uncompressed (the client inflates but does not ask for it)."""
    out = bytearray(1)
    _write_node(out, node)
    return bytes(out)


def _write_node(out: bytearray, node: Node) -> None:
    attrs = [(key, value) for key, value in node.attrs.items() if value is not None and value != ""]
    content = node.content
    _write_list_length(out, 1 + 2 * len(attrs) + (content is not None))
    token_of = _TOKENS.get
    out += token_of(node.tag) or _literal(node.tag)
    for key, value in attrs:
        out += token_of(key) or _literal(key)
        if isinstance(value, Jid):
            out += _jid(value.user, value.server, value.device)
        else:
            text = value if isinstance(value, str) else str(value)
            out += token_of(text) or _literal(text)
    if isinstance(content, list):
        _write_list_length(out, len(content))
        for inner in content:
            _write_node(out, inner)
    elif isinstance(content, str):
        out += token_of(content) or _literal(content)
    elif content is not None:
        out += _bytes_head(len(content))
        out += content


def _write_list_length(out: bytearray, length: int) -> None:
    if length == 0:
        out.append(0)
    elif length < 1 << 8:
        out += bytes((_LIST_8, length))
    else:
        out.append(_LIST_16)
        out += length.to_bytes(2, "big")


def _literal(text: str) -> bytes:
    """Return a text that is not in the dictionary, packed where its characters allow it."""
    if len(text) <= _MAX_PACKED:
        if _IS_NIBBLE(text):
            return _packed(_NIBBLE, text.replace("-", "a").replace(".", "b"))
        if _IS_HEX(text):
            return _packed(_HEX, text)
    data = text.encode()
    return _bytes_head(len(data)) + data


def _packed(kind: int, digits: str) -> bytes:
    odd = len(digits) & 1
    packed = bytes.fromhex(digits + "f" if odd else digits)
    return bytes((kind, len(packed) | odd << 7)) + packed


def _bytes_head(length: int) -> bytes:
    if length < 1 << 8:
        return bytes((_BYTES_8, length))
    if length < 1 << 20:
        return bytes((_BYTES_20,)) + length.to_bytes(3, "big")
    return bytes((_BYTES_32,)) + length.to_bytes(4, "big")


@lru_cache(maxsize=8192)  # the same few addresses come in every stanza of a conversation
def _jid(user: str, server: str, device: int) -> bytes:
    name = _TOKENS.get(user) or _literal(user) if user else b"\0"
    if device and server in _AGENT_OF:
        return bytes((_JID_DEVICE, _AGENT_OF[server], device)) + name
    return bytes((_JID_PAIR,)) + name + (_TOKENS.get(server) or _literal(server))


def decode(data: bytes) -> Node:
    """Return the stanza; raise `MalformedNode` for anything else, whatever the bytes are."""
    if not data:
        raise MalformedNode("no bytes")
    body = _inflate(data[1:]) if data[0] & _FLAG_ZLIB else data[1:]
    reader = _Reader(body)
    try:
        node = reader.node(0)
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedNode("cut short or wrongly encoded") from error
    if reader.at != len(body):
        raise MalformedNode("bytes behind its end")
    return node


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise MalformedNode("bad compression") from error
    if not inflater.eof:
        raise MalformedNode("compressed part is cut short or too large")
    return body


class _Reader:
    """A position in the bytes of one stanza. Reading past the end raises IndexError."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise IndexError
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def node(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise MalformedNode("nested too deeply")
        length = self.list_length(self.byte())
        if length == 0:
            raise MalformedNode("no tag")
        tag = self.text()
        attrs: dict[str, Value | None] = {}
        for _ in range((length - 1) >> 1):
            key = self.text()
            attrs[key] = self.value()
        return Node(tag, attrs, None if length & 1 else self.content(depth))

    def list_length(self, kind: int) -> int:
        if kind == _LIST_8:
            return self.byte()
        if kind == _LIST_16:
            return self.number(2)
        if kind == 0:
            return 0
        raise MalformedNode(f"{kind} where a list was expected")

    def content(self, depth: int) -> Content:
        kind = self.byte()
        if kind in (_LIST_8, _LIST_16):
            return [self.node(depth + 1) for _ in range(self.list_length(kind))]
        if _BYTES_8 <= kind <= _BYTES_32:
            return self.blob(kind)
        value = self.value_of(kind)
        return None if value is None else str(value)

    def blob(self, kind: int) -> bytes:
        if kind == _BYTES_8:
            return self.take(self.byte())
        # The 20-bit length stands in three bytes; the upper four bits are not part of it.
        return self.take(self.number(3) & 0xFFFFF if kind == _BYTES_20 else self.number(4))

    def text(self) -> str:
        """Read a tag, a key, or a part of a JID."""
        kind = self.data[self.at]
        self.at += 1
        value = _SINGLE[kind] if 0 < kind < _DOUBLE_0 else self.value_of(kind)
        if not isinstance(value, str):
            raise MalformedNode("text was expected")
        return value

    def value(self) -> str | Jid | None:
        kind = self.data[self.at]
        self.at += 1
        return _SINGLE[kind] if 0 < kind < _DOUBLE_0 else self.value_of(kind)

    def value_of(self, kind: int) -> str | Jid | None:
        if kind < _DOUBLE_0:
            return _SINGLE[kind] if kind else None
        if kind <= _DOUBLE_3:
            return _DOUBLE[kind - _DOUBLE_0][self.byte()]
        if kind in (_NIBBLE, _HEX):
            return self.packed(kind)
        if _BYTES_8 <= kind <= _BYTES_32:
            return self.blob(kind).decode()
        read = _JIDS.get(kind)
        if read is None:
            raise MalformedNode(f"{kind} where a value was expected")
        return read(self)

    def packed(self, kind: int) -> str:
        head = self.byte()
        digits = self.take(head & 0x7F).hex()
        if head & 0x80:
            digits = digits[:-1]
        return digits.replace("a", "-").replace("b", ".") if kind == _NIBBLE else digits.upper()

    def jid_pair(self) -> Jid:
        user = self.value()
        return Jid(str(user or ""), self.text())

    def jid_device(self) -> Jid:
        agent, device = self.byte(), self.byte()
        return Jid(self.text(), _AGENTS.get(agent, USER_SERVER), device)

    def jid_messenger(self) -> Jid:
        user, device = self.text(), self.number(2)
        return Jid(user, self.text(), device)

    def jid_interop(self) -> Jid:
        user, device, _integrator = self.text(), self.number(2), self.number(2)
        return Jid(user, self.text(), device)


_JIDS: dict[int, Callable[[_Reader], Jid]] = {
    _JID_PAIR: _Reader.jid_pair,
    _JID_DEVICE: _Reader.jid_device,
    _JID_FB: _Reader.jid_messenger,
    _JID_INTEROP: _Reader.jid_interop,
}
