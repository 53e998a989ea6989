"""The routes: webhooks in, events out, health."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qsl

import msgspec
import structlog
import trio

from receiver import envelope
from receiver.errors import BadQuery, NotFound, RequestError, StoreUnavailable, Unavailable, WrongMethod
from receiver.http import Request, Response
from receiver.store import Page, Store, StoredEvent
from receiver.verify import Secret, verify
from receiver.writer import Incoming

log = structlog.get_logger()

MAX_PAGE = 1000
_PAGE_NAMES = ("after", "limit", "instance", "type", "chat")
_CHECK_DEADLINE_S = 2.0
_LOG_EVERY_S = 1.0
_STORED = Response(200, b'{"status":"stored"}')
_DUPLICATE = Response(200, b'{"status":"duplicate"}')

Route = Callable[[Request], Awaitable[Response]]


class App:
    """Answers one request after another; holds no state but counts."""

    def __init__(
        self, store: Store, secrets: Sequence[Secret], paths: Sequence[str], stopping: Callable[[], bool]
    ) -> None:
        self._store = store
        self._secrets = tuple(secrets)
        self._stopping = stopping
        self._refused: Counter[str] = Counter()
        self._last_log_at = float("-inf")
        reads: dict[str, Route] = {
            "/events": self._events,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/health": self._health,
        }
        self._routes: dict[str, dict[str, Route]] = {
            path: {"GET": route, "HEAD": route} for path, route in reads.items()
        }
        for path in paths:
            self._routes.setdefault(path, {})["POST"] = self._webhook

    async def __call__(self, request: Request) -> Response:
        """Return the answer; raise `RequestError` for every other outcome."""
        methods = self._routes.get(request.path)
        if methods is None:
            raise NotFound
        route = methods.get(request.method)
        if route is None:
            raise WrongMethod(methods)
        return await route(request)

    async def _webhook(self, request: Request) -> Response:
        try:
            verified = verify(self._secrets, request.headers, request.body, time.time())
            index = envelope.index(request.body)
        except RequestError as error:
            self._note_refusal(error)
            raise
        attempt = _attempt(request.headers.get(b"x-webhook-attempt", b""))
        is_new = await self._store.store(Incoming(verified.webhook_id, attempt, index, request.body))
        return _STORED if is_new else _DUPLICATE

    def _note_refusal(self, error: RequestError) -> None:
        """Count it, and log one line a second at most: whoever knows our port can cause these."""
        self._refused[error.code] += 1
        if trio.current_time() - self._last_log_at >= _LOG_EVERY_S:
            self._last_log_at = trio.current_time()
            log.warning("webhook.refused", code=error.code, refused=dict(self._refused))

    async def _events(self, request: Request) -> Response:
        page = parse_page(request.query)
        events = await self._store.page(page)
        after = events[-1].cursor if events else page.after
        return _json({"events": [_as_json(event) for event in events], "next_after": after})

    async def _livez(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return _json({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        if self._stopping():
            raise Unavailable("it is shutting down")
        await self._store.check(_CHECK_DEADLINE_S)
        return _json({"status": "ready"})

    async def _health(self, request: Request) -> Response:
        try:
            await self._store.check(_CHECK_DEADLINE_S)
            database = "ok"
        except StoreUnavailable:
            database = "unavailable"
        await trio.lowlevel.checkpoint()
        status = "draining" if self._stopping() else "ok" if database == "ok" else "degraded"
        counts = {**self._store.counts(), "refused": dict(self._refused)}
        return _json({"status": status, "database": database, "since_start": counts})


def parse_page(query: str) -> Page:
    """Return the page that a query string asks for; raise `BadQuery`."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=20)
    except ValueError:
        raise BadQuery("it is not well-formed") from None
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadQuery("a name is repeated")
    if values.keys() - set(_PAGE_NAMES):
        raise BadQuery(f"the names are {', '.join(_PAGE_NAMES)}")
    if any("\0" in value for value in values.values()):
        raise BadQuery("a value holds a NUL")
    return Page(
        after=_number(values, "after", Page().after, 0, 2**63 - 1),
        limit=_number(values, "limit", Page().limit, 1, MAX_PAGE),
        instance=values.get("instance"),
        type=values.get("type"),
        chat=values.get("chat"),
    )


def _number(values: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadQuery(f"{name} is a number from {least} to {most}")
    return int(text)


def _attempt(header: bytes) -> int | None:
    return int(header) if header.isdigit() and len(header) < 10 else None


def _as_json(event: StoredEvent) -> dict[str, object]:
    fields = {name: getattr(event, name) for name in StoredEvent.__slots__}
    return fields | {"body": msgspec.Raw(event.body)}  # embedded as it is: it was JSON when it was stored


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))
