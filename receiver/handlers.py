"""Finds the functions that a receiver's user wants called: by entry point, or by a module path in a setting.

Only names are handled here. The receiver never imports the functions: the process that calls them does
(`receiver.host`), so that an import that fails, hangs or kills is no trouble of the receiver's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import NewType

from receiver.errors import ConfigError

GROUP = "receiver.handlers"
"""The group of entry points; see the packaging guide for what a distribution has to declare."""

HandlerName = NewType("HandlerName", str)
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MAX_CHARS = 255


@dataclass(frozen=True, slots=True)
class Handler:
    """One function. `name` is how its runs are stored and shown; `target` is `package.module:function`."""

    name: HandlerName
    target: str


def parse(setting: str) -> tuple[Handler, ...]:
    """Return the handlers named in `setting`, separated by commas or spaces; raise `ConfigError`."""
    targets = dict.fromkeys(part for part in re.split(r"[\s,]+", setting) if part)
    for target in targets:
        if len(target) > _MAX_CHARS or _TARGET.fullmatch(target) is None:
            raise ConfigError(f"a handler is package.module:function, not {target[:80]!r}")
    return tuple(Handler(HandlerName(target), target) for target in targets)


def installed() -> tuple[Handler, ...]:
    """Return the handlers that installed distributions declare, named as they name them."""
    return tuple(
        Handler(HandlerName(point.name), point.value.partition(" ")[0])
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
    )


def find(setting: str) -> tuple[Handler, ...]:
    """Return all handlers, those of the setting first; a name counts once. Raise `ConfigError`."""
    return _once((*parse(setting), *installed()))


def _once(handlers: Iterable[Handler]) -> tuple[Handler, ...]:
    names: dict[str, Handler] = {}
    for handler in handlers:
        names.setdefault(handler.name, handler)
    return tuple(names.values())
