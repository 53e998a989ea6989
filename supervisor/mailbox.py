"""A bounded queue between the callers of an actor and the actor: `tell`, or `ask` with a deadline."""

import math
from collections import deque
from typing import Any, Generic, TypeVar

import trio

from supervisor.errors import ActorDown, DeadlineExceeded, MailboxFull

M = TypeVar("M")


class Letter(Generic[M]):
    """One message in a mailbox and, when its sender waits, the place of the answer."""

    __slots__ = ("_answer", "_answered", "_error", "begun", "message")

    def __init__(self, message: M, *, asked: bool) -> None:
        self.message = message
        self.begun = False
        self._answered = trio.Event() if asked else None
        self._answer: Any = None
        self._error: Exception | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody still waits for an answer."""
        return self._answered is not None and not self._answered.is_set()

    def reply(self, answer: object) -> None:
        """Give the answer; nothing happens where nobody waits (told, cancelled, too late, answered)."""
        if self._answered is not None and not self._answered.is_set():
            self._answer = answer
            self._answered.set()

    def fail(self, error: Exception) -> None:
        """Make `ask` raise `error`; nothing happens where nobody waits."""
        if self._answered is not None and not self._answered.is_set():
            self._error = error
            self._answered.set()

    async def wait(self, deadline_s: float) -> Any:
        """Wait for the answer and return it, or raise what it failed with, or DeadlineExceeded.

        A deadline is dear, so that an infinite one is none.
        """
        if self._answered is None:
            raise ValueError("nobody answers a message that was told")
        try:
            if deadline_s == math.inf:
                await self._answered.wait()
            else:
                with trio.move_on_after(deadline_s):
                    await self._answered.wait()
            if not self._answered.is_set():
                raise DeadlineExceeded(deadline_s=deadline_s)
        finally:
            self._answered.set()  # from here on nobody waits
        if self._error is not None:
            raise self._error
        return self._answer


class Mailbox(Generic[M]):
    """At most `capacity` messages wait in it; the sender learns at once when it is full. One task receives."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a mailbox holds at least one message")
        self._capacity = capacity
        self._queue: deque[Letter[M]] = deque()
        self._asked: set[Letter[M]] = set()
        self._closed = False
        self._arrived = trio.Event()

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    @property
    def capacity(self) -> int:
        """How many messages may wait."""
        return self._capacity

    def tell(self, message: M) -> None:
        """Put `message` into the queue and go on; raise MailboxFull or ActorDown when it was not taken."""
        self._put(Letter(message, asked=False))

    async def ask(self, message: M, deadline_s: float) -> Any:
        """Put `message` into the queue and return the answer, within `deadline_s` seconds in all.

        Raise MailboxFull when it was not taken, ActorDown when the actor is not there or ends before it answers,
        DeadlineExceeded when no answer came. A caller that is cancelled or too late changes nothing for the actor:
        the message is handled, its answer dropped.
        """
        letter = Letter(message, asked=True)
        self._put(letter)
        self._asked.add(letter)
        try:
            return await letter.wait(deadline_s)
        finally:
            self._asked.discard(letter)

    async def receive(self) -> Letter[M]:
        """Return the next message; raise trio.EndOfChannel when the mailbox is closed and empty."""
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._closed:
                raise trio.EndOfChannel
            self._arrived = trio.Event()
            await self._arrived.wait()
        letter = self._queue.popleft()
        letter.begun = True
        return letter

    def close(self) -> None:
        """Take no more messages; those that wait can still be received."""
        self._closed = True
        self._arrived.set()

    def fail(self) -> None:
        """Close, drop what waits, and fail everybody who waits for an answer with ActorDown."""
        self.close()
        self._queue.clear()
        for letter in tuple(self._asked):
            letter.fail(ActorDown(certain=not letter.begun))
        self._asked.clear()

    def _put(self, letter: Letter[M]) -> None:
        if self._closed:
            raise ActorDown
        if len(self._queue) >= self._capacity:
            raise MailboxFull(capacity=self._capacity)
        self._queue.append(letter)
        self._arrived.set()
