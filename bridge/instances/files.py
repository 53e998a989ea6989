"""The instances as downloads need them: who is online, how a file of theirs is fetched, who stores the event of it."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey
from bridge.engine import transfer
from bridge.engine.downloader.place import place_of
from bridge.engine.downloader.pool import Downloader, NotGiven
from bridge.instances.directory import Directory
from bridge.instances.errors import InstanceDown, NotConnected
from bridge.instances.messages import Emit
from bridge.media.errors import MediaTooLarge
from supervisor import ActorDown, DeadlineExceeded, MailboxFull

log = structlog.get_logger()

EMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class InstanceFiles:
    """Fulfils `bridge.media.downloads.Engines`."""

    directory: Directory
    downloader: Downloader

    def online(self) -> list[InstanceKey]:
        """Return the instances that are online."""
        return [key for key, actor in self.directory.actors.items() if actor.online]

    async def emit(self, key: InstanceKey, event: Event) -> None:
        """Store an event of an instance, through its actor; raise `InstanceDown`."""
        actor = self.directory.actors.get(key)
        if actor is None:
            raise InstanceDown
        try:
            await actor.ask(Emit(event), EMIT_S)
        except (ActorDown, DeadlineExceeded, MailboxFull):
            raise InstanceDown from None

    async def download(
        self, key: InstanceKey, source: bytes, path: Path, *, size_bytes: int, limit_bytes: int
    ) -> bytes | None:
        """Write a file of a message to `path`; return its SHA-256 where it was checked and is on the disk.

        The downloader gets it, and what that is not given the instance's engine. Raises `MediaTooLarge` when what comes
        is larger than the limit, whatever its message says, `NotConnected`, and `EngineError`.
        """
        actor = self.directory.actors.get(key)
        engine = actor.engine if actor is not None else None
        if engine is None:
            raise NotConnected
        place = place_of(source)
        try:
            if place is not None:
                try:
                    await self.downloader.fetch(place, path, size_bytes=size_bytes, limit_bytes=limit_bytes)
                except NotGiven as error:
                    log.info("media.left_to_engine", instance=key, reason=str(error))
                else:
                    return place.sha256
            await transfer.download(engine, source, path, size_bytes=size_bytes, limit_bytes=limit_bytes)
        except transfer.DownloadTooLarge:
            raise MediaTooLarge(max_bytes=limit_bytes) from None
        return None
