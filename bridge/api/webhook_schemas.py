"""The bodies of the calls on endpoints of webhooks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.store.endpoints import EndpointRow, Lag

EVERY_INSTANCE = "*"
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Events = Annotated[list[Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z_.]{0,63})$")]], Meta(max_length=100)]
Key = Annotated[str, Meta(pattern=r"^(\*|[0-9a-f]{32})$")]
Headers = Annotated[dict[str, str], Meta(max_length=20)]
Ordering = Literal["chat", "instance", "none"]
Payload = Literal["native", "wuzapi", "evolution"]
TimeoutSeconds = Annotated[float, Meta(ge=1, le=30)]
MaxAgeHours = Annotated[float, Meta(ge=1 / 60, le=168)]


class CreateWebhook(Struct, frozen=True):
    """Body of POST /webhooks. `instance_key` `*` is all instances; no events means all of them."""

    url: Url
    instance_key: Key | None = None
    events: Events = []
    secret: Annotated[str, Meta(max_length=128)] | None = None
    headers: Headers = {}
    ordering: Ordering = "chat"
    payload: Payload = "native"
    timeout_s: TimeoutSeconds = 10
    max_age_h: MaxAgeHours = 72


class ChangeWebhook(Struct, frozen=True):
    """Body of PATCH /webhooks/{id}: what is left out stays as it is; the secret has a call of its own."""

    url: Url | UnsetType = UNSET
    instance_key: Key | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    ordering: Ordering | UnsetType = UNSET
    payload: Payload | UnsetType = UNSET
    timeout_s: TimeoutSeconds | UnsetType = UNSET
    max_age_h: MaxAgeHours | UnsetType = UNSET


class RotateSecret(Struct, frozen=True):
    """Body of POST /webhooks/{id}/rotate-secret."""

    secret: Annotated[str, Meta(max_length=128)] | None = None


class PauseWebhook(Struct, frozen=True):
    """Body of POST /webhooks/{id}/pause."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class Webhook(Struct, frozen=True):
    """An endpoint as it is shown. `secret` is there once: when it was made, or replaced."""

    id: str
    url: str
    instance_key: str
    events: Sequence[str]
    headers: Sequence[str]
    """Their names; the values are secrets."""
    ordering: str
    payload: str
    timeout_s: float
    max_age_h: float
    state: str
    reason: str | None
    held: bool
    """It fails, and is only probed now; nothing is lost."""
    failing_since: datetime | None
    lag_events: int
    dead_events: int
    oldest_undelivered_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    secret_hint: str
    old_secret_until: datetime | None
    created_at: datetime
    secret: str | UnsetType = UNSET


class WebhookList(Struct, frozen=True):
    """Answer of GET /webhooks; `count` is the length of this page."""

    webhooks: Sequence[Webhook]
    count: int
    next_cursor: str | None


class WebhookTest(Struct, frozen=True):
    """Answer of POST /webhooks/{id}/test."""

    delivered: bool
    status: int | None
    duration_ms: int
    error: str | None
    answer: str | None


class WebhookRemoved(Struct, frozen=True):
    """Answer of DELETE /webhooks/{id}."""

    status: str
    id: str
    message: str


def webhook(row: EndpointRow, lag: Lag, *, held: bool, secret: str | UnsetType = UNSET) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        instance_key=row.instance_key or EVERY_INSTANCE,
        events=row.events or ["*"],
        headers=row.headers,
        ordering=row.ordering,
        payload="native",
        timeout_s=row.timeout_s,
        max_age_h=round(row.max_age_s / 3600, 4),
        state=row.state,
        reason=row.reason,
        held=held,
        failing_since=_utc(row.failing_since),
        lag_events=lag.pending,
        dead_events=lag.dead,
        oldest_undelivered_at=_utc(lag.oldest),
        last_error=lag.error,
        last_error_at=_utc(lag.error_at),
        secret_hint=f"…{row.secret_hint}" if row.secret_hint else "",
        old_secret_until=_utc(row.old_secret_until),
        created_at=row.created_at.astimezone(UTC),
        secret=secret,
    )


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
