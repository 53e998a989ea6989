"""Quart-Trio without what this API has none of: sessions, signals, hooks, and for most requests a second task.

A request that came in one piece (`bridge.api.whole`) has its body from the start, and a cancel scope that its
connection cancels when the peer goes away: nobody has to wait for messages meanwhile. All others are Quart-Trio's own.
"""

from typing import Any

import trio
from quart.ctx import AppContext
from quart.sessions import NullSession
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers

from bridge.api.whole import WHOLE, Whole

_NO_SESSION = NullSession()


class _WholeBody:
    """A body that is there, in the place of a queue that fills."""

    def __init__(self, *_: object) -> None:
        self.data = b""

    def clear(self) -> None:
        self.data = b""

    def __aiter__(self) -> "_WholeBody":
        return self

    async def __anext__(self) -> bytes:
        data, self.data = self.data, b""
        if not data:
            raise StopAsyncIteration
        return data


class _WholeRequest(TrioRequest):  # type: ignore[misc]  # quart_trio is not followed by mypy
    body_class = _WholeBody

    async def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        data: bytes = self.body.data
        if not cache:
            self.body.clear()
        return data.decode() if as_text else data


class _Connection(TrioASGIHTTPConnection):  # type: ignore[misc]  # quart_trio is not followed by mypy
    async def __call__(self, receive: Any, send: Any) -> None:
        whole: Whole | None = self.scope.get(WHOLE)
        if whole is None:
            await super().__call__(receive, send)
            return
        request = self._whole_request(whole)
        with trio.CancelScope() as scope:
            whole.watch(scope)
            response = await self.app.handle_request(request)
            await self._send_response(send, response)

    def _whole_request(self, whole: Whole) -> Request:
        scope: Any = self.scope
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        headers["Remote-Addr"] = scope["client"][0]
        request = _WholeRequest(
            scope["method"],
            scope["scheme"],
            scope["path"],
            scope["query_string"],
            headers,
            scope["root_path"],
            scope["http_version"],
            scope,
            send_push_promise=_no_push,
        )
        request.body.data = whole.body
        return request


async def _no_push(path: str, headers: Headers) -> None:
    """Push nothing: that is HTTP/2."""


class Framework(QuartTrio):  # type: ignore[misc]  # quart_trio is not followed by mypy
    """The application's framework; a request goes straight to its view and to the error handlers."""

    asgi_http_class = _Connection

    def request_context(self, request: Request) -> AppContext:
        return AppContext(self, request=request, session=_NO_SESSION)

    async def full_dispatch_request(self, ctx: AppContext) -> ResponseTypes:
        try:
            result: Any = await self.dispatch_request(ctx)
        except (Exception, BaseExceptionGroup) as error:
            result = await self.handle_user_exception(ctx, error)
        response: ResponseTypes = await self.make_response(result)
        return response
