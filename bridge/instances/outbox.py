"""Sends of one instance: in order within a chat, a few chats at once, never more waiting than the limit."""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from bridge.domain.ids import CommandId
from bridge.engine.session import Sent
from bridge.errors import BridgeError
from bridge.instances.errors import Busy, SendUnknown


class Reply(msgspec.Struct, eq=False):
    """Where the caller of a send waits for its outcome; nobody has to."""

    done: trio.Event = msgspec.field(default_factory=trio.Event)
    outcome: Sent | BridgeError | None = None
    begun: bool = True
    """False when the message was given back before anything was done with it."""

    def set(self, outcome: Sent | BridgeError) -> None:
        """Give the outcome; the first one counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.done.set()

    def refuse(self, error: BridgeError) -> None:
        """Give the message back: it was not begun, and its command may be forgotten."""
        if self.outcome is None:
            self.begun = False
            self.set(error)


class Outgoing(msgspec.Struct, frozen=True):
    """A message whose command row is committed."""

    command: CommandId
    kind: str
    to: str
    """Canonical JID of the recipient."""
    body: Mapping[str, object]
    """As in the row."""
    not_before: float = 0.0
    """Seconds since 1970."""
    expires_at: float = math.inf
    """Not begun after this time, in seconds since 1970."""
    queued: bool = False
    """Whether its row still says that the engine does not have it."""
    reply: Reply = msgspec.field(default_factory=Reply)


class Outbox:
    """Hands messages to `send`, one at a time per chat.

    WhatsApp's acknowledgement takes milliseconds and a client is serial inside, so a few chats at once are enough for
    one slow recipient not to hold up the others.
    """

    def __init__(
        self,
        send: Callable[[Outgoing], Awaitable[None]],
        *,
        prepare: Callable[[Outgoing], Awaitable[None]] | None = None,
        waiting_limit: int = 500,
        chats_at_once: int = 4,
    ) -> None:
        self._send = send
        self._prepare = prepare
        self._waiting_limit = waiting_limit
        self._limiter = trio.CapacityLimiter(chats_at_once)
        self._chats: dict[str, deque[Outgoing]] = {}
        self._nursery: trio.Nursery | None = None
        self.waiting = 0
        self._idle = trio.Event()
        self._idle.set()
        self._open: dict[CommandId, Reply] = {}
        self._begun: set[CommandId] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # whoever waits is told the truth: the send may have happened
                for reply in self._open.values():
                    reply.set(SendUnknown())

    def put(self, message: Outgoing) -> None:
        """Queue `message`; raise `Busy` when too many wait."""
        if self.waiting >= self._waiting_limit:
            raise Busy(waiting=self.waiting, retry_after_s=1)
        if self.waiting == 0:
            self._idle = trio.Event()
        self.waiting += 1
        self._open[message.command] = message.reply
        queue = self._chats.get(message.to)
        if queue is not None:
            queue.append(message)
            return
        assert self._nursery is not None
        self._chats[message.to] = deque([message])
        self._nursery.start_soon(self._work_off, message.to)

    def remove(self, command: CommandId) -> Outgoing | None:
        """Take back a queued message that was not begun; None when there is no such message here."""
        for queue in self._chats.values():
            for message in queue:
                if message.command == command and message.queued and command not in self._begun:
                    queue.remove(message)
                    self._settle(message)
                    return message
        return None

    @property
    def free(self) -> int:
        """How many more messages may be put."""
        return self._waiting_limit - self.waiting

    async def drained(self) -> None:
        """Wait until nothing waits and nothing is being sent."""
        await self._idle.wait()

    async def _work_off(self, chat: str) -> None:
        queue = self._chats[chat]
        while queue:
            message = queue[0]
            if self._prepare is not None:
                await self._prepare(message)
            async with self._limiter:
                if not queue or queue[0] is not message:  # it was taken back
                    continue
                self._begun.add(message.command)
                await self._send(message)
                queue.popleft()
            self._begun.discard(message.command)
            self._settle(message)
        del self._chats[chat]

    def _settle(self, message: Outgoing) -> None:
        del self._open[message.command]
        self.waiting -= 1
        if self.waiting == 0:
            self._idle.set()
