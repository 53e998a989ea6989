"""Files in an S3-compatible store, through obstore: uploads in parts, reads by range, nothing held in memory whole.

obstore's asynchronous calls want asyncio, so its blocking ones run on media's threads; they let go of Python's lock.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as Missing
from obstore.store import S3Store

from bridge.media.bucket import Bucket
from bridge.media.errors import MediaStoreFailed
from bridge.media.files import in_thread, is_name
from bridge.media.spool import Spool
from bridge.store.media import FoundFile

PART_BYTES = 8 * 1024 * 1024
"""Of an upload, and of a read: so much of a file is in memory at a time."""
PARTS_AT_ONCE = 2
REQUEST_TIMEOUT_S = 60
RETRY_S = 10


class ObjectFiles:
    """Files in one bucket, below a prefix."""

    def __init__(self, bucket: Bucket, spool: Spool) -> None:
        parts = urlsplit(bucket.url)
        options: dict[str, Any] = {"region": bucket.region, "virtual_hosted_style_request": False}
        if bucket.endpoint:
            options["endpoint"] = bucket.endpoint
        if bucket.access_key:
            options |= {"access_key_id": bucket.access_key, "secret_access_key": bucket.secret_key}
        self._spool = spool
        self._store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": bucket.endpoint.startswith("http://"),
                "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_S)},
            **options,
        )

    async def put(self, name: str, path: Path) -> None:
        await in_thread(lambda: self._put(name, path))

    def _put(self, name: str, path: Path) -> None:
        with _translated(name):
            try:
                obstore.head(self._store, name)
            except (Missing, FileNotFoundError):
                obstore.put(
                    self._store, name, path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE, use_multipart=True
                )
        path.unlink()

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        while start < stop:
            end = min(start + PART_BYTES, stop)
            data = await in_thread(lambda at=start, to=end: self._range(name, at, to))  # type: ignore[misc]
            if not data:
                break
            start += len(data)
            yield data

    def _range(self, name: str, start: int, stop: int) -> bytes:
        with _translated(name):
            return bytes(obstore.get_range(self._store, name, start=start, end=stop))

    @asynccontextmanager
    async def borrow(self, name: str) -> AsyncIterator[Path]:
        with self._spool.name() as path:
            await in_thread(lambda: self._download(name, path))
            yield path

    def _download(self, name: str, path: Path) -> None:
        with _translated(name), path.open("xb") as file:
            for piece in obstore.get(self._store, name).stream(min_chunk_size=PART_BYTES):
                file.write(piece)

    async def delete(self, name: str) -> None:
        await in_thread(lambda: self._delete(name))

    def _delete(self, name: str) -> None:
        with _translated(name):
            try:
                obstore.delete(self._store, name)
            except (Missing, FileNotFoundError):
                return

    async def found(self) -> AsyncIterator[Sequence[FoundFile]]:
        pages = obstore.list(self._store, chunk_size=1_000)

        def page() -> list[FoundFile] | None:
            with _translated("the list"):
                batch = next(pages, None)
            if batch is None:
                return None
            return [
                FoundFile(entry["path"], entry["size"], entry["last_modified"].timestamp())
                for entry in batch
                if is_name(entry["path"])
            ]

        while (batch := await in_thread(page)) is not None:
            yield batch


@contextmanager
def _translated(name: str) -> Any:
    """Turn the store's errors into ours: a missing file is one, everything else is a store that does not answer."""
    try:
        yield
    except (Missing, FileNotFoundError):
        raise FileNotFoundError(name) from None
    except (BaseError, OSError) as error:
        raise MediaStoreFailed(type(error).__name__) from error
