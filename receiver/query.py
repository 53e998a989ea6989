"""Reads query strings: which events, from where on, how many. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from receiver.errors import BadQuery
from receiver.store import Page

MAX_PAGE = 1000
_FILTERS = ("instance", "type", "chat")
_MAX_CURSOR = 2**63 - 1


def page(query: str) -> Page:
    """Return the page that GET /events asks for; raise `BadQuery`."""
    values = fields(query, ("after", "limit", *_FILTERS))
    return Page(
        after=number(values, "after", Page().after, 0, _MAX_CURSOR),
        limit=number(values, "limit", Page().limit, 1, MAX_PAGE),
        instance=values.get("instance"),
        type=values.get("type"),
        chat=values.get("chat"),
    )


def follow(query: str, last_event_id: bytes) -> tuple[Page, int | None]:
    """Return from where GET /events/stream goes on, or behind which of the newest it begins; raise `BadQuery`.

    `Last-Event-ID`, which a client sends when it comes back, counts more than `after`, and that more than `last`. Given
    none of them, it begins with what is stored next.
    """
    values = fields(query, ("after", "last", *_FILTERS))
    last: int | None = number(values, "last", 0, 0, MAX_PAGE)
    after = number(values, "after", 0, 0, _MAX_CURSOR)
    if last_event_id:
        after = number({"Last-Event-ID": last_event_id.decode("latin-1")}, "Last-Event-ID", 0, 0, _MAX_CURSOR)
    if last_event_id or "after" in values:
        last = None
    return Page(after=after, instance=values.get("instance"), type=values.get("type"), chat=values.get("chat")), last


def fields(query: str, allowed: Collection[str]) -> dict[str, str]:
    """Return what a query string gives for the names `allowed`, each once; raise `BadQuery`."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=20)
    except ValueError:
        raise BadQuery("it is not well-formed") from None
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadQuery("a name is repeated")
    if values.keys() - set(allowed):
        raise BadQuery(f"the names are {', '.join(allowed)}")
    if any("\0" in value for value in values.values()):
        raise BadQuery("a value holds a NUL")
    return values


def number(values: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return the number that `values` has for `name`; raise `BadQuery` unless it is from `least` to `most`."""
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadQuery(f"{name} is a number from {least} to {most}")
    return int(text)


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Which runs of a handler to show: those that wait or those that are parked."""

    handler: str
    parked: bool
    after: int
    limit: int


def runs(query: str) -> RunsPage:
    """Return what GET /runs asks for; raise `BadQuery`."""
    values = fields(query, ("handler", "parked", "after", "limit"))
    parked = values.get("parked", "true")
    if "handler" not in values or parked not in ("true", "false"):
        raise BadQuery("handler is needed, and parked is true or false")
    return RunsPage(
        handler=values["handler"],
        parked=parked == "true",
        after=number(values, "after", 0, 0, _MAX_CURSOR),
        limit=number(values, "limit", Page().limit, 1, MAX_PAGE),
    )
