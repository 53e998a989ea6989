"""What an actor holds of a WhatsApp session that runs in an engine host."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import trio

from bridge.engine import jids
from bridge.engine.errors import EngineDown, EngineError, EngineRefused, NewChatRefused, OutcomeUnknown
from bridge.engine.failures import is_certain, is_reachout_lock
from bridge.engine.journal import Record
from bridge.engine.wire import Argument, Call, Reply
from bridge.protos import neonize_pb

CALL_TIMEOUT_S = 20.0
_PAIR_AS = (1, "Chrome (Linux)")
"""Client type and name that WhatsApp accepts with a pairing code; any other text is refused."""


class Sent(msgspec.Struct, frozen=True):
    """WhatsApp has acknowledged a message."""

    message_id: str
    at: float
    """Seconds since 1970, by WhatsApp's clock."""


class Line(Protocol):
    """The way to a session's host."""

    @property
    def pid(self) -> int: ...

    async def request(self, make: Callable[[int], Call], timeout_s: float) -> Reply:
        """Return the host's reply; raise `OutcomeUnknown` after `timeout_s`, `EngineDown` when there is no host."""

    def progressed(self, session: "Session") -> None:
        """Tell the host how far the session's consumer is, soon."""


class Records:
    """An iterator over what a session reports."""

    def __init__(self, receive: Callable[[], Awaitable[Record]]) -> None:
        self._receive = receive

    def __aiter__(self) -> "Records":
        return self

    async def __anext__(self) -> Record:
        return await self._receive()


class Session:
    """One open session: its records, in order, and the calls on it. Used by one actor.

    `events` ends when the session was closed, and raises `EngineDown` when its host died.
    """

    def __init__(self, key: str, opened: int, line: Line, leave: Callable[["Session"], Awaitable[None]]) -> None:
        self.key = key
        self.opened = opened
        self.taken = 0
        self.acked = 0
        self._line = line
        self._leave = leave
        self._records: deque[Record] = deque()
        self._news = trio.Event()
        self._end: EngineDown | None = None
        self._closed = False

    @property
    def host_pid(self) -> int:
        """The process that runs the session."""
        return self._line.pid

    @property
    def events(self) -> "Records":
        """What the session reports, each record once, for one reader at a time."""
        return Records(self._next)

    async def _next(self) -> Record:
        while not self._records:
            if self._end is not None:
                raise self._end
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        record = self._records.popleft()
        self.taken += 1
        self._line.progressed(self)
        return record

    def take_waiting(self, limit: int) -> list[Record]:
        """Return up to `limit` records that are there already, without waiting: for storing them together."""
        records = [self._records.popleft() for _ in range(min(limit, len(self._records)))]
        if records:
            self.taken += len(records)
            self._line.progressed(self)
        return records

    def ack(self, seq: int) -> None:
        """Say that everything up to `seq` is stored: the host may forget it. Sent together with others, soon."""
        if seq > self.acked:
            self.acked = seq
            self._line.progressed(self)

    async def send(self, to: str, message: bytes, timeout_s: float = CALL_TIMEOUT_S) -> Sent:
        """Send a serialised `waE2E.Message` to a JID and return when WhatsApp has acknowledged it.

        Raise `EngineError`; with `certain` False it is not known whether the message has gone out.
        """
        try:
            recipient = jids.parse(to)
        except jids.BadJid as error:
            raise EngineRefused(str(error)) from None
        reply = await self.call("SendMessage", recipient, message, timeout_s=timeout_s)
        result = neonize_pb.SendMessageReturnFunction.FromString(reply)
        if result.Error:
            raise _failed_send(result.Error)
        return Sent(result.SendResponse.ID, float(result.SendResponse.Timestamp))

    async def request_pair_code(self, phone: str, *, notify: bool = True, timeout_s: float = CALL_TIMEOUT_S) -> str:
        """Return the code that the owner of `phone` (digits) types in; only for a session that is being paired.

        With `notify` the phone shows that it is awaited.
        """
        kind, name = _PAIR_AS
        parameters = neonize_pb.PairPhoneParams(
            phone=phone, showPushNotification=notify, clientDisplayName=name, clientType=kind
        )
        result = neonize_pb.PairPhoneReturnFunction.FromString(
            await self.call("PairPhone", parameters.SerializeToString(), timeout_s=timeout_s)
        )
        if result.Error:
            raise EngineError(result.Error)
        return str(result.Code)

    async def logout(self, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Remove the device from the phone's list and delete its keys; close the session afterwards."""
        error = (await self.call("Logout", timeout_s=timeout_s)).decode(errors="replace")
        if error:
            raise OutcomeUnknown(error)

    async def close(self) -> None:
        """Leave WhatsApp in good order and give the slot back; nothing on a session that is closed or down already.

        What WhatsApp has acknowledged is in the journal when this returns, and comes again at the next open if it was
        not acknowledged here. The host goes on with it when the caller is cancelled.
        """
        if self._closed or self._end is not None:
            return
        self.finish()
        await self._leave(self)

    async def call(self, method: str, *arguments: Argument, timeout_s: float = CALL_TIMEOUT_S) -> bytes:
        """Call one of the library's functions (`bridge.engine.host.library.METHODS`) and return what it returns.

        Raise `EngineError`; with `certain` False it is not known whether the function did what it is for.
        """
        if self._end is not None:
            raise EngineDown
        if self._closed:
            raise EngineRefused("the session is closed")
        expires_at = time.monotonic() + timeout_s
        reply = await self._line.request(lambda call: Call(call, self.key, method, arguments, expires_at), timeout_s)
        if reply.refused:
            raise EngineRefused(reply.refused)
        if reply.error:
            raise OutcomeUnknown(reply.error)
        return reply.result

    # for the port

    def deliver(self, record: Record) -> None:
        """Queue a record; the host sends no more than the window allows."""
        if not self._closed:
            self._records.append(record)
            self._news.set()

    def finish(self) -> None:
        """End `events` after what is queued."""
        self._closed = True
        self._news.set()

    def lose(self, reason: str) -> None:
        """End `events` with `EngineDown` after what is queued."""
        if self._end is None and not self._closed:
            self._end = EngineDown(reason)
            self._news.set()


def _failed_send(error: str) -> EngineError:
    if is_reachout_lock(error):
        return NewChatRefused(error)
    return EngineError(error) if is_certain(error) else OutcomeUnknown(error)
