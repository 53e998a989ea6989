"""The phone numbers of people whom WhatsApp names by their LID alone, as it does in receipts and presence.

They are learned from reports that have both addresses, and else read from what the engine keeps of such pairs.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from bridge.domain.events import Event

REMEMBERED = 5_000
UNKNOWN_FOR_S = 60.0
"""How long nobody is asked again for a number that was not known."""

_LID, _USER = "@lid", "@s.whatsapp.net"

Find = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]


class Numbers:
    """Puts numbers into events; `find` gives those of LIDs (their users), digits, as far as they are known."""

    def __init__(self, find: Find, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._known: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        """By LID: the number, or None and until when nobody is asked for it again."""

    async def complete(self, events: Sequence[Event]) -> list[Event]:
        """Return `events`, with the number in `sender` and `from` where only the LID was told and it is known.

        Raises what `find` raises.
        """
        while len(self._known) > REMEMBERED:  # before, so that what these events need stays until they have it
            self._known.popitem(last=False)
        senders = [_sender(event) for event in events]
        for sender in senders:
            if sender is not None and sender["jid"] and sender["lid"]:
                self._learn(_user(sender["lid"]), _user(sender["jid"]))
        bare = [_user(one["lid"]) if one is not None and one["lid"] and not one["jid"] else None for one in senders]
        await self._look_up({lid for lid in bare if lid is not None})
        return [
            event if lid is None or (number := self._known[lid][0]) is None else _with(event, number)
            for event, lid in zip(events, bare, strict=True)
        ]

    async def _look_up(self, lids: Collection[str]) -> None:
        now = self._clock()
        asked = [lid for lid in lids if now >= self._known.get(lid, (None, now))[1]]
        if not asked:
            return
        found = await self._find(asked)
        for lid in asked:
            self._learn(lid, found.get(lid))

    def _learn(self, lid: str, number: str | None) -> None:
        self._known[lid] = (number, math.inf if number is not None else self._clock() + UNKNOWN_FOR_S)
        self._known.move_to_end(lid)


def _sender(event: Event) -> Mapping[str, str | None] | None:
    sender = event.data.get("sender")
    return sender if isinstance(sender, Mapping) else None


def _user(address: str | None) -> str:
    return (address or "").partition("@")[0]


def _with(event: Event, number: str) -> Event:
    sender = _sender(event)
    assert sender is not None
    told = {**sender, "jid": number + _USER, "phone": number, "phone_known": True}
    data = {**event.data, "sender": told}
    if data.get("from") == sender["lid"]:
        data["from"] = number
    return replace(event, data=data)
