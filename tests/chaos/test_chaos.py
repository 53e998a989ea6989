"""The short runs of `make chaos`: nothing is lost, doubled or reordered, whatever is killed; each prints its seed."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import trio

from tests.chaos.postgres import crashing_postgres
from tests.chaos.world import Plan, killed_again_and_again, world

CLAIM_MAX = 16 * 16 * 3
"""Deliveries that three endpoints can have on their way or unrecorded: lanes of each, and what is claimed of a lane."""


def seed() -> int:
    """Return the seed of this run; SEED= replays one."""
    return int(os.environ.get("SEED") or random.randrange(2**32))


async def test_a_bridge_that_is_killed_again_and_again_loses_and_reorders_nothing(
    database_url: str, measured: Callable[[str], None]
) -> None:
    plan = Plan(seed(), events=900, kills=3, chats=40, instances=3, life_s=1.0, early=0.0)
    async with world(plan, database_url) as running:
        report = await killed_again_and_again(running)
    measured(f"chaos, seed {plan.seed}: {report}")
    assert report.ok, report


async def test_postgresql_that_crashes_in_traffic_costs_no_event_and_needs_nobody(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    plan = Plan(seed(), events=1_500, chats=40, instances=3, pause_s=0.2)
    async with crashing_postgres(tmp_path / "postgres") as postgres, world(plan, postgres.url) as running:
        await running.crashes_under_way(postgres.crash, 2)
        for receiver in running.receivers:
            receiver.stay()
        await running.finish(deadline_s=120)
        report = running.report()
    measured(f"chaos of PostgreSQL, seed {plan.seed}: {report}")
    assert (report.lost, report.out_of_order, report.changed) == (0, 0, 0), report
    assert report.crashes == 2 and report.duplicates <= report.crashes * CLAIM_MAX, report


async def test_what_comes_twice_after_a_crash_of_postgresql_is_what_was_not_recorded_on_disk(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """Settlements commit without waiting for the disk: those of the last moment are taken back, and no others."""
    plan = Plan(seed(), events=1_500, chats=40, instances=3, pause_s=0.1)
    async with crashing_postgres(tmp_path / "postgres") as postgres, world(plan, postgres.url) as running:
        await running.crashes_under_way(postgres.crash, 2, stopped=True)
        for receiver in running.receivers:
            receiver.stay()
        await running.finish(deadline_s=120)
        report = running.report()
    measured(f"PostgreSQL crashed under a stopped driver, seed {plan.seed}: {report}")
    assert report.ok and report.crashes == 2, report


async def test_a_thousand_events_outlast_a_receiver_that_is_away_and_a_bridge_that_is_killed(
    database_url: str, measured: Callable[[str], None]
) -> None:
    """The case in which every gateway that was measured before lost all of them."""
    plan = Plan(seed(), events=1_000, chats=40, instances=3)
    async with world(plan, database_url) as running:
        for receiver in running.receivers:
            receiver.leave()
        running.start(plan.events)
        with trio.fail_after(60):
            while sum(running.done) < plan.events:
                with trio.move_on_after(0.1):
                    await running.listen()
        await running.kill()
        assert running.taken == 0
        for receiver in running.receivers:
            receiver.stay()
        await running.finish(deadline_s=120)
        report = running.report()
    measured(f"receiver away and bridge killed, seed {plan.seed}: {report}")
    assert report.ok and report.duplicates == 0, report
