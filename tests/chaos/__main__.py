"""`make chaos`: the full run, on a PostgreSQL of its own with fsync on. SEED= replays it; the last line tells."""

import argparse
import os
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from bridge import logs
from bridge.store import embedded
from tests.chaos.world import Plan, Report, killed_again_and_again, world


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(2**32)))
    options.add_argument("--events", type=int, default=20_000)
    options.add_argument("--kills", type=int, default=50)
    given = options.parse_args()
    logs.configure(level="error", style="console")
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bridge-chaos-") as folder:
        Path(folder).chmod(0o711)
        report = trio.run(partial(_run, Plan(given.seed, events=given.events, kills=given.kills), Path(folder)))
    print(f"chaos {'ok' if report.ok else 'FAILED'}: seed {given.seed}, {report}", flush=True)
    return 0 if report.ok else 1


async def _run(plan: Plan, folder: Path) -> Report:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        postgres: embedded.Embedded = await nursery.start(partial(embedded.run, folder / "postgres", stop=stop))
        async with world(plan, postgres.dsn) as running:
            report = await killed_again_and_again(running, partial(print, flush=True))
        stop.set()
    return report


if __name__ == "__main__":
    sys.exit(main())
