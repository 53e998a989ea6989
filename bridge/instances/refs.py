"""What the directory answers its callers with."""

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.ids import CommandId, MessageId
from bridge.instances.errors import CommandInProgress
from bridge.store.rows import CommandRow


@dataclass(frozen=True, slots=True)
class Connecting:
    """What a call to connect led to: the original's status, and our state."""

    status: str
    state: str


@dataclass(frozen=True, slots=True)
class MessageRef:
    """How far a message has come."""

    status: str
    message_id: MessageId | None
    to: str
    at: datetime
    command_id: CommandId


def earlier(row: CommandRow) -> MessageRef:
    """Answer a repeated Idempotency-Key with what the first request led to."""
    if row.open and row.state == "running":
        raise CommandInProgress(command=row.id)
    at = row.finished_at or row.created_at
    return MessageRef(row.state, row.message_id, str(row.body["to"]), at, row.id)
