"""The bodies of the calls on keys and on the audit trail."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.api.schemas import Label
from bridge.store.rows import AuditRow, KeyRow

Role = Literal["admin", "operator", "sender", "viewer"]


class CreateKey(Struct, frozen=True):
    """Body of POST /keys. Without instances, addresses or an end it is limited by its role alone."""

    name: Annotated[Label, Meta(min_length=1)]
    role: Role
    instances: Annotated[list[str], Meta(min_length=1, max_length=1_000)] | None = None
    ips: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=100)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    rate_per_s: Annotated[float, Meta(gt=0, le=100_000)] | None = None


class Key(Struct, frozen=True):
    """An API key as it is shown. `secret` is in the answer of the call that makes it and nowhere else."""

    key_id: str
    name: str
    role: str
    instances: Sequence[str] | None
    """None: all."""
    ips: Sequence[str] | None
    """None: any."""
    rate_per_s: float | None
    hint: str
    created_at: datetime
    expires_at: datetime | None
    created_by: str | None
    secret: str | UnsetType = UNSET


class KeyList(Struct, frozen=True):
    """Answer of GET /keys."""

    keys: Sequence[Key]
    count: int
    next_cursor: str | None


class OwnKey(Struct, frozen=True):
    """Answer of GET /keys/self: all but `may` is null where the bridge asks for no key."""

    key_id: str | None
    name: str | None
    role: str | None
    may: Sequence[str]
    """What its role allows: read, send, manage, admin."""
    instances: Sequence[str] | None
    """None: all."""
    expires_at: datetime | None


class KeyRevoked(Struct, frozen=True):
    """Answer of DELETE /keys/{key_id}."""

    status: str
    key_id: str


class AuditEntry(Struct, frozen=True):
    """One call that somebody made."""

    id: str
    at: datetime | None
    key_id: str | None
    key_name: str | None
    role: str | None
    address: str | None
    action: str
    instance_key: str | None
    target: str | None
    status: int | None
    code: str | None
    request_id: str


class AuditTrail(Struct, frozen=True):
    """Answer of GET /audit, newest first."""

    entries: Sequence[AuditEntry]
    next_cursor: str | None


def key(row: KeyRow, secret: str | UnsetType = UNSET) -> Key:
    return Key(
        key_id=row.id,
        name=row.name,
        role=row.role,
        instances=row.instances,
        ips=row.networks,
        rate_per_s=row.rate_per_s,
        hint=row.hint,
        created_at=row.created_at.astimezone(UTC),
        expires_at=row.expires_at.astimezone(UTC) if row.expires_at else None,
        created_by=row.created_by,
        secret=secret,
    )


def audit_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at.astimezone(UTC) if row.at else None,
        key_id=row.key_id,
        key_name=row.key_name,
        role=row.role,
        address=row.address,
        action=row.action,
        instance_key=row.instance_key,
        target=row.target,
        status=row.status,
        code=row.code,
        request_id=row.request_id,
    )
