"""Runs the bench: `python -m ops.bench [--quick] [--only memory recovery texts-in texts-out sandbox] [--json FILE]`."""

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog
import trio

from ops.bench import report, results, sandbox_rate, sessions, texts
from ops.bench.figures import Figure
from ops.bench.narrator import say
from ops.bench.plan import PARTS, Plan, quick


async def bench(plan: Plan) -> tuple[list[Figure], list[str]]:
    """Measure what the plan wants; return the figures, and what did not work."""
    figures: list[Figure] = []
    notes: list[str] = []

    async def of_texts() -> None:
        figures.extend(results.of_texts(*await texts.measure(plan)))

    async def of_sessions() -> None:
        found = await sessions.measure(plan)
        notes.extend(found.notes)
        figures[:0] = results.of_sessions(found)

    async def of_the_sandbox() -> None:
        figures.extend(sandbox_rate.figures(await sandbox_rate.measure(plan.sandbox_messages)))

    if plan.wants("sandbox"):
        await _attempt("sandbox", of_the_sandbox, notes)
    if plan.wants("texts-in", "texts-out"):
        await _attempt("texts", of_texts, notes)
    if plan.wants("memory", "recovery"):
        await _attempt("sessions", of_sessions, notes)
    return figures, notes


async def _attempt(name: str, measure: Callable[[], Awaitable[None]], notes: list[str]) -> None:
    """Measure; what fails is told and does not take the other figures away."""
    try:
        await measure()
    except Exception as error:
        traceback.print_exception(error)
        notes.append(f"{name} failed: {error!r}")


async def _run(plan: Plan) -> tuple[list[Figure], list[str]]:
    found: tuple[list[Figure], list[str]] = [], ["it was stopped"]
    async with trio.open_nursery() as nursery:

        async def watch(task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
                task_status.started()
                async for _ in received:
                    say("stopped")
                    nursery.cancel_scope.cancel()

        await nursery.start(watch)
        found = await bench(plan)
        nursery.cancel_scope.cancel()
    return found


def main() -> int:
    """Measure, print, write; return 1 when something could not be measured. A missed target is no failure."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="The product beside bare neonize.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="less than two minutes: shows that everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there too")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parts = tuple(options.only)
    about: dict[str, object] = {"quick": options.quick, "machine": report.machine()}
    figures, notes = trio.run(partial(_run, quick(parts) if options.quick else Plan(parts)))
    about |= {"notes": notes, "load_average_after": report.machine()["load_average"]}
    report.write(figures, about, options.json)
    print(report.table(figures))
    print(f"\n{about['machine']}, load average afterwards {about['load_average_after']}")
    for note in notes:
        print(f"NOTE: {note}")
    return 1 if notes or not figures else 0


if __name__ == "__main__":
    sys.exit(main())
