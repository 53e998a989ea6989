"""What the calls about files take and give."""

from collections.abc import Mapping
from typing import Any

from bridge.api import schemas
from bridge.api import schemas_messages as sends
from bridge.api.openapi import AT, KEY, REPEATABLE, Operation, text
from bridge.api.operations.messages import SENT, TO
from bridge.api.send_files import FILE_SENDS

ID = "med_01JGZ0000000000000000000AB"
_ANY = ("*/*",)
_LINK = {"exp": text("until when the link works, in seconds since 1970"), "sig": text("the link's signature")}
_SENDS: Mapping[str, Any] = {
    "/message/send-media": {**TO, "type": "image", "url": "https://example.com/a.jpg", "caption": "look"},
    "/message/send-voice": {**TO, "url": "https://example.com/a.mp3"},
    "/message/send-sticker": {**TO, "media_id": ID},
}

OPERATIONS: Mapping[str, Operation] = {
    **{
        f"POST {send.path}": Operation(
            "Send a file, from a URL, as base64, or one that was uploaded.",
            body=send.request,
            example=_SENDS[send.path],
            answer=sends.Message,
            shows=SENT,
            headers=REPEATABLE,
            others={202: sends.Message},
        )
        for send in FILE_SENDS
    },
    "POST /media/{key}": Operation(
        "Upload a file, as the body or as a part of a form.",
        answer=schemas.UploadedMedia,
        shows={
            "media_id": ID,
            "sha256": "0" * 64,
            "mime_type": "image/jpeg",
            "size": 5120,
            "filename": "a.jpg",
            "expires_at": AT,
            "url": f"https://bridge.example.com/media/{KEY}/2026-01-02/1767322800-x.jpg?exp=1769914800&sig=x",
            "media_path": f"{KEY}/2026-01-02/1767322800-x.jpg",
        },
        status=201,
        query={"filename": text("the file's name, where the form does not tell it")},
        raw_body=("application/octet-stream", "multipart/form-data"),
    ),
    "GET /media/{key}/{id}": Operation("Read a file.", media=_ANY, query=_LINK),
    "GET /media/{key}/{date}/{file}": Operation("Read a file, by the original's path.", media=_ANY, query=_LINK),
    "POST /media/{key}/{id}/retry": Operation(
        "Have a file of a message downloaded once more.",
        answer=schemas.MediaAgain,
        shows={"status": "pending", "media_id": ID, "attempts": 0},
        status=202,
    ),
}
