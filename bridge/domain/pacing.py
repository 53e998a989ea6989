"""Pacing: when a message may go out, so that a number does not look like a machine that sends to strangers. Pure.

Times are seconds since 1970. WhatsApp publishes no limits for linked devices, and nobody outside knows them: each
number in `PROFILES` is a guess, beside what others have observed.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

DAY_S = 86_400.0
LOCK_FIRST_S = 900.0
LOCK_MAX_S = 86_400.0
"""How long no new chat is begun after WhatsApp's error 463, doubled with each further one. It does not say how long it
lasts, and each attempt is another message to a stranger. Locks of hours up to six days were seen (whatsmeow's issue
1197, Baileys' 2441), but the same error also comes for one recipient alone: so a quarter of an hour first, and never
more than one attempt a day in the end. The numbers are a guess."""


class Reason(enum.StrEnum):
    """Why a message is held."""

    RATE = "rate"
    CHAT_GAP = "chat_gap"
    NEW_CHATS = "new_chats"
    NEW_CHATS_LIMITED = "new_chats_limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast messages may go out."""

    per_minute: float
    """In the long run, of all chats together."""
    burst: int
    """How many may go at once after a silence."""
    chat_gap_s: float
    """The least time between two messages to one chat."""
    chat_jitter_s: float
    """What is added to it, at random, up to this."""
    new_chats: int
    """First messages to chats in which nothing was said before, in any 24 hours; 1 at least."""

    @property
    def interval_s(self) -> float:
        return 60.0 / self.per_minute


Profile = tuple[tuple[float, Limits], ...]
"""Limits by the day since pairing from which they hold, in order; the first is day 0."""

STEADY = Limits(per_minute=10, burst=10, chat_gap_s=3, chat_jitter_s=3, new_chats=50)
"""Guesses. More than 100 to 200 an hour is called risky for established numbers when it is bulk (waiflow.app), others
stop at 80 (effess.in); replies to people who wrote are not bulk, so this is above that. One message in 10 to 30 s per
chat is what openwa.dev advises, one in 6 s per recipient with a burst of 45 what Meta's own Cloud API allows. That API
lets a new business begin 250 chats a day with templates that were approved; this is a fifth."""

PROFILES: Mapping[str, Profile | None] = {
    "off": None,
    "steady": ((0, STEADY),),
    "warm_up": (
        (0, Limits(per_minute=2, burst=3, chat_gap_s=5, chat_jitter_s=5, new_chats=5)),
        (1, Limits(per_minute=2, burst=3, chat_gap_s=5, chat_jitter_s=5, new_chats=10)),
        (3, Limits(per_minute=4, burst=5, chat_gap_s=4, chat_jitter_s=4, new_chats=20)),
        (7, Limits(per_minute=6, burst=8, chat_gap_s=3, chat_jitter_s=3, new_chats=30)),
        (14, STEADY),
    ),
}
"""By name. `warm_up` is for fresh numbers: more than 20 to 30 messages a day in the first week is said to be looked at
(waiflow.app), and ramps of one to two weeks are what others do (effess.in, wapower.it). The steps are guesses."""


def limits_of(profile: Profile | None, *, paired_at: float, now: float) -> Limits | None:
    """Return the limits that hold now; None: there are none."""
    if profile is None:
        return None
    day = (now - paired_at) / DAY_S
    return next((limits for first, limits in reversed(profile) if day >= first), profile[0][1])


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was sent lately, as far as it still counts."""

    spent_until: float = -math.inf
    """The bucket, as the time at which it would be full again if nothing were sent."""
    chat_free_at: Mapping[str, float] = field(default_factory=dict)
    begun: tuple[float, ...] = ()
    """When new chats were begun, oldest first."""


@dataclass(frozen=True, slots=True)
class Turn:
    """When a message may go. `reason` is None when that is now."""

    at: float
    reason: Reason | None = None


def decide(
    limits: Limits | None,
    ledger: Ledger,
    chat: str,
    *,
    new: bool,
    now: float,
    locked_until: float = -math.inf,
    ahead: int = 0,
    behind: int = 0,
    chats_ahead: int = 0,
) -> Turn:
    """Say when a message may go: now, or not before a time, and which limit that is.

    So many others go first: `ahead` in all, `behind` of them in this chat, and `chats_ahead` that begin a new chat as
    this one does. With any of them the time is the earliest that is possible.
    """
    bounds: list[tuple[Reason, float]] = []
    if new:
        bounds.append((Reason.NEW_CHATS_LIMITED, locked_until))
    if limits is not None:
        if new:
            bounds.append((Reason.NEW_CHATS, _new_chat_at(limits, ledger, now, chats_ahead)))
        bounds.append((Reason.RATE, max(ledger.spent_until, now) + (ahead + 1 - limits.burst) * limits.interval_s))
        free_at = max(ledger.chat_free_at.get(chat, now), now)
        bounds.append((Reason.CHAT_GAP, free_at + behind * limits.chat_gap_s))
    turn = Turn(now)
    for reason, at in bounds:
        if at > turn.at:
            turn = Turn(at, reason)
    return turn


def _new_chat_at(limits: Limits, ledger: Ledger, now: float, chats_ahead: int) -> float:
    counted = ledger.begun[-limits.new_chats :]
    free = limits.new_chats - len(counted)
    days, place = divmod(chats_ahead, limits.new_chats)
    return (now if place < free else counted[place - free] + DAY_S) + days * DAY_S


def spend(limits: Limits | None, ledger: Ledger, chat: str, *, new: bool, at: float, jitter: float) -> Ledger:
    """Return the ledger after a message went to `chat`; `jitter` (0 to 1) is drawn once for the pause behind it."""
    begun = tuple(one for one in ledger.begun if one > at - DAY_S)
    if new:
        begun = tuple(sorted((*begun, at)))
    if limits is None:
        return replace(ledger, begun=begun)
    spent_until = min(max(ledger.spent_until, at) + limits.interval_s, at + limits.burst * limits.interval_s)
    free_at = {one: until for one, until in ledger.chat_free_at.items() if until > at}
    free_at[chat] = max(free_at.get(chat, at), at + limits.chat_gap_s + jitter * limits.chat_jitter_s)
    return Ledger(max(ledger.spent_until, spent_until), free_at, begun)


def under(limits: Limits | None, ledger: Ledger, now: float) -> Ledger:
    """Return the ledger under other limits: nobody waits longer for what was sent than these would have asked for."""
    if limits is None:
        return ledger
    longest = now + limits.chat_gap_s + limits.chat_jitter_s
    free_at = {chat: min(until, longest) for chat, until in ledger.chat_free_at.items()}
    return Ledger(min(ledger.spent_until, now + limits.burst * limits.interval_s), free_at, ledger.begun)


def refunded(ledger: Ledger, begun_at: float) -> Ledger:
    """Return the ledger without a new chat that was begun then, and was not after all."""
    left = list(ledger.begun)
    if begun_at in left:
        left.remove(begun_at)
    return replace(ledger, begun=tuple(left))


@dataclass(frozen=True, slots=True)
class Restriction:
    """What WhatsApp refuses to this number for a while."""

    since: float
    until: float
    """When it is tried again: that it is over by then is a guess."""
    strikes: int = 1
    kind: str = Reason.NEW_CHATS_LIMITED.value


def struck(before: Restriction | None, now: float) -> Restriction:
    """Return the restriction after WhatsApp refused a new chat, longer if that was the attempt after the one `before`.

    What was under way when the first one was refused says nothing new.
    """
    if before is not None and now < before.until:
        return before
    strikes = 1 if before is None else before.strikes + 1
    pause_s = min(LOCK_FIRST_S * 2.0 ** min(strikes - 1, 10), LOCK_MAX_S)
    return Restriction(now if before is None else before.since, now + pause_s, strikes)
