"""The calls that send a message with a file: what each takes, and how the file is made ready before the send."""

import hashlib
from typing import Any

from bridge.api import schemas_messages as schemas
from bridge.api.call import Call
from bridge.api.problems import InvalidField
from bridge.api.sends import Content, SendCall
from bridge.domain.ids import InstanceKey
from bridge.media.jobs import Task
from bridge.media.outgoing import KINDS, Wanted
from bridge.store.errors import InstanceNotFound

_TASKS: dict[str, Task] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "file": "document",
    "document": "document",
}
FILE_KINDS = frozenset({"image", "video", "audio", "document", "sticker"})


async def _media(call: Call, key: InstanceKey, _: str, request: schemas.SendMedia) -> Content:
    task = _TASKS[request.type]
    if request.gif:
        _only("gif", request, "image", "video")
        task = "gif"
    if request.is_ptt:
        _only("is_ptt", request, "audio")
        task = "voice"
    if request.view_once:
        _only("view_once", request, "image", "video", "audio")
    if request.caption:
        _only("caption", request, "image", "video", "file", "document")
    said = {
        "caption": request.caption,
        "view_once": request.view_once,
        "gif": request.gif,
        "is_ptt": request.is_ptt,
    }
    wanted = _wanted(task, request, request.filename or "", request.mime_type or "")
    return await _content(call, key, request, wanted, said)


async def _voice(call: Call, key: InstanceKey, _: str, request: schemas.SendVoice) -> Content:
    said = {"is_ptt": True, "view_once": request.view_once}
    return await _content(call, key, request, _wanted("voice", request), said)


async def _sticker(call: Call, key: InstanceKey, _: str, request: schemas.SendFile) -> Content:
    return await _content(call, key, request, _wanted("sticker", request), {})


def _only(name: str, request: schemas.SendMedia, *types: str) -> None:
    if request.type not in types:
        raise InvalidField(name, f"is for the types {', '.join(types)}")


def _wanted(task: Task, request: schemas.SendFile, filename: str = "", mime_type: str = "") -> Wanted:
    given = [name for name in ("url", "base64", "media_id") if getattr(request, name)]
    if len(given) != 1:
        told = "is required: give it, or `base64`, or `media_id`" if not given else "is one of two files; give one"
        raise InvalidField(given[-1] if given else "url", told)
    return Wanted(task, request.url, request.base64, request.media_id, filename, mime_type)


async def _content(
    call: Call, key: InstanceKey, request: schemas.SendFile, wanted: Wanted, said: dict[str, Any]
) -> Content:
    """Return what is to be sent; the file comes later, because a repeated request needs none.

    Such a request means the same when it names the same file the same way.
    """
    media = call.context.media
    assert media is not None
    if await call.context.store.instances.get(key) is None:
        raise InstanceNotFound

    async def prepare() -> dict[str, Any]:
        return {"media_id": (await media.prepare(key, wanted)).id}

    said = {name: value for name, value in said.items() if value}
    file = hashlib.sha256((request.base64 or "").encode()).hexdigest() if request.base64 else wanted.url
    meaning = (wanted.task, file or wanted.media_id, wanted.filename, wanted.mime_type, said)
    return Content(said, kind=KINDS[wanted.task], meaning=meaning, prepare=prepare)


FILE_SENDS: tuple[SendCall, ...] = (
    SendCall("/message/send-media", "image", schemas.SendMedia, _media, with_file=True),
    SendCall("/message/send-voice", "audio", schemas.SendVoice, _voice, with_file=True),
    SendCall("/message/send-sticker", "sticker", schemas.SendFile, _sticker, with_file=True),
)
