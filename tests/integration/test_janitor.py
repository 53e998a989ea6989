"""The janitor removes what is over, and nothing that somebody still waits for."""

import time
from datetime import timedelta
from functools import partial

import trio

from bridge.domain.ids import EndpointId, InstanceKey
from bridge.ids import first_event_id, new_command_id, new_endpoint_id, new_instance_key
from bridge.janitor import Janitor
from bridge.store.store import Store
from tests.support.hooks import endpoint, owned, rows, run, text_event
from tests.support.stack import until


async def count(store: Store, query: str, *values: object) -> int:
    async with store.connection() as conn:
        row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return int(row[0])


async def endpoint_of_deleted(store: Store, *, waiting: bool, minutes_ago: int = 11) -> EndpointId:
    """Make an endpoint whose instance is gone, or not there yet, with or without a delivery that waits."""
    key, endpoint = new_instance_key(), new_endpoint_id()
    await store.instances.create(key, None, None, {})
    await store.endpoints.upsert(endpoint, key, "http://127.0.0.1:9/", [], b"s" * 32)
    await store.instances.delete(key)
    async with store.connection() as conn:
        await conn.execute(
            "update bridge.endpoint set created_at = now() - make_interval(mins => %s) where id = %s",
            (minutes_ago, endpoint),
        )
    if waiting:
        async with store.connection() as conn:
            await conn.execute(
                "insert into bridge.lane (endpoint_id, key, pending) values (%s, %s, 1)", (endpoint, f"{key}:chat")
            )
    return endpoint


async def finished_command(store: Store, key: InstanceKey, *, hours_ago: int) -> str:
    command = new_command_id()
    await store.commands.insert(
        command,
        key,
        kind="text",
        body={"to": "x", "text": "y"},
        state="running",
        idempotency_key=str(command),
        request_hash=b"h",
    )
    await store.commands.finish(command, "sent", "3EB0")
    async with store.connection() as conn:
        await conn.execute(
            "update bridge.command set finished_at = now() - make_interval(hours => %s) where id = %s",
            (hours_ago, command),
        )
    return command


async def test_what_is_over_goes_and_the_rest_stays(store: Store) -> None:
    key = new_instance_key()
    await store.instances.create(key, None, None, {})
    old = await finished_command(store, key, hours_ago=25)
    young = await finished_command(store, key, hours_ago=23)
    empty = await endpoint_of_deleted(store, waiting=False)
    waited_for = await endpoint_of_deleted(store, waiting=True)
    ahead = await endpoint_of_deleted(store, waiting=False, minutes_ago=1)

    async def old_is_gone() -> bool:
        return await count(store, "select count(*) from bridge.command where id = %s", old) == 0

    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(Janitor(store, interval_s=0.02).run, stop=stop))
        await until(old_is_gone, 10)
        stop.set()
    assert await count(store, "select count(*) from bridge.command where id = %s", young) == 1
    assert await store.endpoints.get(empty) is None
    assert await store.endpoints.get(waited_for) is not None
    assert await store.endpoints.get(ahead) is not None


async def test_old_events_and_messages_go_but_never_what_is_still_to_be_delivered(store: Store) -> None:
    instance = await owned(store)
    nobody = await endpoint(store, "http://127.0.0.1:9/")
    old = [text_event("waits"), text_event("dead"), text_event("arrived")]
    for event in old:
        await instance.append(event)
    day_s = 86_400.0
    await run(store, "update bridge.delivery set state = 'dead', finished_at = now() where seq = 2")
    await run(store, "update bridge.delivery set state = 'delivered', finished_at = now() where seq = 3")
    for table, column in (("event", "id"), ("delivery", "event_id")):
        aged = f"update bridge.{table} set {column} = %s || substr({column}, 14)"
        await run(store, aged, first_event_id(time.time() - 2 * day_s)[:13])
    for days in (8, 6):
        attempt = "insert into bridge.attempt (endpoint_id, event_id, number, at) values (%s, 'evt_x', 1, now() - %s)"
        await run(store, attempt, nobody, timedelta(days=days))
    await instance.append(text_event("young"))
    janitor, stop = Janitor(store, interval_s=0.05, events_s=day_s, messages_s=day_s), trio.Event()

    async def cleaned() -> bool:
        left = await rows(store, "select seq from bridge.event order by seq")
        return left == [(1,), (4,)] and await count(store, "select count(*) from bridge.attempt") == 1

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(janitor.run, stop=stop))
        await until(cleaned)
        stop.set()
    assert await rows(store, "select seq, state from bridge.delivery order by seq") == [(1, "pending"), (4, "pending")]
    assert await count(store, "select count(*) from bridge.message") == 0  # of 2023, as the tests' texts are
