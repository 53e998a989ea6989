"""The instances as downloads need them: who is online, whose engine fetches a file, who stores the event of it."""

from dataclasses import dataclass
from pathlib import Path

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey
from bridge.engine import transfer
from bridge.instances.directory import Directory
from bridge.instances.errors import InstanceDown, NotConnected
from bridge.instances.messages import Emit
from bridge.media.errors import MediaTooLarge
from supervisor import ActorDown, DeadlineExceeded, MailboxFull

EMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class InstanceFiles:
    """Fulfils `bridge.media.downloads.Engines`."""

    directory: Directory

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

    async def download(self, key: InstanceKey, source: bytes, path: Path, *, size_bytes: int, limit_bytes: int) -> None:
        """Have an instance's engine write a file of a message to `path`.

        Raises `MediaTooLarge` when what comes is larger than the limit, whatever its message says, `NotConnected`, and
        `EngineError`.
        """
        actor = self.directory.actors.get(key)
        engine = actor.engine if actor is not None else None
        if engine is None:
            raise NotConnected
        try:
            await transfer.download(engine, source, path, size_bytes=size_bytes, limit_bytes=limit_bytes)
        except transfer.DownloadTooLarge:
            raise MediaTooLarge(max_bytes=limit_bytes) from None
