"""Calls that look at messages, take queued ones back, and say that received ones were read."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quart.wrappers import Response

from bridge.api import recipients
from bridge.api import schemas_messages as schemas
from bridge.api.auth import Access, Reach
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.problems import InvalidField, UnknownMessage
from bridge.domain.identity import Server
from bridge.domain.ids import CommandId, InstanceKey
from bridge.domain.pacing import Turn
from bridge.domain.questions import MarkRead
from bridge.store.errors import InstanceNotFound
from bridge.store.messages import StoredMessage
from bridge.store.rows import CommandRow, InstanceRow

WAITING = ("queued", "scheduled", "held", "failed")
AWAY = "not_connected"


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = OutboxCalls(context)
    return (
        Route("POST", "/message/read", calls.read, Access.SEND, Reach.ONE),
        Route("GET", "/message/<key>/outbox", calls.outbox, Access.READ),
        Route("DELETE", "/message/<key>/outbox/<id>", calls.cancel, Access.SEND),
        Route("GET", "/message/<key>/<id>", calls.message, Access.READ),
    )


@dataclass(frozen=True, slots=True)
class OutboxCalls:
    """The handlers."""

    context: ApiContext

    async def read(self, call: Call) -> Response:
        request = await call.json(schemas.Read)
        key = call.instance(request.instance_key)
        chat = recipients.recipient(request).jid
        sender = recipients.read("sender", request.sender).jid if request.sender else None
        if sender is None:
            known = await self.context.store.messages.find(key, request.message_ids[0])
            sender = known.sender if known is not None else chat
            if known is None and chat.endswith(Server.GROUP.value):
                raise InvalidField("sender", "is required for messages in a group that the bridge does not know")
        ids = tuple(dict.fromkeys(request.message_ids))
        with call.promised():
            await self.context.directory.query(key, MarkRead(chat, sender, ids, int(time.time())))
        return answer(schemas.ReadDone("read", len(ids)))

    async def outbox(self, call: Call) -> Response:
        key = call.instance()
        row = await self._row(key)
        states = (call.query("status") or ",".join(WAITING[:3])).split(",")
        if not set(states) <= set(WAITING):
            raise InvalidField("status", f"must be one or more of {', '.join(WAITING)}")
        limit = int(call.query_number("limit", 100, 1, 1000))
        stored = ["queued" if state == "held" else state for state in states]
        page = await self.context.store.commands.outbox(key, stored, limit=limit, cursor=call.query("cursor"))
        turns = self.context.directory.holds(key)
        away = None if row.state == "online" else AWAY
        shown = [_waiting(item, away, turns.get(item.id)) for item in page.items]
        return answer(schemas.Outbox([one for one in shown if one.status in states], page.next_cursor))

    async def cancel(self, call: Call) -> Response:
        key = call.instance()
        command = CommandId(call.path["id"])
        with call.promised():
            await self.context.directory.cancel(key, command)
        return answer(schemas.Cancelled("cancelled", command))

    async def message(self, call: Call) -> Response:
        """Answer for a message's id, or for a command's while it has no other."""
        key = call.instance()
        await self._row(key)
        command = None
        message_id: str | None = call.path["id"]
        if call.path["id"].startswith("cmd_"):
            command = await self.context.store.commands.get(CommandId(call.path["id"]))
            if command is None or command.instance_key != key:
                raise UnknownMessage(command_id=call.path["id"])
            message_id = command.message_id
        found = await self.context.store.messages.find(key, message_id) if message_id else None
        if found is not None:
            return answer(_known(key, found, command))
        if command is not None:
            return answer(_unsent(key, command))
        raise UnknownMessage(message_id=call.path["id"])

    async def _row(self, key: InstanceKey) -> InstanceRow:
        row = await self.context.store.instances.get(key)
        if row is None:
            raise InstanceNotFound
        return row


def _waiting(row: CommandRow, away: str | None, turn: Turn | None) -> schemas.Waiting:
    """Show a row of the outbox; only the instance's actor knows what pacing holds, so the rows do not say it."""
    status = _status(row)
    reason: str | None = away if status == "queued" else None
    until: datetime | None = None
    if status == "queued" and turn is not None and turn.reason is not None:
        status, reason, until = "held", turn.reason.value, datetime.fromtimestamp(turn.at, UTC)
    return schemas.Waiting(
        command_id=row.id,
        message_id=row.message_id,
        to=str(row.body["to"]),
        kind=row.kind,
        status=status,
        queued_at=row.created_at.astimezone(UTC),
        send_at=row.send_at.astimezone(UTC) if row.send_at is not None else None,
        hold_reason=reason,
        held_until=until,
        metadata=row.body.get("metadata"),
    )


def _status(row: CommandRow) -> str:
    scheduled = row.state == "queued" and row.send_at is not None and row.send_at > datetime.now(UTC)
    return "scheduled" if scheduled else row.state


def _known(key: InstanceKey, found: StoredMessage, command: CommandRow | None) -> schemas.KnownMessage:
    first = "sent" if found.from_me else "received"
    steps = [schemas.Step(first, found.at.astimezone(UTC))]
    steps += [schemas.Step(status, datetime.fromtimestamp(at, UTC)) for status, at in found.status_at.items()]
    if command is not None:
        steps.insert(0, schemas.Step("queued", command.created_at.astimezone(UTC)))
    return schemas.KnownMessage(
        instance_key=key,
        message_id=found.message_id,
        command_id=command.id if command is not None else None,
        to=found.chat,
        sender=found.sender,
        from_me=found.from_me,
        kind=found.kind,
        text=found.text,
        status=found.status,
        history=sorted(steps, key=_by_time),
        error=None,
        metadata=command.body.get("metadata") if command is not None else None,
    )


_ORDER = ("queued", "sent", "received", "delivered", "read", "played")


def _by_time(step: schemas.Step) -> tuple[int, datetime]:
    """Order steps as they follow from each other: WhatsApp's clock has whole seconds."""
    return (_ORDER.index(step.status) if step.status in _ORDER else len(_ORDER), step.at)


def _unsent(key: InstanceKey, command: CommandRow) -> schemas.KnownMessage:
    steps = [schemas.Step("queued", command.created_at.astimezone(UTC))]
    if command.finished_at is not None:
        steps.append(schemas.Step(command.state, command.finished_at.astimezone(UTC)))
    text: Any = command.body.get("text")
    return schemas.KnownMessage(
        instance_key=key,
        message_id=command.message_id,
        command_id=command.id,
        to=str(command.body["to"]),
        sender=None,
        from_me=True,
        kind=command.kind,
        text=text,
        status=_status(command),
        history=steps,
        error=None if command.result is None else str(command.result.get("error")),
        metadata=command.body.get("metadata"),
    )
