"""Calls on endpoints of webhooks: make, list, look at, change, remove, rotate the secret, test, pause, resume."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from msgspec import UNSET, UnsetType
from quart.wrappers import Response

from bridge.api import webhook_schemas as schemas
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext, Webhooks
from bridge.api.idempotency import idempotency_key, named_endpoint_id
from bridge.api.problems import Forbidden, InstanceMissing, InvalidField, NotSupported, UnknownWebhook
from bridge.domain.ids import EndpointId, InstanceKey
from bridge.errors import BridgeError
from bridge.ids import new_endpoint_id
from bridge.store.endpoints import EndpointRow, EndpointSpec, Lag
from bridge.store.errors import IdempotencyMismatch, InstanceNotFound
from bridge.webhooks import sign

T = TypeVar("T")

PAGE = 100
BY_CALL = "paused by a call"


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = WebhookCalls(context)
    return (
        Route("GET", "/webhooks", calls.list, Access.READ, Reach.SHOWN),
        Route("POST", "/webhooks", calls.create, Access.MANAGE, Reach.SHOWN, keeps_answer=False),
        Route("GET", "/webhooks/<webhook>", calls.get, Access.READ, Reach.SHOWN),
        Route("PATCH", "/webhooks/<webhook>", calls.change, Access.MANAGE, Reach.SHOWN),
        Route("DELETE", "/webhooks/<webhook>", calls.delete, Access.MANAGE, Reach.SHOWN),
        Route(
            "POST", "/webhooks/<webhook>/rotate-secret", calls.rotate, Access.MANAGE, Reach.SHOWN, keeps_answer=False
        ),
        Route("POST", "/webhooks/<webhook>/test", calls.test, Access.MANAGE, Reach.SHOWN),
        Route("POST", "/webhooks/<webhook>/pause", calls.pause, Access.MANAGE, Reach.SHOWN),
        Route("POST", "/webhooks/<webhook>/resume", calls.resume, Access.MANAGE, Reach.SHOWN),
    )


@dataclass(frozen=True, slots=True)
class WebhookCalls:
    """The handlers; each checks everything before it lets anything be written."""

    context: ApiContext

    async def list(self, call: Call) -> Response:
        page = await self.context.store.endpoints.page(
            instance_key=_instance(call.query("instance_key")),
            limit=int(call.query_number("limit", PAGE, 1, 1_000)),
            cursor=call.query("cursor"),
            only=call.only,
        )
        lags = await self.context.store.endpoints.lag([row.id for row in page.items]) if page.items else {}
        held = self.context.webhooks.held()
        shown = [schemas.webhook(row, lags.get(row.id, Lag()), held=row.id in held) for row in page.items]
        return answer(schemas.WebhookList(shown, len(shown), page.next_cursor))

    async def create(self, call: Call) -> Response:
        body = await call.json(schemas.CreateWebhook)
        _native(body.payload)
        instance = self._instance(call, body.instance_key)
        secret = _secret(body.secret)
        repeated = idempotency_key(call.headers)
        await self._judge(body.url, body.headers, instance)
        id_ = named_endpoint_id(repeated) if repeated else new_endpoint_id()
        spec = EndpointSpec(
            instance_key=instance,
            url=body.url,
            events=tuple(_events(body.events)),
            ordering=body.ordering,
            timeout_s=body.timeout_s,
            max_age_s=body.max_age_h * 3600,
            headers=body.headers,
        )
        with call.promised():
            made = await self.context.store.endpoints.insert(id_, spec, secret)
        call.notes["target"] = id_
        row = await self.found(call, id_)
        if not made and not spec.describes(row):
            raise IdempotencyMismatch
        return await self._show(row, 201, secret=sign.show(secret) if made else UNSET)

    async def get(self, call: Call) -> Response:
        return await self._show(await self.found(call))

    async def change(self, call: Call) -> Response:
        body = await call.json(schemas.ChangeWebhook)
        _native(body.payload)
        row = await self.found(call)
        key = _given(body.instance_key)
        instance = None if key is None else self._instance(call, key)
        await self._judge(_given(body.url), _given(body.headers) or {}, instance)
        events, max_age_h = _given(body.events), _given(body.max_age_h)
        with call.promised():
            changed = await self.context.store.endpoints.change(
                row.id,
                instance_key=instance,
                every_instance=key == schemas.EVERY_INSTANCE,
                url=_given(body.url),
                events=None if events is None else _events(events),
                headers=_given(body.headers),
                ordering=_given(body.ordering),
                timeout_s=_given(body.timeout_s),
                max_age_s=None if max_age_h is None else max_age_h * 3600,
            )
        return await self._show(changed)

    async def delete(self, call: Call) -> Response:
        row = await self.found(call)
        with call.promised():
            await self.context.store.endpoints.remove(row.id)
        text = "The webhook is removed, with what was still to be delivered to it."
        return answer(schemas.WebhookRemoved("deleted", row.id, text))

    async def rotate(self, call: Call) -> Response:
        secret = _secret((await call.json(schemas.RotateSecret)).secret)
        row = await self.found(call)
        with call.promised():
            rotated = await self.context.store.endpoints.rotate(row.id, secret)
        return await self._show(rotated, secret=sign.show(secret))

    async def test(self, call: Call) -> Response:
        row = await self.found(call)
        result = await self.context.webhooks.test(row.id, row.instance_key)
        if result is None:
            raise UnknownWebhook(webhook=row.id)
        return answer(schemas.WebhookTest(result.ok, result.status, result.duration_ms, result.error, result.body))

    async def pause(self, call: Call) -> Response:
        reason = (await call.json(schemas.PauseWebhook)).reason or BY_CALL
        row = await self.found(call)
        with call.promised():
            paused = await self.context.store.endpoints.set_state(row.id, "paused", reason)
        return await self._show(paused)

    async def resume(self, call: Call) -> Response:
        row = await self.found(call)
        with call.promised():
            active = await self.context.store.endpoints.set_state(row.id, "active")
            self.context.webhooks.resumed(row.id)
        return await self._show(active)

    async def found(self, call: Call, id_: EndpointId | None = None) -> EndpointRow:
        """Return the endpoint that the path names; one that is not the caller's is not there."""
        id_ = id_ or EndpointId(call.path["webhook"])
        row = await self.context.store.endpoints.get(id_)
        if row is None or (call.only is not None and row.instance_key not in call.only):
            raise UnknownWebhook(webhook=id_)
        call.notes["target"] = id_
        return row

    @staticmethod
    def _instance(call: Call, key: str | None) -> InstanceKey | None:
        """Return the instance whose events are meant, None for those of all; raise what `Call.instance` does."""
        if key == schemas.EVERY_INSTANCE:
            if call.only is not None:
                raise Forbidden("It is limited to some instances, and `*` means all of them.")
            return None
        try:
            return call.instance(key)
        except InstanceMissing:
            raise InvalidField("instance_key", "is required: the key of an instance, or `*` for all of them") from None

    async def _judge(self, url: str | None, headers: Mapping[str, str], instance: InstanceKey | None) -> None:
        """Refuse what can never be delivered: before anything is written, and with the reason."""
        self.context.webhooks.admit_headers(headers)
        if instance is not None and await self.context.store.instances.get(instance) is None:
            raise InstanceNotFound(instance=instance)
        if url is not None:
            await admit_url(self.context.webhooks, url, "url")

    async def _show(self, row: EndpointRow | None, status: int = 200, *, secret: str | UnsetType = UNSET) -> Response:
        if row is None:
            raise UnknownWebhook
        lags = await self.context.store.endpoints.lag([row.id])
        held = row.id in self.context.webhooks.held()
        shown = answer(schemas.webhook(row, lags.get(row.id, Lag()), held=held, secret=secret), status)
        if secret is not UNSET:
            shown.headers["Cache-Control"] = "no-store"
        return shown


async def admit_url(webhooks: Webhooks, url: str, field: str) -> None:
    """Raise `url_refused`, naming the field, unless webhooks may go to `url`."""
    try:
        await webhooks.admit(url)
    except BridgeError as refused:
        refused.fields["field"] = field
        raise


def _instance(key: str | None) -> InstanceKey | None:
    """Return the instance that is meant; None for all of them."""
    return None if key is None or key == schemas.EVERY_INSTANCE else InstanceKey(key)


def _events(names: list[str]) -> list[str]:
    return [] if "*" in names else names


def _given(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value


def _native(payload: str | UnsetType) -> None:
    if payload not in {UNSET, "native"}:
        raise NotSupported(f"`payload: {payload}`.", field="payload")


def _secret(given: str | None) -> bytes:
    """Return the bytes of a secret that was given, or new ones; raise `InvalidField`."""
    if given is None:
        return sign.new_secret()
    try:
        return sign.read(given)
    except sign.BadSecret as error:
        raise InvalidField("secret", f"is wrong: {error}") from None
