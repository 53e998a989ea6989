"""Prints the table and writes the JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from ops.bench.figures import Figure

OUT = Path(__file__).with_name("out")


def machine() -> dict[str, object]:
    """Describe where this runs, without naming it."""
    return {
        "cores": psutil.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, and below it what limits each."""
    rows = [("", "bridge", "bare neonize", "target", "")]
    for figure in figures:
        met = {True: "met", False: "MISSED", None: ""}[figure.met]
        name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
        rows.append((name, _text(figure.bridge), _text(figure.bare), figure.target, met))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    limits = [f"- {figure.name}: {figure.limit}" for figure in figures if figure.limit]
    return "\n".join([*lines, "", "What limits it (shares are of one core):", *limits])


def _text(value: float | str | None) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def write(figures: Sequence[Figure], about: Mapping[str, object], more: Path | None) -> None:
    """Write the JSON to `out/bench.json`, and to another file if one is given."""
    text = json.dumps({**about, "figures": [asdict(figure) for figure in figures]}, indent=1, default=str)
    OUT.mkdir(exist_ok=True)
    for path in filter(None, (OUT / "bench.json", more)):
        path.write_text(text.replace("Infinity", "null") + "\n")
