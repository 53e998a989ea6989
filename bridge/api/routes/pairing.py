"""The QR code of an instance, as an image, as text for a terminal, or as JSON. Reading it does not consume it."""

import base64
from dataclasses import dataclass, field

from quart.wrappers import Response

from bridge.api import schemas
from bridge.api.auth import Access
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext, QrCode
from bridge.api.problems import InvalidField, NothingYet
from bridge.api.qr import DEFAULT_PX, Drawing, QrDrawer
from bridge.errors import BridgeError

MAX_WAIT_S = 30
_TYPES = {"png": "image/png", "svg": "image/svg+xml", "txt": "text/plain; charset=utf-8", "json": "application/json"}


def routes(context: ApiContext) -> tuple[Route, ...]:
    return (Route("GET", "/instance/<key>/qr", PairingCalls(context).qr, Access.MANAGE),)


@dataclass(frozen=True, slots=True)
class PairingCalls:
    """The handlers. Whoever sees a code can take the number over, so that looking asks for the right to manage."""

    context: ApiContext
    drawer: QrDrawer = field(default_factory=QrDrawer)

    async def qr(self, call: Call) -> Response:
        key = call.instance()
        form = call.query("format") or "png"
        if form not in _TYPES:
            raise InvalidField("format", f"must be one of {', '.join(_TYPES)}")
        size_px = int(call.query_number("size", DEFAULT_PX, 64, 2048))
        wait_s = call.query_number("wait_s", MAX_WAIT_S, 0, MAX_WAIT_S)
        try:
            code = await self.context.directory.qr(key, wait_s)
        except BridgeError as error:
            if error.code != "already_connected":
                raise
            return answer(schemas.Paired("connected", "The instance is connected; there is nothing to scan.", key))
        if code is None:
            raise NothingYet
        return await self._show(code, form, size_px)

    async def _show(self, code: QrCode, form: str, size_px: int) -> Response:
        drawing = await self.drawer.draw(code.code)
        if form == "json":
            png = base64.b64encode(drawing.png(size_px)).decode()
            shown = answer(schemas.Qr(code.code, png, code.attempt, code.expires_at))
        else:
            shown = Response(_render(drawing, form, size_px), 200, content_type=_TYPES[form])
        shown.headers["Cache-Control"] = "no-store"
        return shown


def _render(drawing: Drawing, form: str, size_px: int) -> bytes:
    match form:
        case "svg":
            return drawing.svg()
        case "txt":
            return drawing.text().encode()
        case _:
            return drawing.png(size_px)
