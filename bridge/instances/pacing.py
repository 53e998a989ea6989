"""Holds messages until their turn has come: in order within a chat, and no chat because of another one.

What it holds is not begun: a queued message's row still says so, and a caller who waits can be told for certain.
"""

import heapq
import math
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from bridge.domain.events import Event
from bridge.domain.ids import CommandId
from bridge.domain.pacing import (
    DAY_S,
    Ledger,
    Limits,
    Profile,
    Reason,
    Restriction,
    Turn,
    decide,
    limits_of,
    refunded,
    spend,
    struck,
    under,
)
from bridge.engine.people import LID_SERVER, PHONE_SERVER
from bridge.engine.session import Sent
from bridge.errors import BridgeError
from bridge.instances.errors import Busy, InstanceDown, NewChatsLimited, Paced
from bridge.instances.outbox import Outgoing
from bridge.store.messages import KnownChat

LIMIT = 10_000
CLOCK_S = 60.0
"""How long to believe that the wall clock goes on as it should, and that the day's limits still hold."""
PATIENCE_S = 5.0
"""How long a caller who waits for the outcome is kept waiting for the turn; else the answer is 429."""
PROBING_S = 5.0
"""When to look again while one new chat is tried after a restriction."""


@dataclass(frozen=True, slots=True)
class _Held:
    message: Outgoing
    number: int
    gives_up_at: float


