"""A device that was just linked stays where it is until it has what its phone shares, and not for ever."""

from collections.abc import Iterable

import trio
from trio.testing import MockClock

from bridge.instances.settling import FETCHED_WITHIN_S, KEYS_WITHIN_S, LOOK_EVERY_S, settled
from bridge.store.instances import AppState

NOTHING, KEY, NAMED, ALL = AppState(0, 0, False), AppState(1, 0, False), AppState(1, 1, True), AppState(1, 5, True)


class Looks:
    """What each look finds; the last one for ever."""

    def __init__(self, found: Iterable[AppState]) -> None:
        self._found = list(found)
        self.jids: set[str] = set()

    async def app_state(self, jid: str) -> AppState:
        self.jids.add(jid)
        return self._found.pop(0) if len(self._found) > 1 else self._found[0]


async def test_it_waits_for_the_name_and_for_the_collections_behind_it(autojump_clock: MockClock) -> None:
    looks = Looks([NOTHING, KEY, KEY, NAMED, NAMED, NAMED, ALL])
    assert await settled(looks, "49:1@s.whatsapp.net")
    assert looks.jids == {"49:1@s.whatsapp.net"}
    assert trio.current_time() > 10 * LOOK_EVERY_S, "not already when the name was there"


async def test_keys_that_do_not_come_are_waited_for_a_short_time(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert not await settled(Looks([NOTHING]), "49:1@s.whatsapp.net")
    assert KEYS_WITHIN_S <= trio.current_time() - began < KEYS_WITHIN_S + 1


async def test_a_name_that_does_not_come_is_waited_for_a_limited_time(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert not await settled(Looks([KEY]), "49:1@s.whatsapp.net")
    assert FETCHED_WITHIN_S <= trio.current_time() - began < FETCHED_WITHIN_S + 1


async def test_who_is_not_paired_has_nothing_to_wait_for() -> None:
    assert not await settled(Looks([NOTHING]), None)
