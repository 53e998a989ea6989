"""The door: which headers carry a key, how long it is believed, and what each role may do."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from bridge.api.auth import CACHE_SIZE, Access, Gate, presented_key
from bridge.api.problems import Forbidden, Unauthorized, UnknownKey
from tests.support.api import MemoryStore

KEY = "wab_some_key"
HEADERS = {b"x-api-key": KEY.encode()}


def gate(store: MemoryStore, *, on: bool = True) -> Gate:
    return Gate(store, on=on, cache_s=10)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer k"},
        {b"authorization": b"bearer  k "},
        {b"x-api-key": b"k"},
        {b"apikey": b"k"},
        {b"token": b"k"},
        {b"authorization": b"Basic Zm9v", b"token": b"k"},
    ],
)
def test_a_key_is_found_in_every_header_that_users_of_other_gateways_send(headers: dict[bytes, bytes]) -> None:
    assert presented_key(headers) == b"k"


@pytest.mark.parametrize("headers", [{}, {b"authorization": b"Bearer "}, {b"authorization": b"k"}, {b"token": b" "}])
def test_no_key_is_found_where_there_is_none(headers: dict[bytes, bytes]) -> None:
    assert presented_key(headers) is None


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("admin", set(Access)),
        ("operator", set(Access)),
        ("sender", {Access.READ, Access.SEND}),
        ("viewer", {Access.READ}),
    ],
)
async def test_a_role_allows_exactly_its_calls(role: str, allowed: set[Access]) -> None:
    store = MemoryStore()
    store.add_key(KEY, role=role)
    for access in Access:
        if access in allowed:
            await gate(store).admit(HEADERS, access)
        else:
            with pytest.raises(Forbidden):
                await gate(store).admit(HEADERS, access)


async def test_a_missing_and_an_unknown_key_are_told_apart() -> None:
    with pytest.raises(Unauthorized):
        await gate(MemoryStore()).admit({}, Access.READ)
    with pytest.raises(UnknownKey):
        await gate(MemoryStore()).admit(HEADERS, Access.READ)


async def test_an_expired_key_is_refused_even_while_it_is_cached() -> None:
    store = MemoryStore()
    store.add_key(KEY, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(UnknownKey):
        await gate(store).admit(HEADERS, Access.READ)


async def test_a_key_is_looked_up_once_and_again_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    store.add_key(KEY)
    door = gate(store)
    for _ in range(5):
        await door.admit(HEADERS, Access.READ)
    assert store.key_lookups == 1
    store.key_rows.clear()
    await trio.sleep(11)
    with pytest.raises(UnknownKey):
        await door.admit(HEADERS, Access.READ)


async def test_a_new_key_is_known_a_second_after_it_was_refused(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    door = gate(store)
    for _ in range(5):
        with pytest.raises(UnknownKey):
            await door.admit(HEADERS, Access.READ)
    assert store.key_lookups == 1
    store.add_key(KEY)
    await trio.sleep(1.1)
    await door.admit(HEADERS, Access.READ)


async def test_guessing_keys_does_not_grow_the_cache_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.auth.CACHE_SIZE", 50)
    assert CACHE_SIZE > 50
    door = gate(MemoryStore())
    for number in range(200):
        assert not await door.known({b"token": str(number).encode()})
    assert len(door._cache) <= 50


async def test_without_keys_a_page_of_another_site_is_still_refused() -> None:
    open_door = gate(MemoryStore(), on=False)
    await open_door.admit({}, Access.MANAGE)
    await open_door.admit({b"sec-fetch-site": b"same-origin"}, Access.MANAGE)
    with pytest.raises(Forbidden):
        await open_door.admit({b"sec-fetch-site": b"cross-site"}, Access.MANAGE)
