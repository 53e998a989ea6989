"""A POST that is repeated with its Idempotency-Key is answered as the first time, and not done again.

This holds for the calls that have no memory of their own; what makes something (a send, an instance, a key, an
endpoint, a replay) has one that lasts as long as what it made. Only successes are remembered: after an error the
repeat is tried anew.
"""

from collections.abc import Awaitable, Callable

import structlog
from quart.wrappers import Response

from bridge.api.body import decode, read_raw
from bridge.api.call import Call, Route
from bridge.api.idempotency import idempotency_key, request_hash
from bridge.api.problems import JSON
from bridge.errors import BridgeError
from bridge.store.replies import Asked, Reply

log = structlog.get_logger()

KEPT_WITHIN_S = 5.0
"""How long it may take to keep an answer when the caller has gone."""


async def answer_once(call: Call, route: Route, handler: Callable[[Call], Awaitable[Response]]) -> Response:
    """Return what `handler` answers, or what it answered to the same call before.

    Raises `InvalidField` for a bad key, `IdempotencyMismatch`, `InProgress`, and what the handler raises.
    """
    key = idempotency_key(call.headers) if route.method == "POST" and route.keeps_answer else None
    if key is None:
        return await handler(call)
    raw = await read_raw(call.request, call.headers, call.context.limits.body_bytes, keep=True)
    told = call.headers.get(b"x-instance-key", b"").decode("latin-1")
    meaning = (call.request.path, told, decode(raw, object) if raw.strip() else {})
    caller = call.caller.key.id if call.caller.key is not None else ""
    asked = Asked(caller, f"{route.method} {route.path}", key, request_hash("call", meaning))
    replies = call.context.store.replies
    begun = await replies.begin(asked)
    if isinstance(begun, Reply):
        return Response(begun.body, begun.status, content_type=JSON)
    reply: Reply | None = None
    try:
        response = await handler(call)
        if response.status_code < 300:
            reply = Reply(response.status_code, await response.get_data(as_text=False))
        return response
    finally:
        with call.shielded(KEPT_WITHIN_S):
            try:
                await (  # noqa: ASYNC102 -- the scope is shielded, and has a deadline
                    replies.forget(asked, begun) if reply is None else replies.finish(asked, begun, reply)
                )
            except BridgeError as error:  # the key can be used again once the call counts as cut off
                log.warning("reply.not_kept", code=error.code, route=asked.route)
