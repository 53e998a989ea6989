"""The door: which headers carry a key, how long it is believed, and what each role may do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api.address import client_address, networks
from bridge.api.auth import CACHE_SIZE, Access, Caller, Gate, Reach, presented_key
from bridge.api.context import Limits
from bridge.api.problems import Forbidden, RateLimited, Unauthorized, UnknownKey
from bridge.api.rate import Buckets
from bridge.domain.ids import KeyId
from bridge.keyform import make_key
from bridge.store.rows import KeyRow
from tests.support.memory import MemoryStore

KEY = "wab_some_key"
PEER = "192.0.2.7"


class Door:
    """A gate, asked as the API asks it."""

    def __init__(self, store: MemoryStore, **options: Any) -> None:
        self.store = store
        self.gate = Gate(store.keys, options.pop("limits", Limits()), **options)

    async def admit(
        self, access: Access = Access.READ, reach: Reach = Reach.ONE, peer: str = PEER, **headers: str
    ) -> Caller:
        sent = headers or {"x-api-key": KEY}
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
        caller = await self.gate.identify(peer, raw)
        self.gate.allow(caller, access, reach)
        return caller


def door(role: str = "admin", expires_at: datetime | None = None, **limits: Any) -> Door:
    store = MemoryStore()
    store.add_key(KEY, role, expires_at, **limits)
    return Door(store)


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
        ("operator", {Access.READ, Access.SEND, Access.MANAGE}),
        ("sender", {Access.READ, Access.SEND}),
        ("viewer", {Access.READ}),
    ],
)
async def test_a_role_allows_exactly_its_calls(role: str, allowed: set[Access]) -> None:
    for access in Access:
        if access in allowed:
            await door(role).admit(access)
        else:
            with pytest.raises(Forbidden, match=role):
                await door(role).admit(access)


async def test_a_missing_and_an_unknown_key_are_told_apart() -> None:
    with pytest.raises(Unauthorized):
        await Door(MemoryStore()).admit(accept="text/html")
    with pytest.raises(UnknownKey):
        await Door(MemoryStore()).admit()


async def test_an_expired_key_is_refused_even_while_it_is_cached() -> None:
    with pytest.raises(UnknownKey):
        await door(expires_at=datetime.now(UTC) - timedelta(seconds=1)).admit()


async def test_a_mistyped_key_is_refused_without_asking_the_store() -> None:
    store = MemoryStore()
    good = make_key()
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    store.add_key(wrong)
    with pytest.raises(UnknownKey, match="checksum"):
        await Door(store).admit(x_api_key=wrong)
    assert store.keys.lookups == 0
    with pytest.raises(UnknownKey):
        await Door(store).admit(x_api_key=good)
    assert store.keys.lookups == 1


async def test_a_key_is_looked_up_once_and_again_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    entry = door()
    for _ in range(5):
        await entry.admit()
    assert entry.store.keys.lookups == 1
    entry.store.keys.rows.clear()
    await trio.sleep(11)
    with pytest.raises(UnknownKey):
        await entry.admit()


async def test_a_revoked_key_is_forgotten_at_once() -> None:
    entry = door()
    await entry.admit()
    (key,) = entry.store.keys.rows.values()
    entry.store.keys.rows.clear()
    await entry.admit()
    entry.gate.forget(key.id)
    with pytest.raises(UnknownKey):
        await entry.admit()


async def test_an_answer_that_was_on_its_way_when_a_key_was_revoked_is_not_believed() -> None:
    entry = door()
    asked, answer = trio.Event(), trio.Event()
    find = entry.store.keys.find

    async def slowly(key_hash: bytes) -> KeyRow | None:
        row = await find(key_hash)
        asked.set()
        await answer.wait()
        return row

    entry.store.keys.find = slowly  # type: ignore[method-assign]
    (key,) = entry.store.keys.rows.values()

    async def refused() -> None:
        with pytest.raises(UnknownKey):
            await entry.admit()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        await asked.wait()
        entry.store.keys.rows.clear()
        entry.gate.forget(key.id)
        answer.set()
    await refused()


async def test_what_a_key_holds_open_ends_when_it_is_revoked_or_expires(autojump_clock: trio.testing.MockClock) -> None:
    entry = door()
    (key,) = entry.store.keys.rows.values()
    caller, again = await entry.admit(), await entry.admit()
    assert caller.tenure is again.tenure and not caller.tenure.over
    entry.gate.forget(KeyId("key_another"))
    with trio.fail_after(5), caller.tenure.held() as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            entry.gate.forget(key.id)
    assert held.cancelled_caught and caller.tenure.over
    with trio.fail_after(5), caller.tenure.held():  # what begins to wait afterwards does not wait at all
        await trio.sleep_forever()
    soon = datetime.now(UTC) + timedelta(seconds=30)
    caller = await door(expires_at=soon).admit()
    began = trio.current_time()
    with caller.tenure.held():
        await trio.sleep_forever()
    assert 25 < trio.current_time() - began <= 30
    assert not (await door().admit()).tenure.over


async def test_a_new_key_is_known_a_second_after_it_was_refused(autojump_clock: trio.testing.MockClock) -> None:
    entry = Door(MemoryStore())
    for _ in range(5):
        with pytest.raises(UnknownKey):
            await entry.admit()
    assert entry.store.keys.lookups == 1
    entry.store.add_key(KEY)
    await trio.sleep(1.1)
    await entry.admit()


async def test_guessing_keys_does_not_grow_the_cache_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.auth.CACHE_SIZE", 50)
    assert CACHE_SIZE > 50
    gate = Door(MemoryStore()).gate
    for number in range(200):
        assert not await gate.known(PEER, [(b"token", str(number).encode())])
    assert len(gate._cache) <= 50


async def test_without_keys_a_page_of_another_site_is_still_refused() -> None:
    entry = Door(MemoryStore(), on=False)
    await entry.admit(Access.ADMIN, Reach.ALL)
    await entry.admit(Access.MANAGE, sec_fetch_site="same-origin")
    with pytest.raises(Forbidden):
        await entry.admit(Access.MANAGE, sec_fetch_site="cross-site")


async def test_a_key_of_some_instances_makes_no_call_about_all_of_them() -> None:
    entry = door("operator", instances=["a" * 32])
    assert (await entry.admit(reach=Reach.ONE)).only == {"a" * 32}
    await entry.admit(reach=Reach.SHOWN)
    with pytest.raises(Forbidden, match="limited"):
        await entry.admit(reach=Reach.ALL)
    assert not await entry.gate.known(PEER, [(b"token", KEY.encode())])


@pytest.mark.parametrize(
    ("peer", "allowed"), [("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("192.0.3.7", False), ("2001:db8::1", False)]
)
async def test_a_key_works_from_its_addresses_alone(peer: str, allowed: bool) -> None:
    entry = door(networks=["192.0.2.0/24", "198.51.100.1/32"])
    if allowed:
        await entry.admit(peer=peer)
    else:
        with pytest.raises(Forbidden, match="address"):
            await entry.admit(peer=peer)


async def test_a_key_has_a_rate_and_is_told_when_to_come_back(autojump_clock: trio.testing.MockClock) -> None:
    entry = door(rate_per_s=2)
    for _ in range(4):
        await entry.admit()
    with pytest.raises(RateLimited) as refused:
        await entry.admit()
    assert refused.value.fields == {"retry_after_s": 0.5, "rate_per_s": 2}
    await trio.sleep(0.51)
    await entry.admit()
    with pytest.raises(RateLimited):
        await entry.admit()


async def test_the_settings_rate_holds_for_keys_without_one_and_each_key_has_its_own() -> None:
    store = MemoryStore()
    for key in ("a", "b"):
        store.add_key(key)
    entry = Door(store, limits=Limits(rate_per_s=0.01))
    await entry.admit(token="a")
    with pytest.raises(RateLimited):
        await entry.admit(token="a")
    await entry.admit(token="b")


# --- where a call comes from ------------------------------------------------------------------------------------------

PROXIES = networks(("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_only_what_a_trusted_proxy_says_is_believed(peer: str, forwarded: list[str], found: str) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    assert str(client_address(peer, headers, PROXIES)) == found


def test_a_peer_without_an_address_has_none() -> None:
    assert client_address("", [], PROXIES) is None


def test_buckets_do_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.rate.MAX_BUCKETS", 10)
    buckets = Buckets()
    for number in range(50):
        assert buckets.take(str(number), 1, 0.0) == 0
    assert len(buckets._buckets) == 10
