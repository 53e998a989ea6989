"""Messages, for reading; they are written together with their events."""

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.ids import InstanceKey
from bridge.store.fetch import fetch_one
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("messages")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as its instance knows it."""

    chat: str
    sender: str
    message_id: str
    from_me: bool
    kind: str
    text: str | None
    status: str
    at: datetime


class Messages:
    """The repository of messages."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key: InstanceKey, message_id: str) -> StoredMessage | None:
        """Return the newest message of this instance with this id."""
        params = {"instance_key": key, "message_id": message_id}
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["find"], params, StoredMessage)
