"""The bodies of the calls on deliveries and replays."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from bridge.store.deliveries import DeliveryRow
from bridge.store.replays import ReplayRow

Types = Annotated[list[Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z_.]{0,63})$")]], Meta(max_length=100)]
Seq = Annotated[int, Meta(ge=0, le=2**62)]


class StartReplay(Struct, frozen=True):
    """Body of POST /webhooks/{id}/replay: one of `event_id`, `dead`, a range of `seq`, a range of time."""

    event_id: Annotated[str, Meta(pattern=r"^evt_[0-9A-Z]{26}$")] | None = None
    dead: bool = False
    instance_key: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")] | None = None
    from_seq: Seq | None = None
    to_seq: Seq | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None
    events: Types | None = None


class Delivery(Struct, frozen=True):
    """A delivery and how its attempts ended; the one that succeeded is told by the fields beside `history`."""

    id: str
    event_id: str
    seq: int
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    duration_ms: int | None
    answer: str | None
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None
    replay_id: str | None
    history: Sequence[Mapping[str, object]]


class DeliveryList(Struct, frozen=True):
    """Answer of GET /webhooks/{id}/deliveries, newest first."""

    items: Sequence[Delivery]
    next_cursor: str | None


class Retried(Struct, frozen=True):
    """Answer of POST /deliveries/{id}/retry: what it was, and the replay that it became unless it was pending."""

    id: str
    was: str
    replay_id: str | None


class Replay(Struct, frozen=True):
    """A replay. `count` is what it has found to deliver so far; `progress` goes from 0 to 1."""

    id: str
    webhook_id: str
    state: str
    count: int
    pending: int
    delivered: int
    dead: int
    progress: float
    created_at: datetime


class ReplayList(Struct, frozen=True):
    """Answer of GET /webhooks/{id}/replays, newest first."""

    replays: Sequence[Replay]


def delivery(row: DeliveryRow, id: str) -> Delivery:
    return Delivery(
        id=id,
        event_id=row.event_id,
        seq=row.seq,
        state="failed" if row.state == "pending" and row.attempts else row.state,
        attempts=row.attempts,
        last_status=row.last_status,
        last_error=row.last_error,
        duration_ms=row.duration_ms,
        answer=row.answer,
        created_at=row.created_at.astimezone(UTC),
        next_at=None if row.next_at is None else row.next_at.astimezone(UTC),
        finished_at=None if row.finished_at is None else row.finished_at.astimezone(UTC),
        replay_id=row.replay,
        history=row.history or [],
    )


def replay(row: ReplayRow) -> Replay:
    """Return a replay as it is shown: it is done when all of it is in lanes and nothing of it waits."""
    state = "done" if row.state == "queued" and not row.pending else "running" if row.state == "queued" else row.state
    looked = 1.0 if row.state == "queued" or not row.until_position else min(row.cursor / row.until_position, 1.0)
    through = 1 - row.pending / row.queued if row.queued else 1.0
    return Replay(
        id=row.id,
        webhook_id=row.endpoint_id,
        state=state,
        count=row.queued,
        pending=row.pending,
        delivered=row.delivered,
        dead=row.dead,
        progress=round(looked * through if row.state != "running" else min(looked * through, 0.99), 3),
        created_at=row.created_at.astimezone(UTC),
    )
