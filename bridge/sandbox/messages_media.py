"""Finds the file of a message."""

from typing import Final

from bridge.protos import e2e
from bridge.sandbox.attachments import Sealed
from bridge.sandbox.media_files import Attachment
from bridge.sandbox.stanzas import unwrap

_FILE_OF: Final = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}


def attachment_of(message: "e2e.Message") -> tuple[Attachment, str] | None:
    """Return the file that a message says it has, and its MIME type; None if it has none."""
    inner = unwrap(message)
    for name, kind in _FILE_OF.items():
        if inner.HasField(name):
            file = getattr(inner, name)
            sealed = Sealed(file.mediaKey, file.fileSHA256, file.fileEncSHA256, file.fileLength)
            return Attachment(kind, file.directPath, sealed), file.mimetype
    return None
