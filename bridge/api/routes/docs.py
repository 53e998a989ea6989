"""The API's description of itself: for programs, and as a page. Made once; neither asks for a key."""

from collections.abc import Callable, Sequence
from functools import cached_property

import msgspec
from quart.wrappers import Response

from bridge.api.call import Call, Route
from bridge.api.docs_page import CONTENT_SECURITY_POLICY, page
from bridge.api.health import version
from bridge.api.openapi import describe
from bridge.api.operations import OPERATIONS
from bridge.api.problems import JSON


def routes(all_routes: Callable[[], Sequence[Route]]) -> tuple[Route, ...]:
    calls = DocsCalls(all_routes)
    return (Route("GET", "/openapi.json", calls.openapi, None), Route("GET", "/docs", calls.docs, None))


class DocsCalls:
    """The handlers; `all_routes` is asked when somebody reads."""

    def __init__(self, all_routes: Callable[[], Sequence[Route]]) -> None:
        self._all_routes = all_routes

    @cached_property
    def _document(self) -> dict[str, object]:
        return describe(self._all_routes(), OPERATIONS, str(version()["version"]))

    @cached_property
    def _json(self) -> bytes:
        return msgspec.json.encode(self._document)

    @cached_property
    def _page(self) -> bytes:
        return page(self._document).encode()

    async def openapi(self, call: Call) -> Response:
        return Response(self._json, 200, content_type=JSON)

    async def docs(self, call: Call) -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(self._page, 200, headers, content_type="text/html; charset=utf-8")
