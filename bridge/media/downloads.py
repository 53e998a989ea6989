"""Downloads the files of messages that came, beside the actors: a slow file holds up no text.

What is to be done is in rows, so that a restart loses nothing; how often and how long is decided in
bridge.domain.media. A file that has come, or will not, is told of by an event, through the actor of its instance.
"""

import random
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import trio

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey, MediaId
from bridge.domain.media import Over, Retry, after_failure
from bridge.errors import BridgeError
from bridge.media.errors import MediaTooLarge
from bridge.media.library import Library
from bridge.media.shown import Showing
from bridge.media.sniff import UNKNOWN, sniff
from bridge.store.errors import StoreError
from bridge.store.media import MediaRow

log = structlog.get_logger()

AT_ONCE = 6
PER_INSTANCE = 3
IDLE_S = 5.0
"""How often it looks for work without being told: an instance that comes online tells nobody."""
REASON_CHARS = 300


class Engines(Protocol):
    """The instances, as far as a download needs them."""

    def online(self) -> Collection[InstanceKey]:
        """Return the instances that could download now."""

    async def download(
        self, key: InstanceKey, source: bytes, path: Path, *, size_bytes: int, limit_bytes: int
    ) -> bytes | None:
        """Write the file that a serialised `waE2E.Message` names to `path`, unless it is larger than the limit.

        `size_bytes` is what the message says of it. Returns its SHA-256 where that was checked and the disk has the
        file. Raises `MediaTooLarge`, `BridgeError`.
        """

    async def emit(self, key: InstanceKey, event: Event) -> None:
        """Store an event of the instance; raise `BridgeError`."""


class Downloads:
    """The supervised child `media`."""

    def __init__(self, library: Library, showing: Showing, engines: Engines, *, idle_s: float = IDLE_S) -> None:
        self._library = library
        self._showing = showing
        self._engines = engines
        self._idle_s = idle_s
        self._under_way: dict[MediaId, InstanceKey] = {}
        self._woken = trio.Event()

    def wake(self) -> None:
        """Say that there may be something to download."""
        self._woken.set()

    def detail(self) -> dict[str, object]:
        """Return what the process tree shows of it."""
        return {"downloading": len(self._under_way)}

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Download until `stop`; what is under way then is begun again at the next start."""
        self._under_way.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end, stop, nursery.cancel_scope)
            task_status.started()
            while True:
                self._woken = trio.Event()
                wait_s = self._idle_s
                try:
                    await self._begin(nursery)
                    next_s = await self._library.rows.next_due_s()
                    wait_s = min(wait_s, max(next_s, 0.05)) if next_s is not None else wait_s
                except StoreError as error:
                    log.warning("media.store_failed", code=error.code)
                with trio.move_on_after(wait_s):
                    await self._woken.wait()

    async def _end(self, stop: trio.Event, scope: trio.CancelScope) -> None:
        await stop.wait()
        scope.cancel()

    async def _begin(self, nursery: trio.Nursery) -> None:
        """Start what there is room for: owed events first, then downloads, few of one instance at a time."""
        rows = self._library.rows
        for row in await rows.unannounced(self._under_way, AT_ONCE):
            self._start(nursery, row, self._announce)
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return
        busy = list(self._under_way.values())
        free = [key for key in self._engines.online() if busy.count(key) < PER_INSTANCE]
        if not free:
            return
        for row in await rows.due(free, self._under_way, room):
            if list(self._under_way.values()).count(row.instance_key) < PER_INSTANCE:
                self._start(nursery, row, self._download)

    def _start(self, nursery: trio.Nursery, row: MediaRow, work: object) -> None:
        self._under_way[row.id] = row.instance_key
        nursery.start_soon(partial(self._watched, row, work))

    async def _watched(self, row: MediaRow, work: object) -> None:
        """Do one thing; what goes wrong with the store or the actor waits for the next look."""
        try:
            await work(row)  # type: ignore[operator]
        except BridgeError as error:
            log.warning("media.not_settled", media=row.id, instance=row.instance_key, code=error.code)
            await trio.sleep(self._idle_s)
        finally:
            self._under_way.pop(row.id, None)
            self.wake()

    async def _download(self, row: MediaRow) -> None:
        try:
            await self._fetch(row)
        except StoreError:
            raise
        except MediaTooLarge as error:
            await self._library.rows.give_up(row.id, status="failed", reason=str(error)[:REASON_CHARS])
        except BridgeError as error:
            await self._settle(row, str(error))
        current = await self._library.rows.get(row.instance_key, row.id)
        if current is not None and current.status != "pending":
            await self._announce(current)

    async def _fetch(self, row: MediaRow) -> None:
        limit = self._library.keeping.max_bytes
        if row.size_bytes > limit:
            raise MediaTooLarge(max_bytes=limit, size_bytes=row.size_bytes)
        with self._library.spool.name() as path:
            sha256 = await self._engines.download(
                row.instance_key, row.source or b"", path, size_bytes=row.size_bytes, limit_bytes=limit
            )
            file = await self._library.spool.measure(path, limit, sha256)
            await self._library.keep(file)
        found = sniff(file.head, row.filename)
        mime_type = row.mime_type if found in (UNKNOWN, "text/plain", "application/zip") else found
        if row.mime_type.partition(";")[0].strip() == found:
            mime_type = row.mime_type  # with its parameters
        await self._library.rows.arrived(row.id, sha256=file.sha256, size_bytes=file.size_bytes, mime_type=mime_type)

    async def _settle(self, row: MediaRow, error: str) -> None:
        jitter = random.uniform(-1, 1)  # noqa: S311 - spreads load, keeps no secret
        decision = after_failure(error, attempts=row.attempts + 1, gone=row.gone, jitter=jitter)
        reason = error[:REASON_CHARS].replace("\0", "")
        log.info("media.download_failed", media=row.id, instance=row.instance_key, attempts=row.attempts + 1)
        match decision:
            case Retry(after_s, gone):
                await self._library.rows.postpone(row.id, after_s=after_s, gone=gone, reason=reason)
            case Over(status):
                await self._library.rows.give_up(row.id, status=status, reason=reason)

    async def _announce(self, row: MediaRow) -> None:
        await self._engines.emit(row.instance_key, self._showing.updated(row, time.time()))
        await self._library.rows.announce(row.id, row.status)
