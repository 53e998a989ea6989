"""Writes the table of settings into docs/operations.md from `Settings` in bridge/config.py: `python -m ops.settings`.

`--check` compares instead.
"""

import argparse
import ast
import inspect
import itertools
import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from bridge import config

TARGET = Path(__file__).parents[1] / "docs" / "operations.md"
BEGIN, END = "<!-- settings: python -m ops.settings writes this table from bridge/config.py -->\n", "<!-- end -->\n"
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


def table() -> str:
    """Return the table as Markdown, in the order of the code."""
    told = meanings()
    cells = (
        (f"`{config.Settings.ENVIRONMENT}{name.upper()}`", default(field), must(field), told[name])
        for name, field in config.Settings.model_fields.items()
    )
    return HEAD + "".join("| " + " | ".join(row) + " |\n" for row in cells)


def page(text: str) -> str:
    """Return `text`, the whole page, with the table anew between its marks; raise `ValueError` without marks."""
    before, rest = _cut(text, BEGIN)
    _, after = _cut(rest, END)
    return before + BEGIN + table() + END + after


def _cut(text: str, mark: str) -> tuple[str, str]:
    before, found, after = text.partition(mark)
    if not found:
        raise ValueError(f"{TARGET.name} has no line {mark.strip()}")
    return before, after


def main() -> int:
    """Write the page, or with `--check` return 1 when it says something else."""
    parser = argparse.ArgumentParser(prog="python -m ops.settings", description="Writes the table of settings.")
    parser.add_argument("--check", action="store_true", help="compare with docs/operations.md instead of writing it")
    check = parser.parse_args().check
    now = TARGET.read_text()
    wanted = page(now)
    if check and now != wanted:
        print("docs/operations.md is out of date: python -m ops.settings", file=sys.stderr)
        return 1
    if not check:
        TARGET.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
