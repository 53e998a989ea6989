"""Old events are forgotten, those of handlers that are not done are not, and no lane is left that waits for nothing."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

from receiver import retention, retry
from receiver.handlers import HandlerName
from receiver.runs import Runs
from tests.support import handlers
from tests.support.receiver import SECRET, Running, body_of, process, serving, until

MODULE = "tests.support.handlers"


async def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Run one statement beside the receiver; return what it returns."""

    def run() -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    return await trio.to_thread.run_sync(run)


async def stored(receiver: Running, *numbers: int) -> None:
    """Store events, each in a chat of its own."""
    for number in numbers:
        assert (await receiver.post(number, body=body_of(number, chat=f"{number}@g.us"))).status_code == 200


async def ids(url: str) -> list[str]:
    return [id for (id,) in await rows(url, "select webhook_id from receiver.event order by cursor")]


async def age(url: str, *numbers: int) -> None:
    """Make events eight days old."""
    wanted = ", ".join(f"'evt_{number}'" for number in numbers)
    await rows(url, f"update receiver.event set received_at = now() - interval '8 days' where webhook_id in ({wanted})")


async def test_what_is_older_is_forgotten_in_batches(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        await stored(receiver, 1, 2, 3, 4, 5, 6)
        await age(empty_database_url, 1, 2, 3, 4, 5)
        assert await retention.once(receiver.store, 9) == 0
        assert await retention.once(receiver.store, 7) == 5
        assert await ids(empty_database_url) == ["evt_6"]
        assert [event["webhook_id"] for event in await receiver.events()] == ["evt_6"]


async def test_what_a_handler_waits_for_or_is_parked_on_is_kept_until_it_is_done(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(handlers.FOLDER, str(tmp_path))
    monkeypatch.setattr(retry, "DELAYS_S", (0.01,))
    monkeypatch.setattr(retention, "BATCH", 1)
    async with serving(empty_database_url, handlers=[f"{MODULE}:nothing_of_this_name"]) as receiver:
        await receiver.until_ready()
        await stored(receiver, 1, 2, 3)
        await rows(empty_database_url, "update receiver.run set parked = true where cursor = 1")
        await rows(empty_database_url, "update receiver.lane set pending = 0 where name like '%/1@g.us'")
        await rows(empty_database_url, "delete from receiver.run where cursor = 3")
        await age(empty_database_url, 1, 2, 3)
        assert await retention.once(receiver.store, 7) == 1, "that for which nothing waits"
        assert await ids(empty_database_url) == ["evt_1", "evt_2"]
        await rows(empty_database_url, "delete from receiver.run")
        assert await retention.once(receiver.store, 7) == 2


async def test_a_delete_by_hand_leaves_no_lane_that_waits_for_nothing(empty_database_url: str) -> None:
    """Nor one that is due for ever, or in the way of another, when runs alone were deleted."""
    name = HandlerName(f"{MODULE}:nothing_of_this_name")
    lanes = "select split_part(name, '/', 2), pending from receiver.lane order by name"
    runs = Runs(empty_database_url)
    async with serving(empty_database_url) as receiver:  # makes the schema
        await receiver.until_ready()
    async with serving(empty_database_url, handlers=[str(name)]) as receiver:
        await receiver.until_ready()
        await stored(receiver, 1, 2, 3, 4)
        await receiver.post(5, body=body_of(5, chat="2@g.us"))
    await rows(empty_database_url, "update receiver.run set parked = true where cursor = 4")
    await rows(empty_database_url, "update receiver.lane set pending = 0 where name like '%/4@g.us'")
    await rows(empty_database_url, "delete from receiver.event where webhook_id in ('evt_1', 'evt_2', 'evt_4')")
    assert await rows(empty_database_url, lanes) == [("1@g.us", 0), ("2@g.us", 1), ("3@g.us", 1), ("4@g.us", 0)]
    try:
        assert [run.webhook_id for run in await runs.due(name, (), 4)] == ["evt_3", "evt_5"]
        await rows(empty_database_url, "delete from receiver.run where lane like '%/2@g.us'")
        await rows(empty_database_url, "update receiver.lane set next_at = '-infinity' where name like '%/2@g.us'")
        assert [run.webhook_id for run in await runs.due(name, (), 1)] == ["evt_3"], "nothing is in its way"
        [run] = await runs.due(name, (), 1)
        await runs.done(name, run.cursor)
        assert await runs.next_due_s(name, ()) is None, "a lane without runs is not waited for"
    finally:
        runs.close()


async def test_the_program_forgets_at_its_start(empty_database_url: str) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        await stored(receiver, 1, 2)
    await age(empty_database_url, 1)
    settings = {"RECEIVER_DATABASE_URL": empty_database_url, "RECEIVER_SECRET": SECRET, "RECEIVER_RETENTION_DAYS": "7"}

    async def forgotten() -> bool:
        return await ids(empty_database_url) == ["evt_2"]

    with process(env=settings):
        await until(forgotten)
