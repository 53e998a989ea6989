"""The HTTP API by which people and tests act as the phones, break things, and ask the oracle.

Routes are tables, one a part of it. Bodies and answers are JSON, errors included:
`{"error": {"code": "unknown_phone", "message": "..."}}`. An answer is sent when what it tells is committed.
"""

from functools import cache, partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from bridge.sandbox import (
    account_calls,
    fault_calls,
    group_calls,
    load_calls,
    message_calls,
    newsletter_calls,
    oracle_calls,
    phone_calls,
    shapes,
)
from bridge.sandbox.calls import Route
from bridge.sandbox.http import Request, Response, Taker, json_response, problem
from bridge.sandbox.openapi import describe
from bridge.sandbox.world import World

_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page is one file, calls its own origin, and loads nothing."""


class Control:
    """The handler of all requests."""

    def __init__(self, world: World) -> None:
        self._world = world

    def takes(self, head: Request) -> Taker | None:
        """Return what reads the body of a large upload piece by piece, None for all other requests."""
        for route in ROUTES:
            if route.takes_file and route.method == head.method and route.pattern.fullmatch(head.path):
                return partial(route.handler, self._world)
        return None

    async def __call__(self, request: Request) -> Response:
        """Answer a request; raise a BridgeError for one that cannot be served."""
        if not _is_ours(request):
            return problem(403, "foreign_origin", "Pages of other sites may not act here.")
        allowed = []
        for route in ROUTES:
            match = route.pattern.fullmatch(request.path)
            if match is None:
                continue
            if route.method == request.method:
                response = await route.handler(self._world, request, *match.groups())
                await self._world.state.settled()
                return response
            allowed.append(route.method)
        if allowed:
            return problem(405, "method_not_allowed", f"{request.path} takes {', '.join(allowed)}.")
        return problem(404, "not_found", f"There is no {request.path}.")


def _is_ours(request: Request) -> bool:
    """Say whether a request comes from a program or from our own page, and not from a page of somebody else's."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def health(world: World, request: Request) -> Response:
    """Say how the sandbox is: `ok`, or `down` while it pretends to be."""
    counts = {"phones": len(world.accounts), "connections": len(world.connections)}
    counts |= {"online": world.connections.online(), "messages": world.oracle.count()}
    return json_response(200, {"status": "down" if world.faults.down else "ok", **counts})


async def trust(world: World, request: Request) -> Response:
    """Tell a bridge elsewhere what it has to trust: the clients' proxy, the root key in hex, the certificate."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or "127.0.0.1"
    proxy = f"http://{f'[{host}]' if ':' in host else host}:{world.trust.proxy_port}"
    ca = await trio.Path(world.trust.ca_file).read_text()
    return json_response(200, {"proxy": proxy, "root_key": world.trust.root_key, "ca": ca})


async def page(world: World, request: Request) -> Response:
    """Show the phones as a page for people."""
    return Response(200, _page(), "text/html; charset=utf-8", headers=(("content-security-policy", _POLICY),))


@cache
def _page() -> bytes:
    return Path(__file__).with_name("page.html").read_bytes()


async def openapi(world: World, request: Request) -> Response:
    """Describe this API as OpenAPI 3.1."""
    return json_response(200, _document())


@cache
def _document() -> dict[str, object]:
    return describe(ROUTES)


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/", page),
    Route("GET", "/health", health, answer=shapes.Health),
    Route("GET", "/openapi.json", openapi),
    Route("GET", "/trust", trust, answer=shapes.TrustInfo),
    *phone_calls.ROUTES,
    *message_calls.ROUTES,
    *group_calls.ROUTES,
    *account_calls.ROUTES,
    *newsletter_calls.ROUTES,
    *fault_calls.ROUTES,
    *oracle_calls.ROUTES,
    *load_calls.ROUTES,
)
"""All calls, each part's own table behind the other."""
