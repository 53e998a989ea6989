"""Messages, for reading; they are written together with their events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import trio

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


@dataclass(frozen=True, slots=True)
class KnownChat:
    """A chat of an instance, as pacing counts it; times are seconds since 1970."""

    chat: str
    first_sent: float | None
    first_heard: float | None
    sent_lately: tuple[float, ...]
    """When we sent to it within the last minutes, in order."""


class _Body(msgspec.Struct):
    data: dict[str, Any]


class Messages:
    """The repository of messages."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._counting = trio.CapacityLimiter(1)

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

    async def chats(self, key: InstanceKey) -> list[KnownChat]:
        """Return every chat that the instance has messages of.

        It reads all of the instance's messages, so that no index has to be kept for it at each message; one instance's
        at a time.
        """
        async with self._counting, self._pool.connection() as conn:
            rows = await (await conn.execute(_SQL["chats"], {"instance_key": key})).fetchall()
        return [KnownChat(chat, sent, heard, tuple(lately or ())) for chat, sent, heard, lately in rows]
