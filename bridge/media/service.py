"""Media as the API uses them, and how their parts are put together."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bridge.domain.ids import InstanceKey
from bridge.media.bucket import Bucket
from bridge.media.fetch import Fetcher
from bridge.media.files import Files, LocalFiles, spool_of
from bridge.media.library import Keeping, Library
from bridge.media.links import Links, new_secret
from bridge.media.outgoing import Outgoing, Wanted
from bridge.media.prepare import Preparer
from bridge.media.shown import Showing
from bridge.media.sniff import sniff
from bridge.media.spool import Draft, Spool
from bridge.net.guard import Guard
from bridge.store.media import MediaRow, MediaRows

SIGNING = "media_link_secret"
"""Under this name the store keeps what signs links."""


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """How media are kept and served."""

    folder: Path
    keeping: Keeping
    bucket: Bucket | None = None
    fetch_s: float = 60.0
    allow: tuple[str, ...] = ()
    open: bool = False
    """Whether a file is served to anybody who knows its address."""


class MediaService:
    """Everything about media but downloads, which have a task of their own."""

    def __init__(self, rows: MediaRows, config: MediaConfig, base_url: Callable[[], str]) -> None:
        self.open = config.open
        spool = spool_of(config.folder)
        self.library = Library(rows, _files(config, spool), spool, config.keeping)
        self.links = Links(new_secret())
        self.showing = Showing(self.links, base_url)
        self._outgoing = Outgoing(self.library, Fetcher(Guard(config.allow), timeout_s=config.fetch_s), Preparer())
        self.on_again: Callable[[], None] = lambda: None
        """Called when a download is asked for again."""

    def begin(self, secret: bytes) -> None:
        """Empty the spool and sign with `secret` from now on."""
        self.library.spool.clear()
        self.links.use(secret)

    @property
    def max_bytes(self) -> int:
        return self.library.keeping.max_bytes

    async def prepare(self, instance: InstanceKey, wanted: Wanted) -> MediaRow:
        """Make a file ready to be sent."""
        return await self._outgoing.prepare(instance, wanted)

    def draft(self) -> AbstractAsyncContextManager[Draft]:
        """Lend a file to write an upload into."""
        return self.library.spool.draft(self.max_bytes)

    async def take(self, instance: InstanceKey, draft: Draft, filename: str) -> MediaRow:
        """Keep what was uploaded."""
        file = await draft.complete()
        mime_type = sniff(file.head, filename)
        family = mime_type.partition("/")[0]
        kind = family if family in ("image", "video", "audio") else "document"
        return await self.library.add(instance, file, kind=kind, mime_type=mime_type, filename=filename)

    async def again(self, instance: InstanceKey, id: str) -> MediaRow:
        """Have a file downloaded once more."""
        row = await self.library.again(instance, id)
        self.on_again()
        return row

    def read(self, row: MediaRow, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Return a part of a file, in pieces; raise `FileNotFoundError`."""
        return self.library.read(row, start, stop)


def _files(config: MediaConfig, spool: Spool) -> Files:
    if config.bucket is None:
        return LocalFiles(config.folder / "objects")
    from bridge.media.s3 import ObjectFiles  # noqa: PLC0415 - obstore is large, and few need it

    return ObjectFiles(config.bucket, spool)
