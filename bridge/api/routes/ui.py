"""The dashboard's files, as they lie in `bridge.ui`: small, read once, and only those that are named in a table."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from quart.wrappers import Response
from werkzeug.exceptions import NotFound

from bridge.api.call import Call, Route

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
START = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of the page: nothing from elsewhere, no script in the markup, in nobody's frame, and a form never leaves the page."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served."""

    body: bytes
    type: str
    etag: str


def load() -> Mapping[str, Asset]:
    """Return the dashboard's files by their names."""
    folder = files("bridge.ui") / "static"
    found = {}
    for file in folder.iterdir():
        body = file.read_bytes()
        suffix = file.name[file.name.rfind(".") :]
        found[file.name] = Asset(body, TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


class UiCalls:
    """The handlers. They ask for no key: the page holds no secret, and signs in with one by itself."""

    def __init__(self) -> None:
        self._assets = load()

    async def start(self, call: Call) -> Response:
        return self._answer(call, START)

    async def asset(self, call: Call) -> Response:
        return self._answer(call, call.path["asset"])

    def _answer(self, call: Call, name: str) -> Response:
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound
        headers = {
            "ETag": asset.etag,
            "Cache-Control": "no-cache",  # asked for again each time, and seldom sent again
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        if call.headers.get(b"if-none-match", b"").decode("latin-1") == asset.etag:
            return Response(b"", 304, headers)
        return Response(asset.body, 200, headers, content_type=asset.type)


def routes() -> tuple[Route, ...]:
    calls = UiCalls()
    return (Route("GET", "/ui", calls.start, None), Route("GET", "/ui/<asset>", calls.asset, None))
