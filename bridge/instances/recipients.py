"""Whether a number is on WhatsApp, asked before a text to it is accepted: a wrong one is an error, not an event."""

from collections import OrderedDict

import structlog

from bridge.domain.questions import OnWhatsApp
from bridge.engine.answers import answer
from bridge.engine.errors import EngineError
from bridge.engine.session import Session as EngineSession
from bridge.errors import BridgeError

log = structlog.get_logger()

PHONE_SERVER = "@s.whatsapp.net"
REMEMBERED = 10_000
CHECK_S = 20.0


class UnknownRecipient(BridgeError):
    """WhatsApp does not know this number: check it, with its country code."""

    code, status = "unknown_recipient", 422


class Recipients:
    """Numbers that WhatsApp knew when an instance last asked. One that is known can be sent to without asking again."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()

    async def check(self, engine: EngineSession, to: str) -> None:
        """Raise `UnknownRecipient` for a number without WhatsApp; groups and LIDs are not asked about."""
        if not to.endswith(PHONE_SERVER):
            return
        if to in self._known:
            self._known.move_to_end(to)
            return
        phone = to.removesuffix(PHONE_SERVER)
        try:
            found = await answer(engine, OnWhatsApp((phone,)), CHECK_S)
        except EngineError as error:
            log.info("recipient.not_checked", code=error.code)  # the send will tell
            return
        if not any(one.exists for one in found):
            raise UnknownRecipient(phone=phone)
        self._known[to] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
