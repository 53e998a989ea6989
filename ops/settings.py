"""Writes the tables of settings into the documents from the code: `python -m ops.settings`. `--check` compares instead.

The bridge's, from `Settings` in bridge/config.py, into docs/operations.md; the receiver's, from receiver/settings.py,
into docs/receiver.md.
"""

import argparse
import ast
import inspect
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from bridge import config
from receiver.settings import PREFIX, SETTINGS

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- settings: python -m ops.settings writes this table from the code -->\n", "<!-- end -->\n"
HEAD = "| variable | default | must be | |\n|---|---|---|---|\n"


def meanings() -> dict[str, str]:
    """Return what is written under each field, on one line; raise `KeyError` in `table` where nothing is."""
    (body,) = (
        node.body for node in ast.parse(inspect.getsource(config.Settings)).body if isinstance(node, ast.ClassDef)
    )
    found = {}
    for field, text in itertools.pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found


def default(field: FieldInfo) -> str:
    """Return a default as it would be written in the environment."""
    value = field.default
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    if value in ("", ()):
        return "–"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def must(field: FieldInfo) -> str:
    """Return what a value has to be, in the words of its refusal."""
    said = [one.wanted for one in field.metadata if isinstance(one, config.Must)]
    return "; ".join(said) or config.KINDS.get(field.annotation, "–")


def bridge_table() -> str:
    """Return the bridge's table as Markdown, in the order of the code."""
    told = meanings()
    return HEAD + "".join(
        _row(f"`{config.Settings.ENVIRONMENT}{name.upper()}`", default(field), must(field), told[name])
        for name, field in config.Settings.model_fields.items()
    )


def receiver_table() -> str:
    """Return the receiver's table as Markdown; a star marks what may be in a file."""
    return HEAD + "".join(
        _row(
            f"`{PREFIX}{name}`{' *' if one.file else ''}",
            f"`{one.default}`" if one.default else "–",
            one.must or "–",
            f"{one.meaning} `{one.flag}` wins over it." if one.flag else one.meaning,
        )
        for name, one in SETTINGS.items()
    )


TABLES: Mapping[str, Callable[[], str]] = {"operations.md": bridge_table, "receiver.md": receiver_table}
"""By the document that has it."""


def page(name: str) -> str:
    """Return a whole document with its table anew between the marks; raise `ValueError` where there are none."""
    before, rest = _cut(name, (DOCS / name).read_text(), BEGIN)
    _, after = _cut(name, rest, END)
    return before + BEGIN + TABLES[name]() + END + after


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _cut(name: str, text: str, mark: str) -> tuple[str, str]:
    before, found, after = text.partition(mark)
    if not found:
        raise ValueError(f"{name} has no line {mark.strip()}")
    return before, after


def main() -> int:
    """Write the documents, or with `--check` return 1 when one says something else."""
    parser = argparse.ArgumentParser(prog="python -m ops.settings", description="Writes the tables of settings.")
    parser.add_argument("--check", action="store_true", help="compare with the documents instead of writing them")
    check, status = parser.parse_args().check, 0
    for name in TABLES:
        wanted = page(name)
        if not check:
            (DOCS / name).write_text(wanted)
        elif (DOCS / name).read_text() != wanted:
            print(f"docs/{name} is out of date: python -m ops.settings", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
