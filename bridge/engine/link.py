"""Frames to and from one host process: requests that wait for their replies, and what comes unasked."""

from collections.abc import Callable

import trio

from bridge.engine import wire
from bridge.engine.errors import EngineDied, EngineDown, EngineRefused, OutcomeUnknown
from bridge.engine.process import Process
from bridge.engine.wire import Call, Close, FromBridge, FromHost, Open, Reply

READ_BYTES = 256 * 1024

OnReply = Callable[[Reply], None]


class _Answer:
    """A request that waits."""

    __slots__ = ("done", "lost", "reply")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.reply: Reply | None = None
        self.lost = False


class Link:
    """Speaks with one process until it is gone."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._decoder = wire.bridge_side()
        self._calls = 0
        self._waiting: dict[int, _Answer] = {}
        self._late: dict[int, OnReply] = {}
        self._outgoing: list[bytes] = []
        self._due = trio.Event()
        self._down = False
        self.ended = trio.Event()
        """Set when everything that the host has written is read."""

    def tell(self, message: FromBridge) -> None:
        """Send a message soon, after those before it; nothing when the host is gone."""
        self._outgoing.append(wire.encode(message))
        self._due.set()

    async def request(
        self, make: Callable[[int], Open | Call | Close], timeout_s: float, on_late: OnReply | None = None
    ) -> Reply:
        """Send what `make` returns for a call number and return the reply to it.

        Raise `EngineDown` without sending, `EngineDied` when the host ends first, `OutcomeUnknown` after `timeout_s`.
        `on_late` gets a reply that nobody waits for any more.
        """
        if self._down:
            raise EngineDown
        self._calls += 1
        call = self._calls
        try:
            self.tell(make(call))
        except wire.BadFrame as error:
            raise EngineRefused(str(error)) from None
        answer = self._waiting[call] = _Answer()
        try:
            with trio.move_on_after(timeout_s):
                await answer.done.wait()
        finally:
            del self._waiting[call]
            if on_late is not None and answer.reply is None and not answer.lost:
                self._late[call] = on_late
        if answer.lost:
            raise EngineDied
        if answer.reply is None:
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s")
        return answer.reply

    def tell_late(self, make: Callable[[int], Close], on_late: OnReply) -> None:
        """Send a request that nobody waits for."""
        self._calls += 1
        self._late[self._calls] = on_late
        self.tell(make(self._calls))

    async def write(self) -> None:
        """Write what is to be told, together when it waits together, until cancelled or the host is gone."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            data, self._outgoing = b"".join(self._outgoing), []
            try:
                await self._process.stdin.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def read(self, on_message: Callable[[FromHost], None]) -> None:
        """Give replies to those who wait and all else to `on_message`; end when the host's output does."""
        try:
            while data := await self._process.stdout.receive_some(READ_BYTES):
                for message in self._decoder.feed(data):
                    if isinstance(message, Reply):
                        self._settle(message)
                    else:
                        on_message(message)
        finally:
            self.ended.set()

    def lose(self) -> None:
        """Fail whoever waits: the process is gone."""
        self._down = True
        for answer in self._waiting.values():
            answer.lost = True
            answer.done.set()
        self._late.clear()

    def _settle(self, reply: Reply) -> None:
        answer = self._waiting.get(reply.call)
        if answer is not None:
            answer.reply = reply
            answer.done.set()
        elif (on_late := self._late.pop(reply.call, None)) is not None:
            on_late(reply)
