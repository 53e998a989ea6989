"""Messages, for reading; they are written together with their events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

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
    status_at: Mapping[str, float]
    """When the status rose: seconds since 1970 by the status."""


class _Body(msgspec.Struct):
    data: dict[str, Any]


class Messages:
    """The repository of messages."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key: InstanceKey, message_id: str) -> StoredMessage | None:
        """Return the newest message of this instance with this id."""
        params = {"instance_key": key, "message_id": message_id}
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["find"], params, StoredMessage)

    async def data(self, key: InstanceKey, message: StoredMessage) -> Mapping[str, Any] | None:
        """Return the `data` of the event by which a message came; None for what we sent, or when the event is gone."""
        params = {"instance_key": key, "chat": message.chat, "sender": message.sender, "message_id": message.message_id}
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["data"], params)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=_Body).data
