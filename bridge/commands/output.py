"""What commands print: JSON for programs, aligned columns for people. Only results go to stdout; the rest to stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def show_json(value: object) -> None:
    """Print one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Tell a person how it goes."""
    print(text, file=sys.stderr, flush=True)


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table with a head; nothing but the head when there are no rows."""
    table = [[name.upper().replace("_", " ") for name in columns]]
    table += [[cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(columns))]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()


def show_fields(value: Mapping[str, Any]) -> None:
    """Print an object, one field a line."""
    shown = {name: cell(item) for name, item in value.items() if item not in (None, {}, [])}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        print(f"{name.ljust(width)}  {text}")
    sys.stdout.flush()


class Progress:
    """How far something is that takes its time: one line on stderr, at a terminal only, which is gone at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._on = sys.stderr.isatty() and not as_json

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Put this in the place of what was shown before."""
        if self._on:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def cell(value: Any) -> str:
    """Return a value as one line that moves no cursor."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(cell(item) for item in value) or "-"
        case _:
            return json.dumps(value, ensure_ascii=False)
