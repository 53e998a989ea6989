"""Probes and health: none of these asks for a key, and none says anything about a number's own trouble."""

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from quart.wrappers import Response

from bridge.api.auth import Access, Gate
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.health import Census, show_tree, version
from bridge.errors import BridgeError


def routes(context: ApiContext, gate: Gate) -> tuple[Route, ...]:
    calls = HealthCalls(context, gate)
    return (
        Route("GET", "/livez", calls.live, None),
        Route("GET", "/readyz", calls.ready, None),
        Route("GET", "/startupz", calls.started, None),
        Route("GET", "/health", calls.health, None),
        Route("GET", "/version", calls.version, None),
        *metrics_routes(context),
    )


def metrics_routes(context: ApiContext) -> tuple[Route, ...]:
    """Return /metrics as the settings want it."""

    async def metrics(call: Call) -> Response:
        return Response(await context.probes.metrics(), 200, content_type=CONTENT_TYPE_PLAIN_0_0_4)

    if context.metrics == "off":
        return ()
    return (Route("GET", "/metrics", metrics, None if context.metrics == "open" else Access.READ),)


class HealthCalls:
    """The handlers, as Kubernetes means them: livez fails when a restart would help, readyz when traffic should go
    elsewhere, startupz until the start is complete."""

    def __init__(self, context: ApiContext, gate: Gate) -> None:
        self._context = context
        self._gate = gate
        self._census = Census(context.store.instances)

    async def live(self, call: Call) -> Response:
        """That this runs shows that the event loop turns."""
        alive = self._context.probes.live()
        return _probe(alive, "alive", "dead")

    async def started(self, call: Call) -> Response:
        return _probe(self._context.probes.started(), "started", "starting")

    async def ready(self, call: Call) -> Response:
        ready, checks = self._context.probes.ready()
        body: dict[str, object] = {"status": "ready" if ready else "not_ready", "checks": dict(checks)}
        if "verbose" in call.request.args:
            scope = call.request.scope
            insider = await self._gate.known(scope["client"][0], scope["headers"])
            body["tree"] = show_tree(self._context.probes.tree(), in_full=insider)
        return answer(body, 200 if ready else 503)

    async def health(self, call: Call) -> Response:
        ready, checks = self._context.probes.ready()
        body: dict[str, object] = {"status": "ok" if ready else "degraded", "checks": dict(checks), **version()}
        try:
            body["instances"] = await self._census.counts()
        except BridgeError as error:
            body |= {"status": "degraded", "instances": None, "reason": error.code}
        return answer(body, 200 if body["status"] == "ok" else 503)

    async def version(self, call: Call) -> Response:
        return answer(version())


def _probe(good: bool, yes: str, no: str) -> Response:
    return answer({"status": yes if good else no}, 200 if good else 503)
