"""The command hook: a receiver answers an event by a call of its own. The outcome comes as an event."""

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field
from quart.wrappers import Response

from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.idempotency import idempotency_key, request_hash
from bridge.api.problems import InvalidField
from bridge.api.recipients import read
from bridge.domain.sends import SendOptions


class Command(Struct, frozen=True):
    """Body of POST /webhook. Only `from` and `message` are used: who is answered, and with what."""

    instance_key: str | None = None
    sender: str | None = field(default=None, name="from")
    to: str | None = None
    message: Any = None
    message_type: str = "text"
    timestamp: Any = None
    message_id: str | None = None


class CommandTaken(Struct, frozen=True):
    """Answer of POST /webhook."""

    status: str
    message: Any
    type: str
    command_id: str | UnsetType = UNSET


def routes(context: ApiContext) -> tuple[Route, ...]:
    return (Route("POST", "/webhook", HookCalls(context).command, Access.SEND, Reach.ONE, keeps_answer=False),)


@dataclass(frozen=True, slots=True)
class HookCalls:
    """The handler."""

    context: ApiContext

    async def command(self, call: Call) -> Response:
        request = await call.json(Command)
        key = call.instance(request.instance_key)
        repeated = idempotency_key(call.headers)
        if request.message_type != "text":
            return answer(CommandTaken("received", request.message, request.message_type))
        if not request.sender:
            raise InvalidField("from", "is required: whom to answer")
        if not isinstance(request.message, str) or not request.message:
            raise InvalidField("message", "must be a text")
        if len(request.message) > self.context.limits.text_chars:
            raise InvalidField("message", f"is longer than {self.context.limits.text_chars} characters")
        to = read("from", request.sender).jid
        with call.promised():
            ref = await self.context.directory.send(
                key,
                "text",
                to,
                {"text": request.message},
                request_hash=request_hash("hook", (to, request.message)),
                idempotency_key=repeated,
                options=SendOptions(queued=True, unchecked=True),
            )
        return answer(CommandTaken("received", request.message, request.message_type, ref.command_id))
