"""Calls on API keys: make, list, revoke. A key's secret is shown once, in the answer of the call that makes it."""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import UNSET, UnsetType
from quart.wrappers import Response

from bridge.api import key_schemas as schemas
from bridge.api.auth import ROLES, Access, Gate, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.idempotency import derived_key_id, idempotency_key
from bridge.api.problems import InvalidField, LastAdminKey, UnknownKeyId
from bridge.domain.ids import InstanceKey, KeyId
from bridge.ids import new_key_id
from bridge.keyform import hint, make_key
from bridge.store.errors import IdempotencyMismatch, InstanceNotFound
from bridge.store.rows import InstanceRow, KeyRow, NewKey

PAGE = 1_000


def routes(context: ApiContext, gate: Gate) -> tuple[Route, ...]:
    calls = KeyCalls(context, gate)
    return (
        Route("GET", "/keys", calls.list, Access.ADMIN),
        Route("POST", "/keys", calls.create, Access.ADMIN, keeps_answer=False),
        Route("GET", "/keys/self", calls.own, Access.READ, Reach.SHOWN),
        Route("DELETE", "/keys/<key_id>", calls.revoke, Access.ADMIN),
    )


@dataclass(frozen=True, slots=True)
class KeyCalls:
    """The handlers."""

    context: ApiContext
    gate: Gate

    async def list(self, call: Call) -> Response:
        page = await self.context.store.keys.page(
            limit=int(call.query_number("limit", PAGE, 1, PAGE)), cursor=call.query("cursor")
        )
        shown = [schemas.key(row) for row in page.items]
        return answer(schemas.KeyList(shown, len(shown), page.next_cursor))

    async def own(self, call: Call) -> Response:
        """Tell whose key this is and what it may do, for pages that offer nothing else."""
        row = call.caller.key
        allowed = frozenset(Access) if row is None else ROLES.get(row.role, frozenset())
        may = [access.value for access in Access if access in allowed]
        if row is None:
            return answer(schemas.OwnKey(None, None, None, may, None, None))
        until = row.expires_at.astimezone(UTC) if row.expires_at else None
        return answer(schemas.OwnKey(row.id, row.name, row.role, may, row.instances, until))

    async def create(self, call: Call) -> Response:
        body = await call.json(schemas.CreateKey)
        networks = _networks(body.ips)
        _check(body)
        repeated = idempotency_key(call.headers)
        id_ = derived_key_id(repeated) if repeated else new_key_id()
        for number, key in enumerate(body.instances or ()):
            if await self.context.store.instances.get(InstanceKey(key)) is None:
                raise InstanceNotFound(field=f"instances[{number}]", instance=key)
        call.notes["target"] = id_
        made_by = call.caller.key.id if call.caller.key else None
        with call.promised():
            secret = make_key()
            row = await self.context.store.keys.add(
                NewKey(
                    id_,
                    body.name,
                    body.role,
                    digest(secret),
                    body.expires_at,
                    body.instances,
                    networks,
                    body.rate_per_s,
                    hint(secret),
                    made_by,
                )
            )
            if row is None:
                return answer(schemas.key(await self._repeated(id_, body, networks)))
        return answer(schemas.key(row, secret), 201)

    async def _repeated(self, id: KeyId, body: schemas.CreateKey, networks: Sequence[str] | None) -> KeyRow:
        row = await self.context.store.keys.get(id)
        if row is None:
            raise UnknownKeyId(key_id=id)
        given = (body.name, body.role, body.instances, networks, body.expires_at, body.rate_per_s)
        stored = (row.name, row.role, row.instances, row.networks, row.expires_at, row.rate_per_s)
        if given != stored:
            raise IdempotencyMismatch
        return row

    async def revoke(self, call: Call) -> Response:
        id_ = KeyId(call.path["key_id"])
        with call.promised():
            if not await self.context.store.keys.revoke(id_):
                raise UnknownKeyId if await self.context.store.keys.get(id_) is None else LastAdminKey
            self.gate.forget(id_)
        return answer(schemas.KeyRevoked("revoked", id_))


async def key_of_instance(context: ApiContext, row: InstanceRow, id: KeyId, made_by: str | None) -> str | UnsetType:
    """Make the key that belongs to a new instance and return its secret; nothing when it was made before."""
    secret = make_key()
    name = f"instance {row.name or row.key}"
    key = NewKey(id, name, "operator", digest(secret), instances=[row.key], hint=hint(secret), created_by=made_by)
    return UNSET if await context.store.keys.add(key) is None else secret


def digest(secret: str) -> bytes:
    """Return what of a key is stored."""
    return hashlib.sha256(secret.encode()).digest()


def _check(body: schemas.CreateKey) -> None:
    if body.role == "admin" and body.instances is not None:
        raise InvalidField("instances", "cannot limit an admin, who may make keys for all; use the role operator")
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise InvalidField("expires_at", "lies in the past")


def _networks(texts: Sequence[str] | None) -> list[str] | None:
    """Return addresses and networks in one spelling."""
    if texts is None:
        return None
    found = []
    for number, text in enumerate(texts):
        try:
            found.append(str(ipaddress.ip_network(text)))
        except ValueError:
            raise InvalidField(f"ips[{number}]", "must be an address or a network such as 10.0.0.0/8") from None
    return found
