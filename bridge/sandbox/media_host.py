"""The media host: `POST /mms/<type>/<token>` takes a sealed file, `GET <direct path>` gives it out.

It sees sealed files only, and checks the one thing that it can: that what it gets has the hash which the address names.
(Files of newsletters are not sealed; their addresses begin with `/newsletter/`.) `watchers` hear of every transfer.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import trio

from bridge.errors import BridgeError
from bridge.sandbox.certificates import MEDIA_HOST
from bridge.sandbox.http import FilePart, Pieces, Request, Response, Taker, json_response, problem
from bridge.sandbox.media_files import MediaFiles, NoSuchFile, WrongHash, name_of, token_of

_UPLOAD: Final = re.compile(r"/(?:mms|newsletter)/([\w-]+)/([\w=-]+)")
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_OK: Final = 200

Direction = Literal["upload", "download"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the host did with one request. `name` is the file's hash in hex, empty where there is no such file."""

    direction: Direction
    name: str
    kind: str
    """The word for the kind of file in the address, or in the download's query."""
    size: int
    status: int


class MediaHost:
    """Serves the files of a folder by HTTP."""

    def __init__(self, files: MediaFiles, refusal: Callable[[Direction], int | None] = lambda _: None) -> None:
        """`refusal` says with which status the next transfer of a direction is to fail, None if it is not to."""
        self._files = files
        self._refusal = refusal
        self.watchers: list[Callable[[Transfer], None]] = []

    def takes(self, head: Request) -> Taker | None:
        """Return what reads the body of such a request, None where it has none that matters."""
        return self.upload if head.method == "POST" and _UPLOAD.fullmatch(head.path) else None

    async def upload(self, head: Request, next_piece: Pieces) -> Response:
        """Take a file in; refuse one that has another hash than its address says."""
        kind, token = _names(head.path)
        status = self._refusal("upload")
        if status is not None:
            await _drain(next_piece)
            self._tell(Transfer("upload", "", kind, 0, status))
            return problem(status, "refused", "a fault")
        incoming = self._files.begin()
        try:
            while piece := await next_piece():
                incoming.write(piece)
            digest = incoming.done()
            if token_of(digest) != token:
                raise WrongHash(f"{token_of(digest)}, not {token}")
            path = self._files.keep(incoming, digest)
        except BridgeError as error:
            self._tell(Transfer("upload", "", kind, incoming.size, error.status))
            raise
        finally:
            incoming.forget()
        self._tell(Transfer("upload", digest.hex(), kind, incoming.size, _OK))
        answer = {"url": f"https://{MEDIA_HOST}{path}", "direct_path": path}
        return json_response(_OK, {**answer, "handle": digest.hex(), "object_id": digest.hex()[:16]})

    async def answer(self, request: Request) -> Response:
        """Give a file out, as a whole or the part that is asked for; remove one; 404 for anything else."""
        await trio.lowlevel.checkpoint()
        if request.method == "DELETE":
            return self._remove(request)
        kind = request.query.get("mms-type", "")
        status = self._refusal("download")
        if status is not None:
            self._tell(Transfer("download", "", kind, 0, status))
            return problem(status, "refused", "a fault")
        try:
            file = self._files.find(request.path)
            asked = request.query.get("hash", "")
            if asked and asked != token_of(bytes.fromhex(file.name)):
                raise NoSuchFile("it has another hash")
        except NoSuchFile:
            self._tell(Transfer("download", "", kind, 0, 404))
            raise
        size = file.stat().st_size
        response = _part(FilePart(file, 0, size), request.headers.get("range"))
        sent = response.file.size if response.file else 0
        self._tell(Transfer("download", file.name, kind, sent, response.status))
        return response

    def _remove(self, request: Request) -> Response:
        """Remove a file of history that its device has read. A file that is gone is what was wanted."""
        _, token = _names(request.path)
        with suppress(NoSuchFile):
            self._files.remove(name_of(token))
        return Response(_OK)

    def _tell(self, transfer: Transfer) -> None:
        for watcher in self.watchers:
            watcher(transfer)


def _names(path: str) -> tuple[str, str]:
    """Return kind and token of an upload's address; raise `NoSuchFile` for any other."""
    found = _UPLOAD.fullmatch(path)
    if found is None:
        raise NoSuchFile(path)
    return found[1], found[2]


def _part(whole: FilePart, asked: str | None) -> Response:
    """Return the part of a file that a `Range` header asks for (RFC 9110, section 14), or all of it."""
    found = _RANGE.fullmatch(asked) if asked else None
    if found is None or not (found[1] or found[2]):
        return Response(_OK, content_type="application/octet-stream", file=whole)
    if found[1]:
        start = int(found[1])
        end = min(int(found[2]), whole.size - 1) if found[2] else whole.size - 1
    else:
        start, end = max(whole.size - int(found[2]), 0), whole.size - 1
    if start > end:
        return Response(416, headers=(("content-range", f"bytes */{whole.size}"),))
    headers = (("content-range", f"bytes {start}-{end}/{whole.size}"),)
    return Response(206, b"", "application/octet-stream", FilePart(whole.path, start, end - start + 1), headers)


async def _drain(next_piece: Pieces) -> None:
    """Read what the client sends: one that is answered before it is done sees a broken connection."""
    while await next_piece():
        pass
