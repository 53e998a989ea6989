"""The rows of the repositories, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from bridge.domain.ids import CommandId, Epoch, InstanceKey, KeyId, MessageId, NodeId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One WhatsApp number, paired or not."""

    key: InstanceKey
    name: str | None
    external_id: str | None
    metadata: Mapping[str, object]
    desired: str
    """running or paused."""
    state: str
    reason: str | None
    since: datetime
    """When `state` was entered."""
    next_retry_at: datetime | None
    needs: str
    jid: str | None
    lid: str | None
    push_name: str | None
    last_seq: int
    last_event_at: datetime | None
    owner: NodeId | None
    epoch: Epoch
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CommandRow:
    """Something that a caller asked an instance to do."""

    id: CommandId
    instance_key: InstanceKey
    kind: str
    body: Mapping[str, object]
    state: str
    """queued, running, sent, failed or unknown."""
    idempotency_key: str | None
    request_hash: bytes | None
    message_id: MessageId | None
    result: Mapping[str, object] | None
    owner: NodeId | None
    epoch: Epoch
    created_at: datetime
    finished_at: datetime | None
    inserted: bool = True
    """False for the row of an earlier request with the same idempotency key."""

    @property
    def open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.finished_at is None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an instance's new owner found: commands with an unknown outcome, and those that nobody began."""

    unknown: tuple[CommandRow, ...]
    queued: tuple[CommandRow, ...]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key: all but the key itself."""

    id: KeyId
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` is None at its end."""

    items: tuple[T, ...]
    next_cursor: str | None = None
