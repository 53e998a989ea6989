"""One call: what a handler gets to read, and what it answers with."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from quart.wrappers import Request, Response

from bridge.api.auth import Access, Caller, Reach
from bridge.api.body import read_json
from bridge.api.context import ApiContext
from bridge.api.edge import BODY_LIMIT, LOGGED
from bridge.api.problems import JSON, Forbidden, InstanceMismatch, InstanceMissing, InvalidField, TimedOut
from bridge.api.schemas import encode
from bridge.api.shields import SCOPE_KEY, Shields
from bridge.domain.ids import InstanceKey
from bridge.store.errors import InstanceNotFound

T = TypeVar("T")

NOBODY = Caller(None, None)

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    context: ApiContext
    request: Request
    request_id: str
    headers: Mapping[bytes, bytes]
    """Names in lower case; of a repeated header the last."""
    path: Mapping[str, str] = field(default_factory=dict)
    """The variable parts of the path; `key` is an instance key."""
    caller: Caller = NOBODY
    notes: dict[str, str] = field(default_factory=dict)
    """What the audit trail says of the call: `instance`, when it has one, and `target`."""

    @property
    def only(self) -> frozenset[str] | None:
        """The instances that the caller may see; None: all of them."""
        return self.caller.only

    async def json(self, kind: type[T]) -> T:
        """Return the body as a `kind`."""
        limit = self.request.scope.get(BODY_LIMIT, self.context.limits.body_bytes)
        return await read_json(self.request, self.headers, kind, limit)

    def instance(self, body_key: str | None = None) -> InstanceKey:
        """Return the one instance that path, body and header agree on; a key that belongs to one implies it.

        Raises `InstanceMissing`, `InstanceMismatch`, `Forbidden` for an instance that is not the caller's, or
        `InstanceNotFound` for what cannot be a key.
        """
        header = self.headers.get(b"x-instance-key", b"").decode("latin-1")
        named = {key for key in (self.path.get("key"), body_key, header) if key}
        if self.only is not None and len(self.only) == 1:
            named |= self.only
        if not named:
            raise InstanceMissing
        if len(named) > 1:
            raise InstanceMismatch
        key = named.pop()
        if not _KEY.fullmatch(key):
            raise InstanceNotFound
        if self.only is not None and key not in self.only:
            raise Forbidden("It belongs to other instances.")
        self.notes["instance"] = key
        structlog.contextvars.bind_contextvars(instance=key)
        self.request.scope[LOGGED]["instance"] = key
        return InstanceKey(key)

    def query(self, name: str) -> str | None:
        """Return a parameter of the URL, None when it is absent or empty."""
        value = self.request.args.get(name) or None
        if value is not None and ("\0" in value or len(value) > 512):
            raise InvalidField(name, "is not valid")
        return value

    def query_number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a parameter of the URL that is a number from `low` to `high`."""
        text = self.query(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise InvalidField(name, "is not a number") from None
        if not low <= value <= high:
            raise InvalidField(name, f"must be from {low:g} to {high:g}")
        return value

    @contextmanager
    def promised(self, more_s: float = 0) -> Iterator[None]:
        """Finish what is begun in here even when the caller goes away, within `Limits.call_s` and `more_s`."""
        shields: Shields = self.request.scope[SCOPE_KEY]
        with shields.hold(self.context.limits.call_s + more_s) as shield:
            yield
        if shield.cancelled_caught:
            raise TimedOut

    @contextmanager
    def shielded(self, limit_s: float) -> Iterator[None]:
        """Finish what is in here within `limit_s`, or leave it: to tidy up behind a call that may have ended."""
        shields: Shields = self.request.scope[SCOPE_KEY]
        with shields.hold(limit_s):
            yield


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A call of the API; `access` is None where no key is asked for. `<key>` in `path` is an instance key.

    `reach` says what a key that is limited to some instances may do with it: a call whose path has no instance refuses
    such a key, unless it says `Reach.ONE` (its body names the instance) or `Reach.SHOWN` (it shows what `Call.only`
    allows).
    """

    method: str
    path: str
    handler: Handler
    access: Access | None
    reach: Reach | None = None
    body_bytes: int | None = None
    """The largest body it takes; None: `Limits.body_bytes`."""
    keeps_answer: bool = True
    """Of a POST: whether its answer is kept for a repeat with the same Idempotency-Key (`bridge.api.once`). False where
    the call has a memory of its own, streams, or answers with a secret."""
    streams: bool = False
    """Whether the handler takes the body piece by piece, and says so (`bridge.api.edge.Inflow`)."""

    @property
    def reached(self) -> Reach:
        """The reach that holds."""
        return self.reach or (Reach.ONE if "<key>" in self.path else Reach.ALL)


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Return a JSON answer."""
    return Response(encode(body), status, headers, content_type=JSON)
