"""Keys and the audit trail in PostgreSQL."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from bridge.domain.ids import KeyId
from bridge.ids import new_audit_id, new_instance_key, new_key_id
from bridge.janitor import Janitor
from bridge.store.rows import AuditRow, KeyRow, NewKey
from bridge.store.store import Store
from tests.support.stack import until


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def add(store: Store, name: str, **fields: Any) -> KeyRow:
    row = await store.keys.add(NewKey(new_key_id(), name, fields.pop("role", "admin"), digest(name), **fields))
    assert row is not None
    return row


async def test_a_key_is_found_by_its_hash_until_it_expires_or_is_revoked(store: Store) -> None:
    assert await store.keys.count() == 0
    row = await add(store, "first", role="viewer", instances=["a" * 32], networks=["10.0.0.0/8"], rate_per_s=2.5)
    assert (row.instances, row.networks, row.rate_per_s) == (["a" * 32], ["10.0.0.0/8"], 2.5)
    await add(store, "old", expires_at=datetime.now(UTC) - timedelta(1))
    assert await store.keys.find(digest("first")) == await store.keys.get(row.id) == row
    assert await store.keys.find(digest("old")) is None
    assert await store.keys.count() == 2
    assert await store.keys.revoke(row.id)
    assert await store.keys.find(digest("first")) is None
    assert not await store.keys.revoke(row.id)


async def test_a_key_with_an_id_that_there_is_changes_nothing(store: Store) -> None:
    row = await add(store, "first")
    assert await store.keys.add(NewKey(row.id, "second", "viewer", digest("second"))) is None
    assert await store.keys.get(row.id) == row


async def test_keys_are_paged_oldest_first(store: Store) -> None:
    rows = sorted([await add(store, str(number)) for number in range(5)], key=lambda row: row.id)
    seen: list[KeyRow] = []
    cursor: str | None = None
    while True:
        page = await store.keys.page(limit=2, cursor=cursor)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == rows


async def test_of_two_admin_keys_that_are_revoked_at_once_one_stays(store: Store) -> None:
    await add(store, "for a day", expires_at=datetime.now(UTC) + timedelta(1))
    await add(store, "from one place", networks=["10.0.0.0/8"])
    for _ in range(5):
        rows = [await add(store, name) for name in ("first", "second")]
        revoked: list[bool] = []

        async def revoke(id: KeyId, revoked: list[bool] = revoked) -> None:
            revoked.append(await store.keys.revoke(id))

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(revoke, row.id)
        assert sorted(revoked) == [False, True]
        async with store.connection() as conn:
            await conn.execute("delete from bridge.api_key where name in ('first', 'second')")


async def test_a_given_key_replaces_those_given_before(store: Store) -> None:
    for secret in ("a", "b"):
        await store.keys.add(NewKey(new_key_id(), "given", "admin", digest(secret)))
    kept = await store.keys.find(digest("b"))
    assert kept is not None
    await add(store, "other")
    assert await store.keys.delete_others("given", kept.id) == 1
    assert {row.name: row.id for row in (await store.keys.page(limit=10)).items}["given"] == kept.id


def entry(**fields: Any) -> AuditRow:
    known = {"key_id": None, "key_name": None, "role": None, "address": None, "action": "POST /keys"}
    known |= {"instance_key": None, "target": None, "status": 200, "code": None, "request_id": "req_1"}
    return AuditRow(id=new_audit_id(), **(known | fields))


async def test_the_trail_is_read_from_its_end_for_an_instance_or_a_key(store: Store) -> None:
    for number in range(4):
        await store.audit.insert(entry(instance_key=str(number % 2), key_id=str(number)))
    everything = (await store.audit.page(limit=10)).items
    assert [row.id for row in everything] == sorted((row.id for row in everything), reverse=True)
    assert everything[0].at is not None
    page = await store.audit.page(limit=1, instance_key="1")
    rest = await store.audit.page(limit=1, instance_key="1", cursor=page.next_cursor)
    assert {row.key_id for row in (*page.items, *rest.items)} == {"1", "3"} and rest.next_cursor is None
    assert [row.key_id for row in (await store.audit.page(limit=10, key_id="2")).items] == ["2"]


async def test_the_janitor_removes_old_entries_and_the_keys_of_deleted_instances(store: Store) -> None:
    kept, gone = new_instance_key(), new_instance_key()
    for key in (kept, gone):
        await store.instances.create(key, None, None, {})
        await add(store, key, role="operator", instances=[key])
    await add(store, "both", role="operator", instances=[kept, gone])
    await add(store, "all")
    await store.instances.delete(gone)
    for days in (1, 31):
        await store.audit.insert(entry(request_id=str(days)))
        async with store.connection() as conn:
            await conn.execute(
                "update bridge.audit set at = now() - %s * interval '1 day' where request_id = %s", (days, str(days))
            )
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: Janitor(store, interval_s=0.01, audit_s=30 * 86_400).run(stop=stop))

        async def cleaned() -> bool:
            return len((await store.audit.page(limit=10)).items) == 1 and await store.keys.count() == 3

        await until(cleaned)
        stop.set()
    assert [row.request_id for row in (await store.audit.page(limit=10)).items] == ["1"]
    assert {row.name for row in (await store.keys.page(limit=10)).items} == {kept, "both", "all"}
