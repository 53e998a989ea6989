"""Loads the SQL: blocks of `queries/<file>.sql`, named by a line `-- name: claim`, each with a comment under it."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import LiteralString

_NAME = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)$")


@cache
def load(name: str) -> Mapping[str, LiteralString]:
    """Return the blocks of `queries/<name>.sql` by name; raise `ValueError` where the file is malformed."""
    text = (files(__package__) / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    return MappingProxyType(parse(text, where=f"{name}.sql"))


def parse(text: str, where: str) -> dict[str, LiteralString]:
    """Split `text` into its named blocks, without comments and surrounding space."""
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _NAME.match(line):
            if match["name"] in blocks:
                raise ValueError(f"{where}:{number}: block {match['name']!r} exists already")
            current = blocks[match["name"]] = []
        elif line.lstrip().startswith("--") or not line.strip():
            continue
        elif current is None:
            raise ValueError(f"{where}:{number}: SQL before the first `-- name:`")
        else:
            current.append(line)
    for block, lines in blocks.items():
        if not lines:
            raise ValueError(f"{where}: block {block!r} is empty")
    return {block: "\n".join(lines).rstrip().removesuffix(";") for block, lines in blocks.items()}
