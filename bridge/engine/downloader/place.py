"""Says where the file of a message is, and with which keys it opens. Pure.

A stranger wrote the message. A direct path is asked for at WhatsApp's own media host, whatever else the message says; a
URL counts only where there is no path, and only at a host of WhatsApp's. (The library asks WhatsApp for hosts near by;
that host has every file, and is the one that other clients take.)
"""

import base64
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from google.protobuf.message import DecodeError

from bridge.protos import e2e

MEDIA_HOST: Final = "mmg.whatsapp.net"
_DOMAIN: Final = ".whatsapp.net"
_NO_FILES: Final = "web.whatsapp.net"
"""Its URLs were never to be fetched: whatsmeow passed over them as long as it took URLs."""
_HASH_BYTES: Final = 32
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_KINDS: Final = {
    "imageMessage": ("WhatsApp Image Keys", "image"),
    "videoMessage": ("WhatsApp Video Keys", "video"),
    "audioMessage": ("WhatsApp Audio Keys", "audio"),
    "documentMessage": ("WhatsApp Document Keys", "document"),
    "stickerMessage": ("WhatsApp Image Keys", "image"),
}
"""The word for a kind of file in its keys and in its address, as in whatsmeow's download.go."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file at a host of WhatsApp's."""

    host: str
    target: str
    """Path and query."""
    info: str
    media_key: bytes = field(repr=False)
    sealed_sha256: bytes
    """Empty where the file is not sealed: channels have such."""
    sha256: bytes
    """Anything but 32 bytes fits no file."""


def place_of(source: bytes) -> Place | None:
    """Return where the file is that a serialised `waE2E.Message` names; None where the library has words for it.

    Those are of messages that name no file, or none that it would ask for. What it would read into memory to find
    something wrong with it has a place.
    """
    try:
        message = e2e.Message.FromString(source)
    except DecodeError:
        return None
    part = next((name for name in _KINDS if message.HasField(name)), None)
    if part is None:
        return None
    file = getattr(message, part)
    info, word = _KINDS[part]
    if file.HasField("fileEncSHA256") and len(file.fileEncSHA256) != _HASH_BYTES:
        return None
    found = _with_path(file, word) if file.directPath else _with_url(file.URL)
    if found is None or not found[1].startswith("/"):
        return None
    host, target = found
    target = quote(target.partition("#")[0], safe=_PRINTABLE)
    return Place(host, target, info, file.mediaKey, file.fileEncSHA256, file.fileSHA256)


def _with_path(file: Any, word: str) -> tuple[str, str]:
    token = base64.urlsafe_b64encode(file.fileEncSHA256).decode()
    return MEDIA_HOST, f"{file.directPath}&hash={token}&mms-type={word}&__wa-mms="


def _with_url(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme != "https" or port not in (None, 443) or parts.username is not None or parts.password is not None:
        return None
    if not host.endswith(_DOMAIN) or host == _NO_FILES or not re.fullmatch(r"[a-z0-9.-]+", host):
        return None
    return host, parts.path + (f"?{parts.query}" if parts.query else "")
