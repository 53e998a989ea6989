"""Tells where the bridge, the receiver and the sandbox spend their CPU time per text: `python -m ops.bench.profile`.

Runs the product with a sampler in its Python processes (engine hosts excepted), sends texts in and out, and prints for
each process the costliest functions, by their own time and with what they call, in microseconds per text.
"""

import argparse
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from ops.bench import statements, texts_in, texts_out
from ops.bench.figures import Usage
from ops.bench.lines import REPOSITORY
from ops.bench.narrator import say
from ops.bench.product import running_product
from ops.bench.rig import Rig, running_rig
from ops.bench.statements import Statement

SAMPLING = Path(__file__).with_name("sampling")
PROCESSES = {"receiver": "receiver", "bridge.sandbox": "sandbox", "bridge": "bridge"}
OURS = ("bridge", "receiver", "supervisor")
INSTANCES = 10
Costs = dict[str, float]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which so many texts passed."""

    name: str
    start: float
    end: float
    texts: int
    cpu_s: Mapping[str, float]
    statements: Sequence[Statement]


async def record(rate: float, seconds: float) -> tuple[list[Window], list[dict[str, Any]]]:
    """Run the loads; return when they were, and what the samplers wrote."""
    windows = []
    async with running_rig(statements.SETTINGS) as rig:
        statements.prepare(rig.database)
        folder = rig.folder / "samples"
        folder.mkdir()
        more = {"PYTHONPATH": str(SAMPLING), "BENCH_SAMPLES": str(folder)}
        async with running_product(rig, more) as product:
            await product.pair(INSTANCES)
            await texts_in.warm_up(product, product.numbers)
            await texts_out.warm_up(product, product.numbers)
            statements.reset(rig.database)
            load = await texts_in.run(product, product.numbers, rate=rate, seconds=seconds)
            windows.append(_window(f"texts in at {rate:g}/s", load.usage, load.arrived, rig))
            say(f"in: p99 {load.latency.p99_ms} ms, CPU s per 1,000: {load.cpu_per_1000()}")
            for name, send in (("one after the other", texts_out.in_turn), ("20 at once", texts_out.at_once)):
                statements.reset(rig.database)
                sends = await send(product, product.numbers, round(seconds * 100))
                windows.append(_window(f"texts out, {name}", sends.usage, sends.count, rig))
                say(f"out, {name}: {sends.per_s}/s")
                await trio.sleep(1)
        return windows, [json.loads(path.read_text()) for path in folder.glob("*.json")]


def _window(name: str, usage: Usage, texts: int, rig: Rig) -> Window:
    executed = statements.read(rig.database, max(texts, 1))
    return Window(name, usage.began_at, usage.began_at + usage.seconds, texts, usage.cpu_s, executed)


def costs(samples: Mapping[str, Any], window: Window, name: str) -> tuple[Costs, Costs, Costs]:
    """Return microseconds of CPU per text: by package, by function, and by function of ours with what it calls.

    The kernel's tick makes samples rarer than was asked for, so that the measured CPU time is spread over them.
    """
    stacks = [samples["stacks"][number] for at, number in samples["samples"] if window.start <= at <= window.end]
    packages: Costs = defaultdict(float)
    own: Costs = defaultdict(float)
    whole: Costs = defaultdict(float)
    us = window.cpu_s.get(name, 0.0) * 1e6 / max(window.texts, 1) / max(len(stacks), 1)
    for stack in stacks:
        packages[_package(stack[0])] += us
        own[_short(stack[0])] += us
        for function in {_short(frame) for frame in stack if _package(frame) in OURS}:
            whole[function] += us
    return packages, own, whole


def _largest(costs: Costs, count: int) -> list[tuple[str, float]]:
    return sorted(costs.items(), key=lambda item: -item[1])[:count]


def _package(frame: str) -> str:
    """Return the package that a frame's code belongs to, `python` for the standard library and generated code."""
    path = Path(frame.rsplit(":", 2)[0])
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1]
    return path.relative_to(REPOSITORY).parts[0] if path.is_relative_to(REPOSITORY) else "python"


def _short(frame: str) -> str:
    """Return `folder/file.py:function` of a frame: the function is what can be changed."""
    path, function, _ = frame.rsplit(":", 2)
    return "/".join(path.split("/")[-3:]) + ":" + function


def _process(samples: Mapping[str, Any]) -> str:
    return next((name for module, name in PROCESSES.items() if module in samples["argv"]), "")


def show(windows: Sequence[Window], recorded: Sequence[Mapping[str, Any]], top: int) -> str:
    """Return the tables of all processes and windows."""
    lines = []
    for window in windows:
        for samples in recorded:
            if not (name := _process(samples)):
                continue
            packages, own, whole = costs(samples, window, name)
            lines.append(f"\n{name}, {window.name}: {sum(own.values()):.0f} µs per text, by package:")
            lines.append("  " + ", ".join(f"{package} {value:.0f}" for package, value in _largest(packages, 8)))
            lines += [f"  {value:6.0f} own   {function}" for function, value in _largest(own, top)]
            lines += [f"  {value:6.0f} whole {function}" for function, value in _largest(whole, 3 * top)]
        sums = (sum(getattr(one, name) for one in window.statements) for name in ("calls", "us", "planning_us"))
        calls, us, planning_us = sums
        lines.append(
            f"\nPostgreSQL, {window.name}: {us:.0f} µs and {planning_us:.0f} of planning "
            f"in {calls:.1f} statements per text"
        )
        lines += [f"  {statement}" for statement in window.statements[: 2 * top]]
    return "\n".join(lines)


def main() -> None:
    """Record and print."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.profile", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--top", type=int, default=15)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(show(*trio.run(partial(record, options.rate, options.seconds)), options.top))


if __name__ == "__main__":
    main()
