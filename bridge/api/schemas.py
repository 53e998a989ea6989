"""The bodies of requests and answers: the original's fields by their names, and ours beside them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.domain.identity import phone_of
from bridge.store.instance_log import LogRow
from bridge.store.rows import InstanceRow

State = Literal[
    "created",
    "connecting",
    "awaiting_pairing",
    "online",
    "reconnecting",
    "stale",
    "conflict",
    "restricted",
    "paused",
    "logged_out",
    "failed",
]
STATES: tuple[str, ...] = get_args(State)
Label = Annotated[str, Meta(max_length=200)]
WaitSeconds = Annotated[float, Meta(ge=0, le=30)]


class WebhookRequest(Struct, frozen=True):
    """The endpoint that an instance is created with; no events means all of them."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    events: Annotated[list[Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z_.]{0,63})$")]], Meta(max_length=100)] = []
    secret: Annotated[str, Meta(max_length=128)] | None = None


PacingProfile = Literal["off", "steady", "warm_up"]


class InstanceSettings(Struct, frozen=True):
    """What can be chosen for one instance; null, or nothing, is what the bridge's own settings say."""

    pacing_profile: PacingProfile | UnsetType | None = UNSET
    history_sync: Any = None
    reject_calls: Any = None
    ignore_groups: Any = None
    ignore_status: Any = None
    mark_read_on_reply: Any = None
    media_mode: Any = None


class CreateInstance(Struct, frozen=True):
    """Body of POST /instance/create; the empty body is valid."""

    name: Label | None = None
    external_id: Label | None = None
    metadata: dict[str, Any] | None = None
    webhook: WebhookRequest | None = None
    proxy: Any = None
    settings: InstanceSettings | None = None


class ChangeInstance(Struct, frozen=True):
    """Body of PATCH /instance/{key}: what is given is changed, null takes it away."""

    name: Label | UnsetType | None = UNSET
    external_id: Label | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    settings: InstanceSettings | None = None


class ConnectInstance(Struct, frozen=True):
    """Body of POST /instance/connect."""

    instance_key: str | None = None
    wait_s: WaitSeconds = 10


class NameInstance(Struct, frozen=True):
    """Body of the calls that have nothing to say but, perhaps, which instance they mean."""

    instance_key: str | None = None


class AskPairCode(Struct, frozen=True):
    """Body of POST /instance/{key}/pair-code. `phone` is the number to be linked, which gets a notification."""

    phone: str
    show_notification: bool = True


class PairingCode(Struct, frozen=True):
    """Answer of POST /instance/{key}/pair-code."""

    status: str
    instance_key: str
    message: str
    pairing_code: str
    expires_at: datetime
    """At the latest."""


class Webhook(Struct, frozen=True):
    """The endpoint of a new instance. `secret` is shown here and nowhere else."""

    id: str
    url: str
    events: Sequence[str]
    secret: str


class Created(Struct, frozen=True):
    """Answer of POST /instance/create."""

    status: str
    instance_key: str
    message: str
    state: str
    webhook: Webhook | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    """A key for this instance alone, shown here and nowhere else; absent when the call is repeated."""


class Done(Struct, frozen=True):
    """Answer of a call that changes an instance."""

    status: str
    instance_key: str
    message: str
    state: str | UnsetType = UNSET


class Instance(Struct, frozen=True):
    """An instance as it is shown. `connected`: it can send now. `logged_in`: it is paired, connected or not."""

    instance_key: str
    connected: bool
    logged_in: bool
    phone_number: str
    """Digits without the plus; empty when it is not paired, as in the original."""
    name: str | None
    external_id: str | None
    state: str
    reason: str | None
    since: datetime
    next_retry_at: datetime | None
    needs: str
    jid: str | None
    lid: str | None
    push_name: str | None
    owner_node: str | None
    metadata: Mapping[str, object]
    settings: Mapping[str, object]


class Restriction(Struct, frozen=True):
    """What WhatsApp refuses to a number for a while; `until` is when it is tried again."""

    kind: str
    since: datetime
    until: datetime


