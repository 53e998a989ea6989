"""What a part of the control API is made of: routes, and how a handler reads a request.

A part is a module with a table `ROUTES`: `phone_calls`, `fault_calls`, `oracle_calls` and so on; `control` serves all
of them, and `openapi` describes them from the same tables. A handler gets the world, the request, and what stands in
the path's braces.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from bridge.errors import BridgeError
from bridge.sandbox.http import Request, Response

T = TypeVar("T")
Handler = Callable[..., Awaitable[Response]]

MAX_LIMIT: Final = 10_000
_PARTS: Final[Mapping[str, str]] = {"device": r"\d{1,3}", "post": r"\d{1,9}"}
"""What a part of a path may look like; any other takes all but a slash."""


class BadRequest(BridgeError):
    """The request makes no sense."""

    code = "bad_request"
    status = 400


@dataclass(frozen=True, slots=True)
class Route:
    """One call: `path` has its variable parts in braces; the first line of the handler's docstring describes it."""

    method: str
    path: str
    handler: Handler
    body: type | None = None
    """What a request's JSON is decoded to, None where there is none."""
    answer: type | None = None
    """What its answer's JSON looks like; None: no JSON."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Names of the query's parameters, and what they mean."""
    takes_file: bool = False
    """Its handler gets the request without the body, and a function that returns the body piece by piece."""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        expression = re.sub(r"\{(\w+)\}", lambda part: f"({_PARTS.get(part[1], '[^/]+')})", self.path)
        object.__setattr__(self, "pattern", re.compile(expression))


def body(request: Request, kind: type[T]) -> T:
    """Return the request's JSON; raise `BadRequest` for anything but such a value."""
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(str(error)) from error


def number(request: Request, name: str, default: int) -> int:
    """Return a number from the query; raise `BadRequest` for anything else."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise BadRequest(f"`{name}` is not a number")
    return int(text)


def limit(request: Request) -> int:
    """Return how many entries are wanted at most."""
    return min(number(request, "limit", 1000), MAX_LIMIT)