class Pacer:
    """Decides for one instance. `active` is False where nothing is limited: then nobody need ask it anything."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, draw: Callable[[], float] = random.random, limit: int = LIMIT
    ) -> None:
        self.active = False
        self.restriction: Restriction | None = None
        self._clock = clock
        self._draw = draw
        self._limit = limit
        self._profile: Profile | None = None
        self._paired_at = 0.0
        self._ledger = Ledger()
        self._known: set[str] = set()
        self._chats: Mapping[bool, OrderedDict[str, deque[_Held]]] = {False: OrderedDict(), True: OrderedDict()}
        """By whether their next message begins the chat; each in the order in which it is asked."""
        self._where: dict[CommandId, str] = {}
        self._overdue: list[tuple[float, int, Outgoing]] = []
        self._beginning: dict[CommandId, tuple[str, float]] = {}
        """Messages that are out of here and begin a chat: which, and when they were let go."""
        self._number = 0
        self._stopped = False
        self._changed = trio.Event()

    # --- what it knows ------------------------------------------------------------------------------------------------

    def begin(self, chats: Iterable[KnownChat], restriction: Restriction | None) -> None:
        """Begin with what the store knows: the budgets go on where they were."""
        chats = list(chats)
        self._known = {one.chat for one in chats}
        first = [(one.first_sent, one.first_heard) for one in chats if is_direct(one.chat)]
        begun = sorted(sent for sent, heard in first if sent is not None and sent < (heard or math.inf))
        day_ago = self._clock() - DAY_S
        self._ledger = Ledger(begun=tuple(at for at in begun if at > day_ago))
        limits = self._limits()
        for at, chat in sorted((at, one.chat) for one in chats for at in one.sent_lately):
            self._ledger = spend(limits, self._ledger, chat, new=False, at=at, jitter=self._draw())
        self.restriction = restriction
        self._settle()

    def pace(self, profile: Profile | None, paired_at: float) -> None:
        """Go by these limits from now on, also for what is held."""
        self._profile, self._paired_at = profile, paired_at
        self._ledger = under(self._limits(), self._ledger, self._clock())
        self._settle()

    def noted(self, events: Iterable[Event]) -> None:
        """Take note of messages that the engine has reported: their chats are no new ones, whoever wrote."""
        limits = self._limits()
        for event in events:
            row = event.message
            if row is None:
                continue
            sender = event.data.get("sender")
            names = {row.chat}
            if isinstance(sender, Mapping) and not row.from_me and is_direct(row.chat):
                names |= {str(name) for name in (sender.get("jid"), sender.get("lid")) if name}
            if row.from_me:  # from the phone, say
                new = self.is_new(row.chat)
                self._ledger = spend(limits, self._ledger, row.chat, new=new, at=row.at, jitter=self._draw())
            for name in names:
                self._know(name)

    def is_new(self, chat: str) -> bool:
        """Say whether a message to this chat would begin it."""
        return chat not in self._known and is_direct(chat)

    def know(self, chat: str, other: str) -> None:
        """Say that a chat is the same as `other`, which may be known."""
        if other in self._known:
            self._know(chat)

    def _know(self, chat: str) -> None:
        self._known.add(chat)
        queue = self._chats[True].pop(chat, None)
        if queue is not None:
            self._chats[False][chat] = queue
            self.wake()

    def _limits(self) -> Limits | None:
        return limits_of(self._profile, paired_at=self._paired_at, now=self._clock())

    def _settle(self) -> None:
        self.active = self._profile is not None or self.restriction is not None or bool(self._where)
        self.wake()

    # --- what is held -------------------------------------------------------------------------------------------------

    def admit(self, message: Outgoing) -> None:
        """Hold a message, or raise: `Busy`; for one whose caller waits also `Paced` and `NewChatsLimited`."""
        if len(self._where) >= self._limit:
            raise Busy(waiting=len(self._where), retry_after_s=60)
        gives_up_at = message.expires_at
        if not message.queued:
            self.check(message.to)
            gives_up_at = min(gives_up_at, self._clock() + PATIENCE_S)
        self.put(message, gives_up_at)

    def check(self, chat: str) -> None:
        """Raise `Paced` or `NewChatsLimited` when a message to `chat` would not have its turn soon."""
        turn = self._turn_behind(chat)
        if turn.reason is not None and turn.at > self._clock() + PATIENCE_S:
            raise self._refusal(turn)

    def put(self, message: Outgoing, gives_up_at: float = math.inf) -> None:
        """Hold a message whatever is held already."""
        self._number += 1
        held = _Held(message, self._number, gives_up_at)
        chats = self._chats[self.is_new(message.to)]
        chats.setdefault(message.to, deque()).append(held)
        self._where[message.command] = message.to
        if gives_up_at < math.inf:
            heapq.heappush(self._overdue, (gives_up_at, held.number, message))
        self.wake()

    def remove(self, command: CommandId) -> Outgoing | None:
        """Take one message back, and give its place to the next; None when it is not here."""
        chat = self._where.pop(command, None)
        if chat is None:
            return None
        for chats in self._chats.values():
            for held in chats.get(chat, ()):
                if held.message.command == command:
                    self._drop(chats, chat, held)
                    self._settle()
                    return held.message
        raise AssertionError(command)

    @property
    def room(self) -> int:
        """How many more messages may be put."""
        return max(0, self._limit - len(self._where))

    def turns(self) -> dict[CommandId, Turn]:
        """Return when each message that is held can go at the earliest, as things stand, and what holds it."""
        found: dict[CommandId, Turn] = {}
        now, limits, locked = self._clock(), self._limits(), self._locked_until()
        for new, chats in self._chats.items():
            for place, (chat, queue) in enumerate(chats.items()):
                for behind, held in enumerate(queue):
                    turn = decide(
                        limits,
                        self._ledger,
                        chat,
                        new=new,
                        now=now,
                        locked_until=locked,
                        ahead=len(found),
                        behind=behind,
                        chats_ahead=place,
                    )
                    found[held.message.command] = turn
        return found

    def counts(self) -> Mapping[str, int]:
        """Return how many messages are held, by reason."""
        if not self.active:
            return {}
        return Counter(turn.reason.value for turn in self.turns().values() if turn.reason is not None)

    # --- what becomes of it -------------------------------------------------------------------------------------------

    async def run(self, release: Callable[[Outgoing], bool], expire: Callable[[Outgoing], Awaitable[None]]) -> None:
        """Let messages go when their turn has come; until cancelled.

        `release` says whether it took one: it is asked again after `wake`. `expire` gets what is not to be sent any
        more, but not what somebody waits for, who is told here.
        """
        try:
            while True:
                for message in self._take_overdue(self._clock()):
                    await expire(message)
                now = self._clock()
                next_at = min(self._let_go(release, now), self._overdue[0][0] if self._overdue else math.inf)
                with trio.move_on_after(min(max(0.0, next_at - now), CLOCK_S)):
                    await self._changed.wait()
        finally:
            self.stop()

    def wake(self) -> None:
        """Look again whether something may go."""
        self._changed.set()
        self._changed = trio.Event()

    def stop(self) -> None:
        """Let nothing go any more, and tell those who wait."""
        self._stopped = True
        for chats in self._chats.values():
            for queue in chats.values():
                for held in queue:
                    if not held.message.queued:
                        held.message.reply.refuse(InstanceDown(retry_after_s=2))

    def sent(self, message: Outgoing) -> bool:
        """Take note of an outcome, or of a message that was not begun after all; say whether a restriction is over."""
        chat, at = self._beginning.pop(message.command, (None, 0.0))
        outcome = message.reply.outcome
        if isinstance(outcome, Sent):
            self._known.add(message.to)
        if chat is None:
            return False
        over = isinstance(outcome, Sent) and self.restriction is not None
        if outcome is None or (isinstance(outcome, BridgeError) and outcome.certain):
            self._known.discard(chat)
            if not isinstance(outcome, NewChatsLimited):  # that one was an attempt
                self._ledger = refunded(self._ledger, at)
        if over:
            self.restriction = None
        self._settle()
        return over

    def locked(self) -> Restriction:
        """Take note that WhatsApp refused a new chat; return the restriction."""
        self.restriction = struck(self.restriction, self._clock())
        self._settle()
        return self.restriction

    @property
    def retry_after_s(self) -> float:
        """Return when a new chat may be tried again, in seconds."""
        return max(1.0, self._locked_until() - self._clock())

    def _locked_until(self) -> float:
        """Return until when no chat is begun; after a restriction one is tried before the others."""
        if self.restriction is None:
            return -math.inf
        trying = self._clock() + PROBING_S if self._beginning else -math.inf
        return max(self.restriction.until, trying)

    def _turn_behind(self, chat: str) -> Turn:
        """Return the turn of a message that comes now."""
        new, now, limits, locked = self.is_new(chat), self._clock(), self._limits(), self._locked_until()
        queue = self._chats[new].get(chat, ())
        soon, free_at = now + PATIENCE_S, self._ledger.chat_free_at
        ahead = sum(1 for other in self._chats[False] if other != chat and free_at.get(other, now) <= soon)
        next_new = decide(limits, self._ledger, "", new=True, now=now, locked_until=locked)
        if next_new.reason in (None, Reason.RATE):
            ahead += len(self._chats[True]) - bool(new and queue)
        return decide(
            limits,
            self._ledger,
            chat,
            new=new,
            now=now,
            locked_until=locked,
            ahead=ahead + len(queue),
            behind=len(queue),
            chats_ahead=len(self._chats[True]) if new and not queue else 0,
        )

    def _refusal(self, turn: Turn) -> BridgeError:
        wait_s = turn.at - self._clock()
        error = NewChatsLimited if turn.reason is Reason.NEW_CHATS_LIMITED else Paced
        not_before = datetime.fromtimestamp(turn.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return error(reason=turn.reason, retry_after_s=round(wait_s, 1), not_before=not_before)

    def _let_go(self, release: Callable[[Outgoing], bool], now: float) -> float:
        """Release what may go; return when something may go next."""
        while True:
            found, next_at = self._next(now)
            if found is None or self._stopped:
                return next_at
            new, chat, held = found
            if not release(held.message):
                return math.inf
            limits = self._limits()
            self._ledger = spend(limits, self._ledger, chat, new=new, at=now, jitter=self._draw())
            del self._where[held.message.command]
            self._drop(self._chats[new], chat, held)
            if new:
                self._beginning[held.message.command] = (chat, now)
                self._know(chat)
            if chat in self._chats[False]:
                self._chats[False].move_to_end(chat)
            if not self._where:
                self._settle()

    def _next(self, now: float) -> tuple[tuple[bool, str, _Held] | None, float]:
        limits, locked = self._limits(), self._locked_until()
        next_at, best = math.inf, None
        for new, chats in self._chats.items():
            for chat, queue in chats.items():
                turn = decide(limits, self._ledger, chat, new=new, now=now, locked_until=locked)
                if turn.reason is None:
                    if best is None or queue[0].number < best[2].number:
                        best = (new, chat, queue[0])
                    break
                next_at = min(next_at, turn.at)
                if turn.reason is not Reason.CHAT_GAP:
                    break  # it holds the others like this one
        return best, next_at

    def _drop(self, chats: OrderedDict[str, deque[_Held]], chat: str, held: _Held) -> None:
        chats[chat].remove(held)
        if not chats[chat]:
            del chats[chat]

    def _take_overdue(self, now: float) -> list[Outgoing]:
        """Take out what has waited too long; whoever waits for it is told."""
        found = []
        while self._overdue and self._overdue[0][0] <= now:
            message = heapq.heappop(self._overdue)[2]
            if message.command not in self._where:
                continue
            self.remove(message.command)
            if message.queued:
                found.append(message)
                continue
            turn = self._turn_behind(message.to)
            message.reply.refuse(self._refusal(turn) if turn.reason else InstanceDown(retry_after_s=1))
        return found


def is_direct(chat: str) -> bool:
    """Say whether a chat is with one person, so that it can be begun by writing to it."""
    return chat.rpartition("@")[2] in (PHONE_SERVER, LID_SERVER)
