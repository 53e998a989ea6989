"""Pairing an instance with a phone: its QR code as an image, text or JSON (reading does not consume it), or a code."""

import base64
from dataclasses import dataclass, field

from quart.wrappers import Response

from bridge.api import schemas
from bridge.api.auth import Access
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext
from bridge.api.directory import QrCode
from bridge.api.pairing_stream import follow
from bridge.api.problems import InvalidField, InvalidRecipientField, NothingYet, NotSupported, UnknownKey
from bridge.api.qr import DEFAULT_PX, Drawing, QrDrawer
from bridge.domain.identity import InvalidRecipient, parse_recipient
from bridge.errors import BridgeError

MAX_WAIT_S = 30
PHONE_DIGITS = 7
"""At least: the engine refuses shorter numbers."""
PASSKEY = "The engine does not hand on WhatsApp's passkey requests yet; pair with a QR code or a pairing code."
_TYPES = {"png": "image/png", "svg": "image/svg+xml", "txt": "text/plain; charset=utf-8", "json": "application/json"}


def routes(context: ApiContext) -> tuple[Route, ...]:
    calls = PairingCalls(context)
    return (
        Route("GET", "/instance/<key>/qr", calls.qr, Access.MANAGE),
        Route("GET", "/instance/<key>/qr/stream", calls.stream, Access.MANAGE),
        Route("POST", "/instance/<key>/pair-code", calls.pair_code, Access.MANAGE, keeps_answer=False),
        Route("GET", "/instance/<key>/passkey", calls.passkey, Access.MANAGE),
        Route("POST", "/instance/<key>/passkey", calls.passkey, Access.MANAGE),
    )


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
        code = None
        try:
            with call.caller.tenure.held() as held:
                code = await self.context.directory.qr(key, wait_s)
        except BridgeError as error:
            if error.code != "already_connected":
                raise
            return answer(schemas.Paired("connected", "The instance is connected; there is nothing to scan.", key))
        if held.cancelled_caught:
            raise UnknownKey
        if code is None:
            raise NothingYet
        return await self._show(code, form, size_px)

    async def stream(self, call: Call) -> Response:
        watch = self.context.directory.watch_pairing(call.instance())
        response = Response(
            follow(watch, self.context.stopping, call.caller.tenure),
            200,
            {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            content_type="text/event-stream",
        )
        response.timeout = None
        return response

    async def pair_code(self, call: Call) -> Response:
        body = await call.json(schemas.AskPairCode)
        key = call.instance()
        phone = _phone(body.phone)
        with call.promised():
            code = await self.context.directory.pair_code(key, phone, notify=body.show_notification)
        text = "On the phone, under linked devices, choose to link with a phone number and type the code."
        shown = answer(schemas.PairingCode("awaiting_pairing", key, text, code.code, code.expires_at))
        shown.headers["Cache-Control"] = "no-store"
        return shown

    async def passkey(self, call: Call) -> Response:
        call.instance()
        raise NotSupported(PASSKEY)

    async def _show(self, code: QrCode, form: str, size_px: int) -> Response:
        drawing = await self.drawer.draw(code.code)
        if form == "json":
            png = base64.b64encode(drawing.png(size_px)).decode()
            shown = answer(schemas.Qr(code.code, png, code.attempt, code.expires_at))
        else:
            shown = Response(_render(drawing, form, size_px), 200, content_type=_TYPES[form])
        shown.headers["Cache-Control"] = "no-store"
        return shown


def _phone(text: str) -> str:
    """Return the digits of the number that is to be linked; raise `InvalidRecipientField`."""
    try:
        found = parse_recipient(text)
    except InvalidRecipient as error:
        raise InvalidRecipientField("phone", str(error)) from None
    if found.phone is None or len(found.phone) < PHONE_DIGITS:
        raise InvalidRecipientField("phone", "must be the phone number that is to be linked, with its country code")
    return found.phone


def _render(drawing: Drawing, form: str, size_px: int) -> bytes:
    match form:
        case "svg":
            return drawing.svg()
        case "txt":
            return drawing.text().encode()
        case _:
            return drawing.png(size_px)
