"""The counts of what is in PostgreSQL, and what waits for whom."""

from dataclasses import replace

from bridge.ids import new_endpoint_id, new_instance_key
from bridge.store.census import Census
from bridge.store.store import Store


async def test_nothing_is_counted_where_there_is_nothing(store: Store) -> None:
    assert await store.census.take() == Census({}, {}, {}, ())


async def test_states_are_counted_and_the_oldest_of_each_endpoint_is_found(store: Store) -> None:
    keys = [new_instance_key() for _ in range(3)]
    for key in keys:
        await store.instances.create(key, None, None, {})
    busy, idle = new_endpoint_id(), new_endpoint_id()
    for endpoint in (busy, idle):
        await store.endpoints.upsert(endpoint, None, "http://127.0.0.1:9/", [], b"s" * 32)
    async with store.connection() as conn:
        await conn.execute("update bridge.instance set state = 'online' where key = %s", (keys[0],))
        await conn.execute("update bridge.endpoint set state = 'paused' where id = %s", (idle,))
        for number, state in enumerate(("queued", "running", "sent")):
            await conn.execute(
                "insert into bridge.command (id, instance_key, kind, body, state, finished_at)"
                " values (%s, %s, 'text', '{}', %s, case when %s = 'sent' then now() end)",
                (f"cmd_{number}", keys[0], state, state),
            )
        for lane, pending in (("a", 2), ("b", 1)):
            await conn.execute(
                "insert into bridge.lane (endpoint_id, key, pending) values (%s, %s, %s)", (busy, lane, pending)
            )
        for lane, seq, age_s, state in (
            ("a", 1, 900, "delivered"),
            ("a", 2, 60, "pending"),
            ("a", 3, 30, "pending"),
            ("b", 4, 300, "pending"),
        ):
            await conn.execute(
                "insert into bridge.delivery (event_id, endpoint_id, lane_key, seq, state, created_at, finished_at)"
                " values (%s, %s, %s, %s, %s, now() - %s * interval '1 second',"
                " case when %s = 'delivered' then now() end)",
                (f"evt_{seq}", busy, lane, seq, state, age_s, state),
            )
    census = await store.census.take()
    assert census.instances == {"online": 1, "created": 2}
    assert census.endpoints == {"active": 1, "paused": 1}
    assert census.commands == {"queued": 1, "running": 1}
    (lag,) = census.lags
    assert replace(lag, oldest_s=0) == type(lag)(busy, 3, 0)
    assert 300 <= lag.oldest_s < 330
