"""One call: what a handler gets to read, and what it answers with."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from quart.wrappers import Request, Response

from bridge.api.auth import Access
from bridge.api.body import read_json
from bridge.api.context import ApiContext
from bridge.api.problems import JSON, InstanceMismatch, InstanceMissing, InvalidField, TimedOut
from bridge.api.schemas import encode
from bridge.api.shields import SCOPE_KEY, Shields
from bridge.domain.ids import InstanceKey
from bridge.store.errors import InstanceNotFound

T = TypeVar("T")

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    context: ApiContext
    request: Request
    request_id: str
    headers: Mapping[bytes, bytes]
    """Names in lower case; of a repeated header the last."""
    path_key: str | None = None

    async def json(self, kind: type[T]) -> T:
        """Return the body as a `kind`."""
        return await read_json(self.request, self.headers, kind, self.context.limits.body_bytes)

    def instance(self, body_key: str | None = None) -> InstanceKey:
        """Return the one instance that path, body and header agree on.

        Raises `InstanceMissing`, `InstanceMismatch`, or `InstanceNotFound` for what cannot be a key.
        """
        header = self.headers.get(b"x-instance-key", b"").decode("latin-1")
        named = {key for key in (self.path_key, body_key, header) if key}
        if not named:
            raise InstanceMissing
        if len(named) > 1:
            raise InstanceMismatch
        key = named.pop()
        if not _KEY.fullmatch(key):
            raise InstanceNotFound
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
    def promised(self) -> Iterator[None]:
        """Finish what is begun in here even when the caller goes away, within `Limits.call_s`."""
        shields: Shields = self.request.scope[SCOPE_KEY]
        with shields.hold(self.context.limits.call_s) as shield:
            yield
        if shield.cancelled_caught:
            raise TimedOut


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A call of the API; `access` is None where no key is asked for. `<key>` in `path` is an instance key."""

    method: str
    path: str
    handler: Handler
    access: Access | None


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Return a JSON answer."""
    return Response(encode(body), status, headers, content_type=JSON)
