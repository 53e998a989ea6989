"""Calls that send messages."""

from dataclasses import dataclass
from datetime import UTC

from msgspec import UNSET
from quart.wrappers import Response

from bridge.api import schemas
from bridge.api.auth import Access
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext, MessageRef
from bridge.api.idempotency import idempotency_key, request_hash
from bridge.api.problems import InvalidField, InvalidRecipientField, NotSupported, OutcomeUnknown, SendFailed
from bridge.domain.identity import InvalidRecipient, Recipient, parse_recipient
from bridge.domain.ids import InstanceKey

_TAKEN = frozenset({"sent", "delivered", "read", "played"})


def routes(context: ApiContext) -> tuple[Route, ...]:
    return (Route("POST", "/message/send", MessageCalls(context).send, Access.SEND),)


@dataclass(frozen=True, slots=True)
class MessageCalls:
    """The handlers; what they accept belongs to the directory from then on."""

    context: ApiContext

    async def send(self, call: Call) -> Response:
        body = await call.json(schemas.SendText)
        key = call.instance(body.instance_key)
        to = recipient(body).jid
        reply_to = body.reply_to or None
        later = body.unsupported()
        if later:
            raise NotSupported(f"`{later}`.", field=later)
        if len(body.message) > self.context.limits.text_chars:
            raise InvalidField("message", f"is longer than {self.context.limits.text_chars} characters")
        repeated = idempotency_key(call.headers)
        with call.promised():
            ref = await self.context.directory.send_text(
                key,
                to,
                body.message,
                reply_to=reply_to,
                idempotency_key=repeated,
                request_hash=request_hash("text", (to, body.message, reply_to)),
                mode=body.mode,
            )
        return _answer(ref, call, key)


def recipient(body: schemas.SendText) -> Recipient:
    """Return whom `to` or its alias `phone` names; raise `InvalidRecipientField`, or `InvalidField` for two people."""
    field = "to" if body.to else "phone"
    text = body.to or body.phone
    if text is None:
        raise InvalidField(field, "is required: a phone number with its country code, or a JID")
    try:
        found = parse_recipient(text)
        if body.to and body.phone and parse_recipient(body.phone) != found:
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
