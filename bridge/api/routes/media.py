"""Calls about files: giving one to the bridge, getting one from it, having one downloaded again."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import trio
from quart.wrappers import Response

from bridge.api import schemas
from bridge.api.auth import Access, Gate, Reach, presented_key
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.edge import INFLOW, TOO_LARGE
from bridge.api.problems import InvalidField, RangeNotSatisfiable, UploadTimeout
from bridge.api.ranges import Unsatisfiable, wanted
from bridge.api.uploads import file_name, parts
from bridge.media.errors import LinkRefused, MediaGone, MediaTooLarge
from bridge.media.service import MediaService
from bridge.media.sniff import UNKNOWN
from bridge.store.errors import InstanceNotFound
from bridge.store.media import MediaRow

MULTIPART_BYTES = 65_536
"""What the form around a file may take."""
_SHOWN = ("image/", "video/", "audio/")
"""What a browser may show; everything else it is told to save."""
_ACTIVE = ("image/svg",)
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.,-]+)*", re.ASCII)
"""A sender chooses the type of what is no picture, sound or video by its content."""


def routes(context: ApiContext, gate: Gate) -> tuple[Route, ...]:
    calls = MediaCalls(context, gate)
    largest = context.limits.media_bytes + MULTIPART_BYTES
    return (
        Route("POST", "/media/<key>", calls.upload, Access.SEND, body_bytes=largest, keeps_answer=False, streams=True),
        Route("GET", "/media/<key>/<id>", calls.by_id, None),
        Route("GET", "/media/<key>/<date>/<file>", calls.by_path, None),
        Route("POST", "/media/<key>/<id>/retry", calls.again, Access.SEND),
    )


@dataclass(frozen=True, slots=True)
class MediaCalls:
    """The handlers. Links open files without a key, so those that serve see to the key themselves."""

    context: ApiContext
    gate: Gate

    @property
    def media(self) -> MediaService:
        assert self.context.media is not None
        return self.context.media

    async def upload(self, call: Call) -> Response:
        key = call.instance()
        if await self.context.store.instances.get(key) is None:
            raise InstanceNotFound
        name = file_name(call.query("filename") or "")
        inflow = call.request.scope[INFLOW]
        try:
            with trio.move_on_after(self.context.limits.upload_s):
                async with self.media.draft() as draft:
                    async for found, data in parts(call.request, call.headers, inflow):
                        name = name or file_name(found)
                        await draft.write(data)
                    if call.request.scope.get(TOO_LARGE):
                        raise MediaTooLarge(max_bytes=self.media.max_bytes)
                    if not draft.size_bytes:
                        raise InvalidField("body", "is empty: send the file as the body, or as a part of a form")
                    row = await self.media.take(key, draft, name)
                return answer(self._shown(row), 201)
        finally:
            inflow.drop()
        raise UploadTimeout

    async def again(self, call: Call) -> Response:
        row = await self.media.again(call.instance(), call.path["id"])
        return answer(schemas.MediaAgain(status=row.status, media_id=row.id, attempts=row.attempts), 202)

    async def by_id(self, call: Call) -> Response:
        path = f"/media/{call.path['key']}/{call.path['id']}"
        key = (await self._admit(call, path)).instance()
        return await self._serve(call, await self.media.library.find(key, call.path["id"]))

    async def by_path(self, call: Call) -> Response:
        path = "/".join(call.path[name] for name in ("key", "date", "file"))
        (await self._admit(call, f"/media/{path}")).instance()
        return await self._serve(call, await self.media.library.by_path(path))

    async def _admit(self, call: Call, path: str) -> Call:
        """Return the call of somebody who may have the file: by a link, by a key, or because everybody may."""
        exp, sig = call.query("exp"), call.query("sig")
        if self.media.open or self.media.links.opens(path, exp, sig, time.time()):
            return call
        if (exp or sig) and presented_key(call.headers) is None:
            raise LinkRefused
        scope = call.request.scope
        caller = await self.gate.identify(scope["client"][0], scope["headers"])
        self.gate.allow(caller, Access.READ, Reach.ONE)
        return replace(call, caller=caller)

    async def _serve(self, call: Call, row: MediaRow) -> Response:
        """Answer with the file or the part that was asked for, a piece at a time."""
        etag = f'"{row.hex}"'
        head = _headers(row, etag)
        if etag in (tag.strip() for tag in _text(call, b"if-none-match").split(",")):
            return Response("", 304, head)
        asked = _text(call, b"range") if _text(call, b"if-range") in ("", etag) else ""
        try:
            part = wanted(asked, row.size_bytes)
        except Unsatisfiable:
            raise RangeNotSatisfiable(size_bytes=row.size_bytes) from None
        start, stop = part or (0, row.size_bytes)
        head["Content-Length"] = str(stop - start)
        if part is not None:
            head["Content-Range"] = f"bytes {start}-{stop - 1}/{row.size_bytes}"
        status = 200 if part is None else 206
        if call.request.method == "HEAD":
            response = Response("", status, head)
            response.headers["Content-Length"] = head["Content-Length"]  # not of the body, which stays away
            return response
        pieces = self.media.read(row, start, stop)
        try:
            first = await anext(pieces, b"")
        except FileNotFoundError:
            raise MediaGone("It is missing in the store.") from None
        response = Response(_joined(first, pieces), status, head)
        response.timeout = None
        return response

    def _shown(self, row: MediaRow) -> schemas.UploadedMedia:
        fields = self.media.showing.fields(row.path, row.expires_at.timestamp())
        return schemas.UploadedMedia(
            media_id=row.id,
            sha256=row.hex,
            mime_type=row.mime_type,
            size=row.size_bytes,
            filename=row.filename,
            expires_at=row.expires_at,
            url=str(fields["local_file_url"]),
            media_path=row.path,
        )


async def _joined(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def _text(call: Call, name: bytes) -> str:
    return call.headers.get(name, b"").decode("latin-1")


def _headers(row: MediaRow, etag: str) -> dict[str, str]:
    shown = row.mime_type.startswith(_SHOWN) and not row.mime_type.startswith(_ACTIVE)
    how = "inline" if shown else "attachment"
    name = row.filename or row.path.rpartition("/")[2]
    return {
        "Content-Type": row.mime_type if _MIME.fullmatch(row.mime_type) else UNKNOWN,
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
