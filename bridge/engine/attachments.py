"""Messages with a file, in both directions: the protobuf of one to send, and what one that came names. Pure."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from bridge.domain.media import Kind, Media
from bridge.engine.transfer import Uploaded
from bridge.protos import e2e

Body = Mapping[str, Any]
_PARTS: Mapping[str, str] = {
    "imageMessage": "imageMessage",
    "videoMessage": "videoMessage",
    "ptvMessage": "videoMessage",
    "audioMessage": "audioMessage",
    "documentMessage": "documentMessage",
    "stickerMessage": "stickerMessage",
}
"""Parts of a message that name a file, and the part under which the library downloads one."""
_KEPT = ("mediaKey", "fileSHA256", "fileEncSHA256", "fileLength", "directPath")


def carried(part: str, kind: str, value: Any) -> Media | None:
    """Return the file that a part of a message names; None when it names none."""
    if part not in _PARTS or not (value.directPath or value.URL):
        return None
    source = e2e.Message()
    inner = getattr(source, _PARTS[part])
    for name in _KEPT:
        if value.HasField(name):
            setattr(inner, name, getattr(value, name))
    if not value.directPath:  # of no use to the library, which takes paths alone; the downloader has a use for it
        inner.URL = value.URL
    return Media(
        kind=_kind(kind),
        mime_type=value.mimetype or "application/octet-stream",
        source=bytes(source.SerializeToString()),
        filename=getattr(value, "fileName", "") or "",
        size_bytes=int(value.fileLength),
    )


def _kind(kind: str) -> Kind:
    match kind:
        case "image" | "video" | "audio" | "document" | "sticker":
            return kind
    raise ValueError(kind)


def attachment(kind: str, body: Body, uploaded: Uploaded, context: "e2e.ContextInfo | None", now: float) -> bytes:
    """Return the serialised `waE2E.Message` with an uploaded file.

    `body` has `mime_type` and, where they are known, `caption`, `filename`, `is_ptt`, `view_once`, `gif`, and the
    `facts` of its preparation: `width`, `height`, `duration_s`, `pages`, `title`, `thumbnail` and `waveform` (base64),
    `animated`.
    """
    part, extra = _BUILDERS[kind](body, body.get("facts", {}))
    fields: dict[str, Any] = {
        "URL": uploaded.url,
        "directPath": uploaded.direct_path,
        "mediaKey": uploaded.media_key,
        "fileSHA256": uploaded.sha256,
        "fileEncSHA256": uploaded.encrypted_sha256,
        "fileLength": uploaded.size_bytes,
        "mediaKeyTimestamp": int(now),
        "mimetype": body["mime_type"],
        "contextInfo": context,
        **extra,
    }
    message = e2e.Message(**{part: {name: value for name, value in fields.items() if value not in (None, "", b"", 0)}})
    if body.get("view_once"):
        message = e2e.Message(viewOnceMessageV2=e2e.FutureProofMessage(message=message))
    return bytes(message.SerializeToString())


def _image(body: Body, facts: Body) -> tuple[str, dict[str, Any]]:
    return "imageMessage", {**_picture(facts), "caption": body.get("caption"), "viewOnce": body.get("view_once")}


def _video(body: Body, facts: Body) -> tuple[str, dict[str, Any]]:
    return "videoMessage", {
        **_picture(facts),
        "caption": body.get("caption"),
        "viewOnce": body.get("view_once"),
        "seconds": facts.get("duration_s"),
        "gifPlayback": body.get("gif"),
    }


def _audio(body: Body, facts: Body) -> tuple[str, dict[str, Any]]:
    return "audioMessage", {
        "seconds": facts.get("duration_s"),
        "PTT": body.get("is_ptt"),
        "viewOnce": body.get("view_once"),
        "waveform": _bytes(facts.get("waveform")),
    }


def _document(body: Body, facts: Body) -> tuple[str, dict[str, Any]]:
    name = body.get("filename") or "file"
    return "documentMessage", {
        "fileName": name,
        "title": facts.get("title") or name,
        "caption": body.get("caption"),
        "pageCount": facts.get("pages"),
        "JPEGThumbnail": _bytes(facts.get("thumbnail")),
    }


def _sticker(_: Body, facts: Body) -> tuple[str, dict[str, Any]]:
    return "stickerMessage", {
        "width": facts.get("width"),
        "height": facts.get("height"),
        "isAnimated": facts.get("animated"),
    }


def _picture(facts: Body) -> dict[str, Any]:
    return {
        "width": facts.get("width"),
        "height": facts.get("height"),
        "JPEGThumbnail": _bytes(facts.get("thumbnail")),
    }


def _bytes(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text else None


_BUILDERS: Mapping[str, Callable[[Body, Body], tuple[str, dict[str, Any]]]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "document": _document,
    "sticker": _sticker,
}
