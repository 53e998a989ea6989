"""What a crash of PostgreSQL takes back, for claims and settlements commit without waiting for the disk, is made good.

Here the rows are put to where such a crash leaves them, so that each case is sure to happen; `tests/chaos` crashes it.
"""

import trio

from bridge.store.store import Store
from tests.support.dispatching import all_delivered, dispatching
from tests.support.hooks import Received, Reply, endpoint, hook, owned, run, text_event

UNCLAIMED = "update bridge.lane set claimed_by = null, claimed_until = null"
UNSETTLED = (
    "update bridge.delivery set state = 'pending', finished_at = null, attempts = 0, last_status = null",
    "insert into bridge.lane (endpoint_id, key, pending, claimed_by, claimed_until)"
    " select endpoint_id, lane_key, 1, %s, now() + interval '90 s' from bridge.delivery",
)
OTHERS_END = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
)


async def test_a_lane_that_is_worked_on_is_not_begun_again_when_its_claim_was_lost(store: Store) -> None:
    instance = await owned(store)
    answered = trio.Event()

    async def script(request: Received) -> Reply:
        if b"slow" in request.body:
            await answered.wait()
        return Reply()

    async with hook() as receiver, dispatching(store) as dispatcher:
        receiver.script = script
        await endpoint(store, receiver.url)
        await instance.append(text_event("slow"))
        await receiver.until(lambda: len(receiver.received) == 1)
        await run(store, UNCLAIMED)
        await instance.append(text_event("slow"), text_event("quick"))
        await receiver.until(lambda: any(b"quick" in request.body for request in receiver.received))
        assert len(receiver.received) == 2, "a lane that was due was claimed while a task of ours was at it"
        await run(store, UNCLAIMED)
        answered.set()
        await all_delivered(store, 3)
        assert dispatcher.stats.in_flight == 0
        assert len(receiver.ids) == len(set(receiver.ids)) == 3


async def test_lanes_whose_record_was_lost_go_on_at_once_and_not_when_their_lease_is_over(store: Store) -> None:
    """An idle pool replaces its connections without a word: that there was an outage has to be heard of otherwise."""
    instance = await owned(store)
    async with hook() as receiver, dispatching(store) as dispatcher:
        await endpoint(store, receiver.url)
        await instance.append(text_event())
        await all_delivered(store, 1)
        await run(store, UNSETTLED[0])
        await run(store, UNSETTLED[1], dispatcher._node)
        await run(store, OTHERS_END)
        await receiver.until(lambda: len(receiver.received) == 2)
        await all_delivered(store, 1)
        assert len(set(receiver.ids)) == 1
