"""The base of a child that owns state and answers messages, one after the other."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from supervisor.errors import ActorDown
from supervisor.mailbox import Letter, Mailbox

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Failed:
    """Return it from `handle` to make `ask` raise `error` without crashing the actor."""

    error: Exception


class Actor(ABC, Generic[M]):
    """Handles its messages one by one in a task with a nursery of its own.

    `run` is what a ChildSpec names. Each start begins with an empty mailbox, so nothing that crashed an actor is met
    again; set up state in `on_start`, not in `__init__`, for the same reason. What `handle` raises crashes the actor:
    all who wait for an answer get ActorDown. When asked to stop it takes no more messages, handles those that wait,
    calls `on_stop`, cancels what runs in its nursery, and ends; the grace of its ChildSpec bounds all of this.
    """

    def __init__(self, *, capacity: int = 100) -> None:
        self._capacity = capacity
        self._mailbox: Mailbox[M] | None = None
        self._nursery: trio.Nursery | None = None

    @abstractmethod
    async def handle(self, message: M) -> Any:
        """Do what `message` says; return the answer for whoever asked, or Failed(error)."""

    async def receive(self, letter: Letter[M]) -> None:
        """Handle one letter; override it to answer later (`letter.reply`, `letter.fail`) from a task of the nursery."""
        answer = await self.handle(letter.message)
        if isinstance(answer, Failed):
            letter.fail(answer.error)
        else:
            letter.reply(answer)

    async def on_start(self) -> None:
        """Set up the state of this start; the actor counts as started when this returns."""

    async def on_stop(self) -> None:
        """Clean up after the last message of a graceful stop; not called after a crash."""

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the current start: a task that crashes in it crashes the actor."""
        if self._nursery is None:
            raise ActorDown
        return self._nursery

    @property
    def depth(self) -> int:
        """How many messages wait; 0 when the actor is down."""
        return self._mailbox.depth if self._mailbox is not None else 0

    def tell(self, message: M) -> None:
        """Send a message; raise ActorDown or MailboxFull."""
        if self._mailbox is None:
            raise ActorDown
        self._mailbox.tell(message)

    async def ask(self, message: M, deadline_s: float) -> Any:
        """Send a message and return the answer; raise ActorDown, MailboxFull, DeadlineExceeded, or a Failed's error."""
        if self._mailbox is None:
            raise ActorDown
        return await self._mailbox.ask(message, deadline_s)

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live once: start, handle messages until `stop` is set, drain, end."""
        if self._mailbox is not None:
            raise RuntimeError("this actor is already running")
        mailbox = self._mailbox = Mailbox[M](self._capacity)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self.on_start()
                task_status.started()
                nursery.start_soon(_close_on, stop, mailbox)
                await self._serve(mailbox)
                await self.on_stop()
                nursery.cancel_scope.cancel()
        finally:
            self._mailbox = self._nursery = None
            mailbox.fail()

    async def _serve(self, mailbox: Mailbox[M]) -> None:
        while True:
            try:
                letter = await mailbox.receive()
            except trio.EndOfChannel:
                return
            await self.receive(letter)


async def _close_on(stop: trio.Event, mailbox: Mailbox[Any]) -> None:
    await stop.wait()
    mailbox.close()
