"""What callers ask of one instance's actor: to send, to take a message back, to find something out at WhatsApp."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import trio

from bridge.domain.ids import CommandId, InstanceKey, MessageId
from bridge.domain.pacing import Turn
from bridge.domain.profiles import SetName
from bridge.domain.questions import Question
from bridge.domain.sends import SendOptions
from bridge.domain.signals import PushNameKnown
from bridge.engine.people import is_encrypted
from bridge.engine.session import Sent
from bridge.errors import BridgeError
from bridge.ids import new_command_id
from bridge.instances.actor import InstanceActor
from bridge.instances.errors import Busy, NotConnected, TooLate, UnknownMessage
from bridge.instances.leaving import not_online
from bridge.instances.messages import Cancel, Message, Send, Told
from bridge.instances.phonebook import Lookup, UnknownRecipient
from bridge.instances.recovery import outgoing
from bridge.instances.refs import MessageRef, earlier
from bridge.store.store import Store

T = TypeVar("T")

ASK_S = 15.0
GIVE_UP_S = 5.0
NO_OPTIONS = SendOptions()
SENDS_WAITING = 500
"""Leaves room in the mailbox for what the engine reports."""


class Calls(ABC):
    """The part of the directory that acts on one instance at a time."""

    _store: Store

    @abstractmethod
    def _find(self, key: InstanceKey) -> InstanceActor: ...

    @abstractmethod
    async def _ask(self, actor: InstanceActor, message: Message, deadline_s: float = ASK_S) -> object: ...

    async def query(self, key: InstanceKey, question: Question[T], timeout_s: float = ASK_S) -> T:
        """Ask WhatsApp as this instance; raise `NotConnected`, or `EngineError` when there is no answer in time."""
        actor = self._find(key)
        answered = await actor.query(question, timeout_s)
        if isinstance(question, SetName):
            actor.tell(Told(PushNameKnown(question.name)))  # the engine says it only when it opens the session again
        return answered

    async def send(
        self,
        key: InstanceKey,
        kind: str,
        to: str,
        body: Mapping[str, object],
        *,
        request_hash: bytes,
        idempotency_key: str | None = None,
        options: SendOptions = NO_OPTIONS,
    ) -> MessageRef:
        """Store the command and send a message of one of `KINDS` to a JID; unless it is queued, wait for the outcome.

        Raises `NotConnected`, `Busy`, `Paced`, `NewChatsLimited`, `SendFailed`, and `SendUnknown` when the outcome is
        not known.
        """
        actor = self._find(key)
        if actor.depth >= SENDS_WAITING:
            raise Busy(retry_after_s=1)
        if not options.queued and not actor.online and idempotency_key is None:
            raise NotConnected(f"Its state is {actor.session.state}.", state=actor.session.state.value)
        to = await self._recipient(actor, to, options)
        if not options.queued and idempotency_key is None:
            await actor.sends.check(to)
        row = await self._store.commands.insert(
            new_command_id(),
            key,
            kind=kind,
            body={"to": to, **body, **options.as_body()},
            state="queued" if options.queued else "running",
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            send_at=options.send_at,
            durable=options.queued or not is_encrypted(to),  # else the engine's own commit makes it durable
        )
        if not row.inserted:
            return earlier(row)
        message = outgoing(row)
        try:
            await self._ask(actor, Send(message))
        except BridgeError as error:
            if error.certain:
                with trio.move_on_after(GIVE_UP_S, shield=True):
                    await self._store.commands.withdraw(row.id)
            raise
        if options.queued:
            return MessageRef("queued", None, to, row.created_at, row.id)
        await message.reply.done.wait()
        outcome = message.reply.outcome
        if isinstance(outcome, Sent):
            at = datetime.fromtimestamp(outcome.at, UTC)
            return MessageRef("sent", MessageId(outcome.message_id), to, at, row.id)
        assert outcome is not None
        if not message.reply.begun:
            with trio.move_on_after(GIVE_UP_S, shield=True):
                await self._store.commands.withdraw(row.id)
        raise outcome

    async def repeated(self, key: InstanceKey, idempotency_key: str, request_hash: bytes) -> MessageRef | None:
        """Return what an earlier send with this key led to, None where there was none.

        Raises `IdempotencyMismatch` when that was another one, and `CommandInProgress`.
        """
        row = await self._store.commands.repeated(key, idempotency_key, request_hash)
        return None if row is None else earlier(row)

    async def _recipient(self, actor: InstanceActor, to: str, options: SendOptions) -> str:
        try:
            return await actor.phonebook.resolve(to) if actor.online else to
        except UnknownRecipient:
            if options.unchecked:
                return to
            raise

    async def look_up(self, key: InstanceKey, phones: Sequence[str], *, fresh: bool = False) -> list[Lookup]:
        """Return what WhatsApp says of phone numbers (digits), each once; raise `NotConnected` or `EngineError`."""
        actor = self._find(key)
        if not actor.online:
            raise not_online(actor.session)
        return await actor.phonebook.look_up(phones, fresh=fresh)

    def holds(self, key: InstanceKey) -> Mapping[CommandId, Turn]:
        """Return when each message that pacing holds can go at the earliest, as things stand, and why not now."""
        actor = self._find(key)
        return actor.sends.turns() if actor.online else {}

    async def cancel(self, key: InstanceKey, command: CommandId) -> None:
        """Take a queued message back; raise `UnknownMessage`, or `TooLate` when it was begun."""
        actor = self._find(key)
        row = await self._store.commands.get(command)
        if row is None or row.instance_key != key:
            raise UnknownMessage(command_id=command)
        if row.state != "queued":
            raise TooLate(f"Its status is {row.state}.", status=row.state)
        if not await self._ask(actor, Cancel(command)):
            raise TooLate("It is being sent now.", status="running")
