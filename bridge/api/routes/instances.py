"""Calls on instances: create, connect, look at, list, stop, restart, delete."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from quart.wrappers import Response

from bridge.api import schemas
from bridge.api.auth import Access, Reach
from bridge.api.body import MAX_DEPTH, depth
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.idempotency import derived_endpoint_id, derived_instance_key, derived_key_id, idempotency_key
from bridge.api.problems import InvalidField, NotSupported
from bridge.api.routes.keys import key_of_instance
from bridge.api.routes.webhooks import admit_url
from bridge.domain.ids import EndpointId, InstanceKey
from bridge.ids import new_endpoint_id, new_instance_key, new_key_id
from bridge.store.errors import IdempotencyMismatch, InstanceNotFound
from bridge.store.rows import InstanceRow

LOG_PAGE = 100
PAGE = 1_000
"""Instances in one answer when the caller sets no limit: the original gives all of them."""
SECRET_BYTES = (24, 64)
"""Of a Standard Webhooks secret."""
_CONNECTING = {
    "qr_generated": "A QR code is ready: GET /instance/{key}/qr shows it.",
    "already_connected": "The instance is connected.",
    "already_logged_in": "The instance is paired and connecting; no QR code is needed.",
    "connecting": "The instance is connecting; GET /instance/{key}/status says how far it is.",
}


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = InstanceCalls(context)
    return (
        Route("POST", "/instance/create", calls.create, Access.MANAGE, keeps_answer=False),
        Route("POST", "/instance/connect", calls.connect, Access.MANAGE, Reach.ONE),
        Route("GET", "/instances", calls.list, Access.READ, Reach.SHOWN),
        Route("GET", "/instance/<key>", calls.get, Access.READ),
        Route("PATCH", "/instance/<key>", calls.change, Access.MANAGE),
        Route("GET", "/instance/<key>/status", calls.status, Access.READ),
        Route("GET", "/instance/<key>/log", calls.log, Access.READ),
        Route("POST", "/instance/<key>/disconnect", calls.disconnect, Access.MANAGE),
        Route("POST", "/instance/<key>/logout", calls.logout, Access.MANAGE),
        Route("POST", "/instance/<key>/restart", calls.restart, Access.MANAGE),
        Route("DELETE", "/instance/<key>", calls.delete, Access.MANAGE),
    )


@dataclass(frozen=True, slots=True)
class InstanceCalls:
    """The handlers; each checks everything before it lets anything be written."""

    context: ApiContext

    async def create(self, call: Call) -> Response:
        body = await call.json(schemas.CreateInstance)
        _check(body, self.context.limits.metadata_bytes)
        secret = _secret(body.webhook.secret) if body.webhook else b""
        if body.webhook:
            await admit_url(self.context.webhooks, body.webhook.url, "webhook.url")
        repeated = idempotency_key(call.headers)
        key = derived_instance_key(repeated) if repeated else new_instance_key()
        with call.promised():
            row = await self._earlier(key, body) if repeated else None
            call.notes["instance"] = key
            webhook: schemas.Webhook | msgspec.UnsetType = msgspec.UNSET
            if body.webhook:  # before the instance: it is to hear of the creation
                id_ = derived_endpoint_id(repeated) if repeated else new_endpoint_id()
                webhook = await self._add_webhook(key, id_, body.webhook, secret)
            if row is None:
                row = await self.context.directory.create(
                    body.name, body.external_id, body.metadata or {}, key=key, settings=_settings(body.settings)
                )
            key_id = derived_key_id(repeated, "instance/create") if repeated else new_key_id()
            api_key = await key_of_instance(self.context, row, key_id, call.caller.key.id if call.caller.key else None)
        text = "The instance is created; POST /instance/connect connects it."
        return answer(schemas.Created("instance_created", row.key, text, row.state, webhook, api_key))

    async def _earlier(self, key: InstanceKey, body: schemas.CreateInstance) -> InstanceRow | None:
        """Return what an earlier request with this Idempotency-Key made; raise `IdempotencyMismatch`."""
        row = await self.context.store.instances.get(key)
        if row is not None:
            made = (row.name, row.external_id, dict(row.metadata), dict(row.settings))
            if made != (body.name, body.external_id, body.metadata or {}, _settings(body.settings)):
                raise IdempotencyMismatch
        return row

    async def _add_webhook(
        self, key: InstanceKey, id_: EndpointId, webhook: schemas.WebhookRequest, secret: bytes
    ) -> schemas.Webhook:
        events = [] if "*" in webhook.events else webhook.events
        await self.context.store.endpoints.upsert(id_, key, webhook.url, events, secret)
        return schemas.Webhook(id_, webhook.url, events, "whsec_" + base64.b64encode(secret).decode())

    async def connect(self, call: Call) -> Response:
        body = await call.json(schemas.ConnectInstance)
        key = call.instance(body.instance_key)
        with call.promised():
            result = await self.context.directory.connect(key, body.wait_s)
        text = _CONNECTING.get(result.status, _CONNECTING["connecting"]).replace("{key}", key)
        return answer(schemas.Done(result.status, key, text, result.state))

    async def get(self, call: Call) -> Response:
        return answer(schemas.instance(await self._row(call)))

    async def change(self, call: Call) -> Response:
        body = await call.json(schemas.ChangeInstance)
        key = call.instance()
        settings = _settings(body.settings)
        given = {name: getattr(body, name) for name in ("name", "external_id", "metadata")}
        changes = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        if settings:
            changes["settings"] = settings
        _check_metadata(changes.get("metadata"), self.context.limits.metadata_bytes)
        with call.promised():
            row = await self.context.directory.change(key, changes)
        return answer(schemas.instance(row))

    async def status(self, call: Call) -> Response:
        row = await self._row(call)
        return answer(schemas.status(row, self.context.directory.heard_ago_s(row.key)))

    async def log(self, call: Call) -> Response:
        level = call.query("level") or schemas.LEVELS[0]
        if level not in schemas.LEVELS:
            raise InvalidField("level", f"must be one of {', '.join(schemas.LEVELS)}")
        limit = int(call.query_number("limit", LOG_PAGE, 1, PAGE))
        row = await self._row(call)
        page = await self.context.store.log.page(
            row.key, last_seq=row.last_seq, limit=limit, cursor=call.query("cursor")
        )
        entries = [schemas.log_entry(one) for one in page.items]
        wanted = schemas.LEVELS[schemas.LEVELS.index(level) :]
        return answer(schemas.Log([entry for entry in entries if entry.level in wanted], page.next_cursor))

    async def list(self, call: Call) -> Response:
        state = call.query("state")
        if state is not None and state not in schemas.STATES:
            raise InvalidField("state", f"must be one of {', '.join(schemas.STATES)}")
        page = await self.context.store.instances.list(
            state=state,
            external_id=call.query("external_id"),
            limit=int(call.query_number("limit", PAGE, 1, PAGE)),
            cursor=call.query("cursor"),
            only=call.only,
        )
        shown = [schemas.instance(row) for row in page.items]
        return answer(schemas.InstanceList(shown, len(shown), page.next_cursor))

    async def disconnect(self, call: Call) -> Response:
        key = call.instance((await call.json(schemas.NameInstance)).instance_key)
        with call.promised():
            row = await self.context.directory.disconnect(key)
        text = "The instance is disconnected and stays paired; POST /instance/connect connects it again."
        return answer(schemas.Done("disconnected", key, text, row.state))

    async def logout(self, call: Call) -> Response:
        key = call.instance((await call.json(schemas.NameInstance)).instance_key)
        with call.promised():
            row = await self.context.directory.logout(key)
        text = "The instance is unlinked from its phone; POST /instance/connect pairs it anew."
        return answer(schemas.Done("logged_out", key, text, row.state))

    async def restart(self, call: Call) -> Response:
        key = call.instance((await call.json(schemas.NameInstance)).instance_key)
        with call.promised():
            row = await self.context.directory.restart(key)
        return answer(schemas.Done("restarting", key, "The instance is being restarted.", row.state))

    async def delete(self, call: Call) -> Response:
        key = call.instance()
        for choice in ("logout", "purge"):
            if call.query(choice) not in {None, "true", "1"}:
                raise NotSupported(
                    f"`{choice}={call.query(choice)}`; an instance is always logged out and purged.", field=choice
                )
        with call.promised():
            await self.context.directory.delete(key)
        return answer(schemas.Done("deleted", key, "The instance is logged out and its session is deleted."))

    async def _row(self, call: Call) -> InstanceRow:
        row = await self.context.store.instances.get(call.instance())
        if row is None:
            raise InstanceNotFound
        return row


def _check(body: schemas.CreateInstance, metadata_bytes: int) -> None:
    if body.proxy:
        raise NotSupported("`proxy`.", field="proxy")
    _settings(body.settings)
    _check_metadata(body.metadata, metadata_bytes)


def _settings(given: schemas.InstanceSettings | None) -> dict[str, object]:
    """Return the settings that are given; raise `NotSupported` for those that there are not yet."""
    if given is None:
        return {}
    for name in given.__struct_fields__:
        if name != "pacing_profile" and getattr(given, name) is not None:
            raise NotSupported(f"`settings.{name}`.", field=f"settings.{name}")
    return {} if given.pacing_profile is msgspec.UNSET else {"pacing_profile": given.pacing_profile}


def _check_metadata(metadata: Mapping[str, object] | None, metadata_bytes: int) -> None:
    if metadata and depth(metadata) > MAX_DEPTH:
        raise InvalidField("metadata", f"is nested deeper than {MAX_DEPTH} levels")
    if metadata and len(schemas.encode(metadata)) > metadata_bytes:
        raise InvalidField("metadata", f"is larger than {metadata_bytes} bytes")


def _secret(given: str | None) -> bytes:
    """Return the bytes of `given`, or new ones; libraries of Standard Webhooks read a secret as base64."""
    if given is None:
        return secrets.token_bytes(32)
    low, high = SECRET_BYTES
    try:
        secret = base64.b64decode(given.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not low <= len(secret) <= high:
        raise InvalidField("webhook.secret", f"must be whsec_ and the base64 of {low} to {high} bytes")
    return secret
