"""Calls on deliveries: look at them, try one again, and replay what an endpoint has missed."""

import re
from dataclasses import dataclass
from datetime import datetime

from quart.wrappers import Response

from bridge.api import delivery_schemas as schemas
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.idempotency import idempotency_key, named_replay_id, request_hash
from bridge.api.problems import InvalidField, UnknownDelivery, UnknownReplay
from bridge.api.routes.webhooks import WebhookCalls
from bridge.domain.ids import EndpointId, EventId, InstanceKey
from bridge.ids import new_replay_id
from bridge.store.endpoints import EndpointRow
from bridge.store.errors import IdempotencyMismatch, InvalidCursor
from bridge.store.replays import ReplayRow, Selection

PAGE = 100
STATES = ("pending", "failed", "delivered", "dead")
LAST_SEQ = 2**62
BEGIN, END = 0.0, 32_503_680_000.0
"""Seconds since 1970 between which all events lie."""
_DELIVERY = re.compile(r"dlv_(?P<event>[0-9A-Z]{26})_(?P<endpoint>[0-9A-Za-z]{1,32})")
_CURSOR = re.compile(r"evt_[0-9A-Z]{26}")


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = DeliveryCalls(context, WebhookCalls(context))
    return (
        Route("GET", "/webhooks/<webhook>/deliveries", calls.list, Access.READ, Reach.SHOWN),
        Route("POST", "/webhooks/<webhook>/replay", calls.replay, Access.MANAGE, Reach.SHOWN, keeps_answer=False),
        Route("GET", "/webhooks/<webhook>/replays", calls.replays, Access.READ, Reach.SHOWN),
        Route("GET", "/replays/<replay>", calls.progress, Access.READ, Reach.SHOWN),
        Route("DELETE", "/replays/<replay>", calls.cancel, Access.MANAGE, Reach.SHOWN),
        Route("POST", "/deliveries/<delivery>/retry", calls.retry, Access.MANAGE, Reach.SHOWN),
    )


@dataclass(frozen=True, slots=True)
class DeliveryCalls:
    """The handlers."""

    context: ApiContext
    webhooks: WebhookCalls

    async def list(self, call: Call) -> Response:
        row = await self.webhooks.found(call)
        state, cursor = call.query("state"), call.query("cursor")
        if state is not None and state not in STATES:
            raise InvalidField("state", f"must be one of {', '.join(STATES)}")
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise InvalidCursor
        limit = int(call.query_number("limit", PAGE, 1, 1_000))
        before = None if cursor is None else EventId(cursor)
        rows = await self.context.store.deliveries.page(row.id, state, limit=limit, before=before)
        shown = [schemas.delivery(one, delivery_id(one.event_id, row.id)) for one in rows]
        return answer(schemas.DeliveryList(shown, rows[-1].event_id if len(rows) == limit else None))

    async def replay(self, call: Call) -> Response:
        body = await call.json(schemas.StartReplay)
        row = await self.webhooks.found(call)
        return answer(schemas.replay(await self._start(call, row, _selection(body, row))), 202)

    async def replays(self, call: Call) -> Response:
        row = await self.webhooks.found(call)
        limit = int(call.query_number("limit", PAGE, 1, 1_000))
        found = await self.context.store.replays.list(row.id, limit=limit)
        return answer(schemas.ReplayList([schemas.replay(one) for one in found]))

    async def progress(self, call: Call) -> Response:
        return answer(schemas.replay(await self._found(call)))

    async def cancel(self, call: Call) -> Response:
        row = await self._found(call)
        with call.promised():
            await self.context.store.replays.cancel(row.id)
        return answer(schemas.replay(await self._found(call)))

    async def retry(self, call: Call) -> Response:
        named = _DELIVERY.fullmatch(call.path["delivery"])
        if named is None:
            raise UnknownDelivery
        event = EventId(f"evt_{named['event']}")
        row = await self.webhooks.found(call, EndpointId(f"whk_{named['endpoint']}"))
        id_ = delivery_id(event, row.id)
        with call.promised():
            was = await self.context.store.deliveries.hurry(event, row.id)
            if was is None:
                raise UnknownDelivery
            if was == "pending":
                self.context.webhooks.hurried()
                return answer(schemas.Retried(id_, was, None), 202)
        started = await self._start(call, row, Selection(event=event, types=()))
        return answer(schemas.Retried(id_, was, started.id), 202)

    async def _start(self, call: Call, row: EndpointRow, chosen: Selection) -> ReplayRow:
        repeated = idempotency_key(call.headers)
        id_ = named_replay_id(repeated, row.id) if repeated else new_replay_id()
        digest = request_hash(
            "replay", (chosen.event, chosen.dead, chosen.instance, chosen.seqs, chosen.times, chosen.types)
        )
        with call.promised():
            replay = await self.context.store.replays.insert(id_, row.id, chosen, digest)
            self.context.webhooks.replaying()
        if replay is None:
            raise UnknownReplay(replay=id_)
        if bytes(replay.request_hash) != digest:
            raise IdempotencyMismatch
        return replay

    async def _found(self, call: Call) -> ReplayRow:
        id_ = call.path["replay"]
        row = await self.context.store.replays.get(id_)
        if row is None:
            raise UnknownReplay(replay=id_[:64])
        await self.webhooks.found(call, row.endpoint_id)
        return row


def delivery_id(event: EventId, endpoint: EndpointId) -> str:
    """Return the id of a delivery, which is one of an event to an endpoint."""
    return f"dlv_{event.removeprefix('evt_')}_{endpoint.removeprefix('whk_')}"


def _selection(body: schemas.StartReplay, row: EndpointRow) -> Selection:
    """Return what is to be replayed; raise `InvalidField` unless it is one thing, and clear."""
    by_seq = body.from_seq is not None or body.to_seq is not None
    by_time = body.from_time is not None or body.to_time is not None
    if sum((body.event_id is not None, body.dead, by_seq, by_time)) != 1:
        raise InvalidField("body", "must have one of event_id, dead, a range of seq, or a range of time")
    instance = row.instance_key if body.instance_key is None else InstanceKey(body.instance_key)
    if row.instance_key not in {None, instance}:
        raise InvalidField("instance_key", "is not the instance of this webhook")
    if by_seq and instance is None:
        raise InvalidField("instance_key", "is required: `seq` counts per instance")
    types = None if body.events is None else () if "*" in body.events else tuple(body.events)
    if body.event_id is not None:
        return Selection(event=EventId(body.event_id), instance=instance, types=() if types is None else types)
    return Selection(
        dead=body.dead,
        instance=instance,
        seqs=(body.from_seq or 0, LAST_SEQ if body.to_seq is None else body.to_seq) if by_seq else None,
        times=(_seconds("from_time", body.from_time, BEGIN), _seconds("to_time", body.to_time, END))
        if by_time
        else None,
        types=() if body.dead and types is None else types,
    )


def _seconds(field: str, at: datetime | None, default: float) -> float:
    if at is None:
        return default
    if at.tzinfo is None:
        raise InvalidField(field, "needs a time zone, such as Z")
    return min(max(at.timestamp(), BEGIN), END)
