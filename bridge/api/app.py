"""Puts the API together: routes, the key at the door, errors as JSON, and the ring around it all."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial

import structlog
from quart import has_request_context, request
from quart.wrappers import Response
from quart_trio import QuartTrio

from bridge.api.address import networks
from bridge.api.audit import Auditor, Recorded
from bridge.api.auth import Gate
from bridge.api.call import Call, Route
from bridge.api.context import ApiContext
from bridge.api.edge import LOGGED, REQUEST_ID, ROUTE, Edge
from bridge.api.framework import Framework
from bridge.api.once import answer_once
from bridge.api.problems import JSON, Answer, for_error
from bridge.api.routes import (
    audit,
    deliveries,
    docs,
    events,
    groups,
    health,
    hook,
    instances,
    keys,
    media,
    messages,
    outbox,
    pairing,
    people,
    phones,
    ui,
    webhooks,
)
from bridge.api.sockets import Sockets
from bridge.api.upgrade import UPGRADES

log = structlog.get_logger()


def all_routes(context: ApiContext, gate: Gate) -> list[Route]:
    """Return every call that there is: this table, and no other, says what each asks for."""
    routes: list[Route] = [
        *keys.routes(context, gate),
        *audit.routes(context),
        *health.routes(context, gate),
        *instances.routes(context),
        *pairing.routes(context),
        *people.routes(context),
        *groups.routes(context),
        *ui.routes(),
        *messages.routes(context),
        *webhooks.routes(context),
        *deliveries.routes(context),
        *events.routes(context),
        *media.routes(context, gate),
        *outbox.routes(context),
        *phones.routes(context),
        *hook.routes(context),
    ]
    return [*routes, *docs.routes(lambda: all_routes(context, gate))]


def create_app(context: ApiContext) -> QuartTrio:
    """Return the API as an ASGI application; nothing runs until a server calls it."""
    gate = Gate(context.store.keys, context.limits, on=context.auth_on, trusted=networks(context.trusted_proxies))
    routes = all_routes(context, gate)
    app = Framework("bridge", static_folder=None)
    app.config.update(
        BODY_TIMEOUT=context.limits.body_s,
        MAX_CONTENT_LENGTH=None,  # the edge counts, announced or not
        PROVIDE_AUTOMATIC_OPTIONS=False,
        RESPONSE_TIMEOUT=None,  # a peer that does not read is the server's business
    )
    app.url_map.merge_slashes = False  # a redirect is an answer that is not JSON
    app.url_map.strict_slashes = True
    app.register_error_handler(Exception, _on_error)
    auditor = Auditor(context.store.audit, Recorded(context.audit))
    _add(app, routes, context, gate, auditor)
    public = frozenset(route.path for route in routes if route.access is None)
    large = {f"{route.method} {route.path}": (route.body_bytes, route.streams) for route in routes if route.body_bytes}
    (upgrades,) = [route for route in routes if route.path == UPGRADES]
    sockets = Sockets(app.asgi_app, context, gate, auditor, upgrades)
    app.asgi_app = Edge(sockets, context.limits, public, large)
    return app


def _add(app: QuartTrio, routes: Iterable[Route], context: ApiContext, gate: Gate, auditor: Auditor) -> None:
    for route in routes:
        app.add_url_rule(
            route.path,
            endpoint=f"{route.method} {route.path}",
            view_func=_view(route, context, gate, auditor),
            methods=[route.method],
        )


def _view(route: Route, context: ApiContext, gate: Gate, auditor: Auditor) -> Callable[..., Awaitable[Response]]:
    async def view(**path: str) -> Response:
        scope = request.scope
        scope[ROUTE] = route
        headers = dict(scope["headers"])
        call = Call(context, request._get_current_object(), scope[REQUEST_ID], headers, path)
        if route.access is None:
            return await route.handler(call)
        caller = await gate.identify(scope["client"][0], scope["headers"])
        if caller.key is not None:
            structlog.contextvars.bind_contextvars(key_id=caller.key.id)
            scope[LOGGED]["key_id"] = caller.key.id
        call = replace(call, caller=caller)
        return await auditor.watch(call, route, partial(_admit, route, call, gate))

    return view


async def _admit(route: Route, call: Call, gate: Gate) -> Response:
    assert route.access is not None
    gate.allow(call.caller, route.access, route.reached)
    if "key" in call.path and call.only is not None:
        call.instance()  # before the handler does anything
    return await answer_once(call, route, route.handler)


async def _on_error(error: Exception) -> Response:
    request_id = request.scope[REQUEST_ID] if has_request_context() else ""
    return _response(for_error(error, request_id))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers), content_type=JSON)