class Status(Struct, frozen=True):
    """Answer of GET /instance/{key}/status."""

    instance_key: str
    connected: bool
    logged_in: bool
    phone_number: str
    state: str
    reason: str | None
    since: datetime
    next_retry_at: datetime | None
    needs: str
    last_event_at: datetime | None
    keepalive_age_s: float | None
    """Seconds since WhatsApp gave a sign of life over the connection; null while there is none."""
    restriction: Restriction | None
    """Null: none that is known."""


Level = Literal["info", "warning", "error"]
LEVELS: tuple[str, ...] = get_args(Level)
_LEVEL_OF_STATE: Mapping[str, Level] = {
    "reconnecting": "warning",
    "stale": "warning",
    "conflict": "warning",
    "restricted": "warning",
    "failed": "error",
    "logged_out": "error",
}


class LogEntry(Struct, frozen=True):
    """One thing that happened to an instance; `detail` is the data of the event of this type and number."""

    at: datetime
    level: Level
    event: str
    seq: int
    detail: Mapping[str, Any]


class Log(Struct, frozen=True):
    """Answer of GET /instance/{key}/log, newest first."""

    entries: Sequence[LogEntry]
    next_cursor: str | None


class InstanceList(Struct, frozen=True):
    """Answer of GET /instances; `count` is the length of this page."""

    instances: Sequence[Instance]
    count: int
    next_cursor: str | None


class Paired(Struct, frozen=True):
    """Answer of GET /instance/{key}/qr when there is nothing to scan any more."""

    status: str
    message: str
    instance_key: str


class Qr(Struct, frozen=True):
    """Answer of GET /instance/{key}/qr?format=json."""

    code: str
    png_base64: str
    attempt: int
    expires_at: datetime


class UploadedMedia(Struct, frozen=True):
    """Answer of POST /media/{key}. `url` opens the file without a key until `expires_at`."""

    media_id: str
    sha256: str
    mime_type: str
    size: int
    filename: str
    expires_at: datetime
    url: str
    media_path: str


class MediaAgain(Struct, frozen=True):
    """Answer of POST /media/{key}/{media_id}/retry; the event media.updated tells how it ended."""

    status: str
    media_id: str
    attempts: int


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)


def connected(row: InstanceRow) -> bool:
    return row.state == "online"


def logged_in(row: InstanceRow) -> bool:
    return row.jid is not None and row.state != "logged_out"


def instance(row: InstanceRow) -> Instance:
    return Instance(
        instance_key=row.key,
        connected=connected(row),
        logged_in=logged_in(row),
        phone_number=phone_of(row.jid) or "",
        name=row.name,
        external_id=row.external_id,
        state=row.state,
        reason=row.reason,
        since=row.since.astimezone(UTC),
        next_retry_at=_utc(row.next_retry_at),
        needs=row.needs,
        jid=row.jid,
        lid=row.lid,
        push_name=row.push_name,
        owner_node=row.owner,
        metadata=row.metadata,
        settings=row.settings,
    )


def log_entry(row: LogRow) -> LogEntry:
    detail = msgspec.json.decode(row.body)["data"]
    level = _LEVEL_OF_STATE.get(str(detail.get("state")), "info")
    return LogEntry(row.received_at.astimezone(UTC), level, row.type, row.seq, detail)


def status(row: InstanceRow, heard_ago_s: float | None) -> Status:
    return Status(
        instance_key=row.key,
        connected=connected(row),
        logged_in=logged_in(row),
        phone_number=phone_of(row.jid) or "",
        state=row.state,
        reason=row.reason,
        since=row.since.astimezone(UTC),
        next_retry_at=_utc(row.next_retry_at),
        needs=row.needs,
        last_event_at=_utc(row.last_event_at),
        keepalive_age_s=None if heard_ago_s is None else round(heard_ago_s, 1),
        restriction=_restriction(row),
    )


def _restriction(row: InstanceRow) -> Restriction | None:
    """Return what is refused now; after its time it is tried again, and only then is it known whether it is over."""
    if row.restriction is None:
        return None
    since, until = (datetime.fromtimestamp(row.restriction[name], UTC) for name in ("since", "until"))
    return Restriction(str(row.restriction["kind"]), since, until) if until > datetime.now(UTC) else None


encode = msgspec.json.Encoder(order=None).encode
