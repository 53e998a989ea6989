"""The rows of the repositories, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

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
    settings: Mapping[str, object] = field(default_factory=dict)
    """What was chosen for it; what is not in here is as the bridge's own settings say."""
    paired_at: datetime | None = None
    restriction: Mapping[str, Any] | None = None
    """What WhatsApp refuses to it for a while: `kind`, `since`, `until`, `strikes`, times in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class CommandRow:
    """Something that a caller asked an instance to do."""

    id: CommandId
    instance_key: InstanceKey
    kind: str
    body: Mapping[str, object]
    state: str
    """queued, running, sent, failed, unknown or cancelled."""
    idempotency_key: str | None
    request_hash: bytes | None
    message_id: MessageId | None
    result: Mapping[str, object] | None
    owner: NodeId | None
    epoch: Epoch
    created_at: datetime
    finished_at: datetime | None
    send_at: datetime | None = None
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
    instances: Sequence[str] | None = None
    """The instances that it may touch; None: all."""
    networks: Sequence[str] | None = None
    """The addresses and networks that it may be used from; None: any."""
    rate_per_s: float | None = None
    """None: what the settings say."""
    hint: str = ""
    """Its first characters, when it is one that we made."""
    created_by: str | None = None
    """The id of the key that made it."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key that is to be stored, by its SHA-256."""

    id: KeyId
    name: str
    role: str
    hash: bytes
    expires_at: datetime | None = None
    instances: Sequence[str] | None = None
    networks: Sequence[str] | None = None
    rate_per_s: float | None = None
    hint: str = ""
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One call that somebody made: what, who, from where, and how it ended. `at` is None until it is stored."""

    id: str
    key_id: str | None
    key_name: str | None
    role: str | None
    address: str | None
    action: str
    """The method and the path with its variables in braces."""
    instance_key: str | None
    target: str | None
    """What else the call was about: the id of a key, an endpoint, a delivery."""
    status: int | None
    """None when the caller went away before the answer."""
    code: str | None
    """Of the error, if it ended in one."""
    request_id: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` is None at its end."""

    items: tuple[T, ...]
    next_cursor: str | None = None
