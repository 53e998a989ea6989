"""Calls that send messages."""

from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from quart.wrappers import Response

from bridge.api import schemas_messages as schemas
from bridge.api.auth import Access, Reach
from bridge.api.body import MAX_DEPTH, depth
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext, MessageRef
from bridge.api.idempotency import idempotency_key, request_hash
from bridge.api.problems import InvalidField, InvalidRecipientField, NotSupported, OutcomeUnknown, SendFailed
from bridge.api.send_files import FILE_SENDS
from bridge.api.sends import SENDS, SendCall
from bridge.domain.identity import InvalidRecipient, Recipient, parse_recipient
from bridge.domain.ids import InstanceKey
from bridge.domain.sends import SendOptions

_TAKEN = frozenset({"sent", "delivered", "read", "played"})


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
        content = await send.read(call, key, request)
        kind = content.kind or send.kind
        body: dict[str, Any] = {**content.body}
        if request.reply_to:
            body["reply_to"] = request.reply_to
        if options.metadata is not None:
            body["metadata"] = options.metadata
        meaning = (to, content.meaning or content.body, request.reply_to or None)
        with call.promised(self.context.limits.transfer_s if send.with_file else 0):
            ref = await self.context.directory.send(
                key,
                kind,
                to,
                body,
                request_hash=request_hash(kind, meaning),
                idempotency_key=repeated,
                options=options,
            )
        return _answer(ref, call, key)

    def _options(self, request: schemas.Send) -> SendOptions:
        later = request.unsupported()
        if later:
            raise NotSupported(f"`{later}`.", field=later)
        if request.metadata is not None:
            limit = self.context.limits.metadata_bytes
            if depth(request.metadata) > MAX_DEPTH or len(msgspec.json.encode(request.metadata)) > limit:
                raise InvalidField("metadata", f"is larger than {limit} bytes, or deeper than {MAX_DEPTH} levels")
        return SendOptions(queued=request.mode == "queue", metadata=request.metadata)


def recipient(request: schemas.Send) -> Recipient:
    """Return whom `to` or its alias `phone` names; raise `InvalidRecipientField`, or `InvalidField` for two people."""
    field = "to" if request.to else "phone"
    text = request.to or request.phone
    if text is None:
        raise InvalidField(field, "is required: a phone number with its country code, or a JID")
    try:
        found = parse_recipient(text)
        if request.to and request.phone and parse_recipient(request.phone) != found:
            raise InvalidField("phone", "and `to` name different recipients; give one of them")
    except InvalidRecipient as error:
        raise InvalidRecipientField(field, str(error)) from None
    return found


def _answer(ref: MessageRef, call: Call, key: InstanceKey) -> Response:
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
    )
    return answer(body, 202 if queued else 200)
