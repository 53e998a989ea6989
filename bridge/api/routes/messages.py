"""Calls that send messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from quart.wrappers import Response

from bridge.api import schemas_messages as schemas
from bridge.api.auth import Access, Reach
from bridge.api.body import MAX_DEPTH, depth
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.directory import MessageRef
from bridge.api.idempotency import idempotency_key, request_hash
from bridge.api.problems import InvalidField, OutcomeUnknown, SendFailed
from bridge.api.recipients import read, recipient
from bridge.api.send_files import FILE_SENDS
from bridge.api.sends import SENDS, Content, SendCall
from bridge.domain.ids import InstanceKey
from bridge.domain.sends import SendOptions

_TAKEN = frozenset({"sent", "delivered", "read", "played"})
LATE = timedelta(minutes=1)
"""How far in the past a `send_at` may be: clocks differ."""
FAR = timedelta(days=366)


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = MessageCalls(context)
    largest = context.limits.inline_bytes
    return tuple(
        Route(
            "POST",
            send.path,
            partial(calls.send, send),
            Access.SEND,
            Reach.ONE,
            body_bytes=largest if send.with_file else None,
            keeps_answer=False,
        )
        for send in (*SENDS, *FILE_SENDS)
    )


@dataclass(frozen=True, slots=True)
class MessageCalls:
    """The handlers; what they accept belongs to the directory from then on."""

    context: ApiContext

    async def send(self, send: SendCall, call: Call) -> Response:
        request = await call.json(send.request)
        key = call.instance(request.instance_key)
        to = recipient(request).jid
        options = self._options(request)
        repeated = idempotency_key(call.headers)
        content = await send.read(call, key, to, request)
        context = _context(request)
        kind = content.kind or send.kind
        hash_ = request_hash(kind, (to, content.meaning or content.body, context, options.send_at))
        body = {**content.body, **context}
        if content.prepare is not None:
            if repeated is not None:
                found = await self.context.directory.repeated(key, repeated, hash_)
                if found is not None:
                    return _answer(found, call, key, content, options)
            body |= await content.prepare()
        with call.promised(self.context.limits.transfer_s if send.with_file else 0):
            ref = await self.context.directory.send(
                key, kind, to, body, request_hash=hash_, idempotency_key=repeated, options=options
            )
        return _answer(ref, call, key, content, options)

    def _options(self, request: schemas.Common) -> SendOptions:
        if request.metadata is not None:
            limit = self.context.limits.metadata_bytes
            if depth(request.metadata) > MAX_DEPTH or len(msgspec.json.encode(request.metadata)) > limit:
                raise InvalidField("metadata", f"is larger than {limit} bytes, or deeper than {MAX_DEPTH} levels")
        if request.send_at is not None and not -LATE <= request.send_at - datetime.now(UTC) <= FAR:
            raise InvalidField("send_at", "is in the past, or more than a year away")
        return SendOptions(
            queued=request.mode == "queue" or request.send_at is not None,
            send_at=request.send_at,
            ttl_s=request.ttl_s,
            delay_s=request.delay_ms / 1000,
            typing=request.typing,
            metadata=request.metadata,
        )


def _context(request: schemas.Common) -> Mapping[str, Any]:
    """Return what a message refers to, as its row keeps it: whom it mentions and what it answers."""
    found: dict[str, Any] = {}
    if isinstance(request, schemas.Send):
        if request.reply_to:
            found["reply_to"] = request.reply_to
        if request.mentions:
            found["mentions"] = [read("mentions", text).jid for text in request.mentions]
    return found


def _answer(ref: MessageRef, call: Call, key: InstanceKey, content: Content, options: SendOptions) -> Response:
    if ref.status == "unknown":
        raise OutcomeUnknown(message_id=ref.message_id, command_id=ref.command_id, status=ref.status)
    if ref.status not in _TAKEN and ref.status != "queued":
        raise SendFailed(message_id=ref.message_id, command_id=ref.command_id, status=ref.status)
    at = ref.at.astimezone(UTC)
    queued = ref.status == "queued"
    body = schemas.Message(
        status=ref.status,
        message_id=ref.message_id,
        to=ref.to,
        request_id=call.request_id,
        instance_key=key,
        command_id=ref.command_id,
        sent_at=UNSET if queued else at,
        queued_at=at if queued else UNSET,
        send_at=options.send_at.astimezone(UTC) if queued and options.send_at else UNSET,
        rendered_as=content.extra.get("rendered_as", UNSET),
        error=content.extra.get("error", UNSET),
    )
    return answer(body, 202 if queued else 200)
