"""Grafana's own types (its foundation SDK, for Grafana 11.6) as a reader of dashboards that takes no mistake.

The SDK drops a key that it does not know and keeps a value that does not fit. Grafana does much the same, so a slip of
the pen shows as a panel that looks wrong. Here both are found.
"""

import json
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

plugins.register_default_plugins()
_declared = cache(typing.get_type_hints)

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}


def read(text: dict[str, Any]) -> Dashboard:
    return Dashboard.from_json(text)


def mistakes(text: dict[str, Any]) -> list[str]:
    """Return where a dashboard says what Grafana's types do not know."""
    dashboard = read(text)
    again = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    found = [*_lost(text, again, "dashboard"), *_unfit(dashboard, Dashboard, "dashboard")]
    for panel in dashboard.panels or []:
        if isinstance(panel, Panel):
            found += _unknown(panel)
    return found


def _unknown(panel: Panel) -> Iterator[str]:
    """Find a kind of panel or query for which the SDK would keep anything, and a unit that Grafana has not."""
    kind = runtime.panelcfg_config(panel.type_val)
    defaults = panel.field_config.defaults if panel.field_config else None
    if kind is None:
        yield f"{panel.title}: no panel is of type {panel.type_val}"
    elif kind.field_config_from_json_hook is None and defaults and defaults.custom:
        yield f"{panel.title}: a panel of type {panel.type_val} has nothing of its own for fields"
    for target in panel.targets or []:
        if isinstance(target, runtime.UnknownDataquery):
            yield f"{panel.title}: no query is like {target.data}"
    if defaults and defaults.unit not in UNITS:
        yield f"{panel.title}: {defaults.unit} is no unit"


def _lost(said: Any, again: Any, at: str) -> Iterator[str]:
    """Find what is not there any more, or is another value, when the types have been through it."""
    if isinstance(said, dict) and isinstance(again, dict):
        for key, value in said.items():
            if key in again:
                yield from _lost(value, again[key], f"{at}.{key}")
            else:
                yield f"{at}.{key} is not known"
    elif isinstance(said, list) and isinstance(again, list) and len(said) == len(again):
        for number, (one, other) in enumerate(zip(said, again, strict=True)):
            yield from _lost(one, other, f"{at}.{number}")
    elif said != again:
        yield f"{at}: {said!r} became {again!r}"


def _unfit(value: Any, hint: Any, at: str) -> Iterator[str]:
    """Find values that are not of the type that is declared for them; the SDK does not look."""
    inner = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Union:
            fits = any(not list(_unfit(value, one, at)) for one in inner)
        case typing.Literal:
            fits = value in inner
        case _ if hint in (object, Any):
            fits = True
        case origin if origin is list:
            fits = isinstance(value, list)
            for number, part in enumerate(value if fits else ()):
                yield from _unfit(part, inner[0], f"{at}.{number}")
        case origin if origin is dict:
            fits = isinstance(value, dict)
            for key, part in value.items() if fits else ():
                yield from _unfit(part, inner[1], f"{at}.{key}")
        case _ if issubclass(hint, Enum):
            fits = value in [member.value for member in hint]
        case _:
            fits = isinstance(value, (int, float) if hint is float else hint)
            fits = fits and (hint is bool or not isinstance(value, bool))
    if not fits:
        yield f"{at}: {value!r} is no {hint}"
    elif hasattr(value, "from_json"):
        for name, declared in _declared(type(value)).items():
            yield from _unfit(getattr(value, name), declared, f"{at}.{name}")
