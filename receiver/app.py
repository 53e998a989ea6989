"""The routes: webhooks in; events, handlers and the page out; health and metrics."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import resources

import msgspec
import trio

from receiver import access, query
from receiver.desk import Desks
from receiver.errors import BadRetry, NoHandler, NotFound, TooManyStreams, WrongMethod
from receiver.http import Request, Response, Stream
from receiver.metrics import Metrics
from receiver.status import Status
from receiver.store import Store, StoredEvent
from receiver.stream import Streams
from receiver.webhooks import Keys, Webhooks

_PAGE_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_PAGE_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
)
_STREAM_HEADERS = (("cache-control", "no-store"), ("x-accel-buffering", "no"))

Route = Callable[[Request], Awaitable[Response | Stream]]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /runs/retry: all that is parked of a handler, or one event."""

    handler: str
    webhook_id: str | None = None


class App:
    """Answers one request after another; holds no state but counts."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        paths: Sequence[str],
        stopping: Callable[[], bool],
        *,
        desks: Desks,
        host: str = "127.0.0.1",
        api_key: str | None = None,
    ) -> None:
        """`paths` take webhooks; `host` is where we listen, which matters as long as there is no `api_key`."""
        self._store, self._desks = store, desks
        self._host, self._api_key = host, api_key
        metrics = Metrics()
        self._streams = Streams(store, lambda event: msgspec.json.encode(_as_json(event)).translate(_ONE_LINE))
        webhooks = Webhooks(store, keys, metrics)
        status = Status(
            store, desks, metrics, refused=webhooks.refused, streams=lambda: self._streams.open, stopping=stopping
        )
        reads: dict[str, Route] = {
            "/events": self._guarded(self._events),
            "/events/stream": self._guarded(self._stream),
            "/handlers": self._guarded(status.handlers),
            "/runs": self._guarded(self._runs),
            "/livez": status.livez,
            "/readyz": status.readyz,
            "/health": status.health,
            "/metrics": status.metrics,
        }
        reads |= {path: partial(_give, _page_file(*file)) for path, file in _PAGE_FILES.items()}
        self._routes: dict[str, dict[str, Route]] = {
            path: {"GET": route, "HEAD": route} for path, route in reads.items()
        }
        self._routes["/runs/retry"] = {"POST": self._guarded(self._retry)}
        for path in paths:
            self._routes.setdefault(path, {})["POST"] = webhooks.take

    async def __call__(self, request: Request) -> Response | Stream:
        """Return the answer; raise `RequestError` for every other outcome."""
        methods = self._routes.get(request.path)
        if methods is None:
            raise NotFound
        route = methods.get(request.method)
        if route is None:
            raise WrongMethod(methods)
        return await route(request)

    def _guarded(self, route: Route) -> Route:
        async def guarded(request: Request) -> Response | Stream:
            await trio.lowlevel.checkpoint()
            refusal = access.refusal(self._api_key, self._host, request.headers)
            if refusal is not None:
                raise refusal
            return await route(request)

        return guarded

    async def _events(self, request: Request) -> Response:
        page = query.page(request.query)
        events = await self._store.page(page)
        after = events[-1].cursor if events else page.after
        return _json({"events": [_as_json(event) for event in events], "next_after": after})

    async def _stream(self, request: Request) -> Stream:
        page, last = query.follow(request.query, request.headers.get(b"last-event-id", b""))
        if self._streams.full:
            raise TooManyStreams
        if last is not None:
            page = replace(page, after=await self._store.before_newest(page, last))
        return Stream("text/event-stream", partial(self._streams.follow, page), _STREAM_HEADERS)

    async def _runs(self, request: Request) -> Response:
        wanted = query.runs(request.query)
        runs = await self._store.runs(
            self._known(wanted.handler), parked=wanted.parked, after=wanted.after, limit=wanted.limit
        )
        return _json({"runs": [asdict(run) for run in runs], "next_after": runs[-1].cursor if runs else wanted.after})

    async def _retry(self, request: Request) -> Response:
        # A page of another site can have a browser send a body here, but not with this type unless we allowed it.
        if request.headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
            raise BadRetry
        try:
            wanted = msgspec.json.decode(request.body, type=Retry)
        except msgspec.DecodeError:
            raise BadRetry from None
        count = await self._store.retry(self._known(wanted.handler), wanted.webhook_id)
        self._desks.wake()
        return _json({"status": "retrying", "count": count})

    def _known(self, handler: str) -> str:
        if handler not in self._desks.names:
            raise NoHandler
        return handler


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""Between the tokens of JSON a line end is worth a space; within its strings there is none."""


async def _give(response: Response, request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return response


def _page_file(name: str, content_type: str) -> Response:
    data = resources.files("receiver").joinpath("page", name).read_bytes()
    return Response(200, data, _PAGE_HEADERS, content_type)


def _as_json(event: StoredEvent) -> dict[str, object]:
    fields = {name: getattr(event, name) for name in StoredEvent.__slots__}
    return fields | {"body": msgspec.Raw(event.body)}  # embedded as it is: it was JSON when it was stored


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))
