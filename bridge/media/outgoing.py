"""A file that is to be sent: fetched or taken over, found out about, made into what phones can play, and kept."""

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from bridge.domain.ids import InstanceKey
from bridge.domain.media import Kind
from bridge.media.errors import MediaUnsuitable
from bridge.media.fetch import Fetcher
from bridge.media.flights import Flights
from bridge.media.jobs import Seen, Task
from bridge.media.library import Library
from bridge.media.prepare import Preparer
from bridge.media.sniff import HEAD_BYTES, UNKNOWN, extension, sniff
from bridge.media.spool import Spooled
from bridge.store.media import MediaRow

_FAMILIES: Mapping[Task, tuple[str, ...]] = {
    "image": ("image/",),
    "sticker": ("image/",),
    "video": ("video/",),
    "gif": ("video/", "image/gif"),
    "audio": ("audio/", "video/mp4", "video/3gpp", "video/webm", "video/ogg"),
    "voice": ("audio/", "video/mp4", "video/3gpp", "video/webm", "video/ogg"),
    "document": ("",),
}
"""What a file may begin as, for each task. A container of videos may hold nothing but sound."""
KINDS: Mapping[Task, Kind] = {
    "image": "image",
    "sticker": "sticker",
    "video": "video",
    "gif": "video",
    "audio": "audio",
    "voice": "audio",
    "document": "document",
}
"""As what the file of a task is kept and sent."""
_VOICE = "audio/ogg; codecs=opus"
_SAYS_LITTLE = frozenset({UNKNOWN, "text/plain", "application/zip"})
_DANGEROUS = ("text/html", "image/svg", "application/xhtml")
"""What nobody gets to call a document that we serve."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller wants sent: exactly one of `url`, `base64` and `media_id`."""

    task: Task
    url: str | None = None
    base64: str | None = None
    media_id: str | None = None
    filename: str = ""
    mime_type: str = ""
    """What the caller calls it; believed of a document alone, where the file itself says nothing."""


@dataclass(frozen=True, slots=True)
class _Given:
    """The file as it came."""

    file: Spooled
    filename: str
    row: MediaRow | None = None
    """Where it is in the library already."""


class Outgoing:
    """Makes files ready to be sent."""

    def __init__(self, library: Library, fetcher: Fetcher, preparer: Preparer) -> None:
        self._library = library
        self._fetcher = fetcher
        self._preparer = preparer
        self._flights: Flights[tuple[InstanceKey, Wanted], MediaRow] = Flights()

    async def prepare(self, instance: InstanceKey, wanted: Wanted) -> MediaRow:
        """Return the file as it is to be sent, with the facts that its message shows.

        Who wants the same of a URL that is being fetched already gets the same file: a call that is repeated while the
        first one runs fetches nothing. Raises `UrlRefused`, the errors of bridge.media.errors, and `StoreUnavailable`.
        Whatever it raises, no file stays that nobody refers to.
        """
        if wanted.url is None:
            return await self._prepare(instance, wanted)
        return await self._flights.join((instance, wanted), lambda: self._prepare(instance, wanted))

    async def _prepare(self, instance: InstanceKey, wanted: Wanted) -> MediaRow:
        async with self._given(instance, wanted) as given:
            mime_type = _judge(wanted, given)
            made = given
            with self._library.spool.name() as target:
                seen = await self._preparer.prepare(wanted.task, given.file.path, mime_type, target)
                if seen.converted_to:
                    file = await self._library.spool.measure(target, self._library.keeping.max_bytes)
                    made, mime_type = replace(given, file=file, row=None), seen.converted_to
                elif wanted.task == "voice":
                    mime_type = _VOICE
                return await self._keep(instance, wanted, made, mime_type, seen)

    @asynccontextmanager
    async def _given(self, instance: InstanceKey, wanted: Wanted) -> AsyncIterator[_Given]:
        if wanted.media_id is not None:
            row = await self._library.find(instance, wanted.media_id)
            async with self._library.borrow(row) as path:
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                yield _Given(Spooled(path, row.sha256 or b"", row.size_bytes, head), row.filename, row)
            return
        async with self._library.spool.draft(self._library.keeping.max_bytes) as draft:
            name = ""
            if wanted.url is not None:
                fetched = await self._fetcher.fetch(wanted.url, draft.write, self._library.keeping.max_bytes)
                name = fetched.filename
            else:
                await draft.write(decode_base64(wanted.base64 or ""))
            yield _Given(await draft.complete(), name)

    async def _keep(self, instance: InstanceKey, wanted: Wanted, given: _Given, mime_type: str, seen: Seen) -> MediaRow:
        name = PurePosixPath(wanted.filename or given.filename).name
        if wanted.task == "document" and not name:
            name = "file" + extension(mime_type)
        kind, facts = KINDS[wanted.task], facts_of(seen, voice=wanted.task == "voice")
        if given.row is not None:
            return await self._library.refer(
                instance, given.row, kind=kind, mime_type=mime_type, filename=name, facts=facts
            )
        return await self._library.add(instance, given.file, kind=kind, mime_type=mime_type, filename=name, facts=facts)


def _judge(wanted: Wanted, given: _Given) -> str:
    """Return the type that the file has by its content; raise `MediaUnsuitable` when that is not what is to be sent."""
    name = wanted.filename or given.filename
    mime_type = sniff(given.file.head, name)
    if wanted.task == "document" and mime_type in _SAYS_LITTLE and wanted.mime_type:
        told = wanted.mime_type.partition(";")[0].strip().lower()
        if told.startswith(("application/", "text/")) and not told.startswith(_DANGEROUS):
            mime_type = told
    if not mime_type.startswith(_FAMILIES[wanted.task]):
        raise MediaUnsuitable(f"It is {mime_type} by its content.", mime_type=mime_type)
    if wanted.task in ("audio", "voice") and mime_type.startswith("video/"):
        mime_type = "audio/" + mime_type.partition("/")[2]
    return mime_type


def facts_of(seen: Seen, *, voice: bool = False) -> dict[str, object]:
    """Return what was found out, as it is kept beside the file: what is not known is left out."""
    facts: dict[str, object] = {
        "width": seen.width,
        "height": seen.height,
        "duration_s": seen.duration_s,
        "pages": seen.pages,
        "title": seen.title.replace("\0", ""),
        "thumbnail": base64.b64encode(seen.thumbnail).decode(),
        "waveform": base64.b64encode(seen.waveform).decode(),
        "animated": seen.animated,
        "is_ptt": voice,
    }
    return {name: value for name, value in facts.items() if value}


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64 text, with or without the beginning of a data URL; raise `MediaUnsuitable`."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MediaUnsuitable("`base64` is not base64.") from None
    if not data:
        raise MediaUnsuitable("It is empty.")
    return data
