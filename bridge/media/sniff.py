"""What a file is, by its first bytes: what a server, a caller or a name says about it counts for little."""

import mimetypes
from pathlib import PurePosixPath

import puremagic

HEAD_BYTES = 4_096
"""So many bytes are looked at."""
UNKNOWN = "application/octet-stream"
_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    UNKNOWN: ".bin",
}
"""By type without parameters; beyond these Python's own table. The first of several spellings is the usual one."""
_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime", b"heic": "image/heic"}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_CONTAINERS = frozenset({"application/zip", "application/x-ole-storage", "text/plain", UNKNOWN})
"""Types that say little: a name may say more (an office document is a zip file)."""


def sniff(head: bytes, name: str = "") -> str:
    """Return the MIME type of a file that begins with `head`; of a mere container the one that `name` says."""
    found = _by_magic(head)
    if found in _CONTAINERS and name:
        told = mimetypes.guess_type(PurePosixPath(name).name)[0]
        if told is not None and not told.startswith(("image/", "video/", "audio/", "text/html")):
            return told
    return found


def extension(mime_type: str) -> str:
    """Return the file name's ending, with its dot."""
    bare = mime_type.partition(";")[0].strip().lower()
    return _EXTENSIONS.get(bare) or mimetypes.guess_extension(bare) or ".bin"


def _by_magic(head: bytes) -> str:
    """Return the type by what a file of a kind must begin with; for the rest puremagic's best guess."""
    by_start = next((mime_type for magic, mime_type in _MAGIC if head.startswith(magic)), None)
    return by_start or _by_container(head) or _guess(head)


def _by_container(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return _BRANDS.get(brand, "video/3gpp" if brand.startswith(b"3g") else "video/mp4")
    match head[:4]:
        case b"RIFF":
            return _RIFF.get(head[8:12])
        case b"OggS":
            return "video/ogg" if b"theora" in head[:128] else "audio/ogg"
        case b"\x1aE\xdf\xa3":
            return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # an MPEG audio frame, or one of ADTS
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"
    return None


_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
    (b"fLaC", "audio/flac"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
)


def _guess(head: bytes) -> str:
    try:
        found = str(puremagic.from_string(head, mime=True)) if head else ""
    except (puremagic.PureError, ValueError):
        found = ""
    # a guess by puremagic is no reason to decode a file: what we decode is told by the tables above
    if found and not found.startswith(("image/", "video/", "audio/", "text/")):
        return found
    return "text/plain" if _is_text(head) else UNKNOWN


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character that goes on behind the head
    return True
