"""Whether WhatsApp still hears an instance: its last sign of life, and a question when there was none for a while.

A connection can look well and be deaf: the socket is open, whatsmeow says connected, and nothing arrives. So whoever
holds the session notes every sign of life here, and after a silence WhatsApp is asked something small. No answer makes
the session stale; no answer to the next question either, and it is opened anew.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from bridge.domain.questions import Ping
from bridge.domain.signals import SelfCheckFailed, SelfCheckPassed, Signal
from bridge.engine.answers import answer
from bridge.engine.codes import DROPPABLE, DURABLE, Code
from bridge.engine.errors import EngineDown, EngineError, OutcomeUnknown
from bridge.engine.journal import Record
from bridge.engine.session import Session

log = structlog.get_logger()

ANSWER_S: Final = 15.0
"""How long WhatsApp may take to answer: its ordinary answers take less than one second."""
AGAIN_S: Final = 10.0
"""After a question without an answer the next one comes this soon."""
_FROM_WHATSAPP: Final = (DURABLE | DROPPABLE | {Code.CONNECTED, Code.KEEPALIVE_RESTORED}) - {Code.IGNORED}
"""What a record must be to come from WhatsApp, and not from the library about itself."""


class Pulse:
    """The signs of life of one instance."""

    def __init__(self, every_s: float) -> None:
        """Ask after `every_s` of silence; 0: never."""
        self._every_s = every_s
        self._began_at = trio.current_time()
        self._heard_at: float | None = None

    @property
    def age_s(self) -> float | None:
        """How long ago WhatsApp gave a sign of life; None when it has not yet."""
        return None if self._heard_at is None else trio.current_time() - self._heard_at

    def heard(self) -> None:
        """Note a sign of life."""
        self._heard_at = trio.current_time()

    def took(self, records: Sequence[Record]) -> None:
        """Note it when one of the records came from WhatsApp just now."""
        if any(record.code in _FROM_WHATSAPP and not record.replayed for record in records):
            self.heard()

    async def run(self, session: Callable[[], Session | None], tell: Callable[[Signal], None]) -> None:
        """Ask over the session that is open, after each silence, and say what came of it; until cancelled."""
        if not self._every_s:
            return
        while True:
            await trio.sleep(max(self._every_s - self._silence_s(), self._soon_s))
            if self._silence_s() < self._every_s:
                continue
            answered = await still_answers(session(), min(ANSWER_S, self._every_s))
            while answered is False:
                tell(SelfCheckFailed())
                await trio.sleep(self._soon_s)
                answered = await still_answers(session(), min(ANSWER_S, self._every_s))
            if answered:
                self.heard()
                tell(SelfCheckPassed())

    def _silence_s(self) -> float:
        return trio.current_time() - (self._began_at if self._heard_at is None else self._heard_at)

    @property
    def _soon_s(self) -> float:
        return min(AGAIN_S, self._every_s)


async def still_answers(session: Session | None, timeout_s: float) -> bool | None:
    """Say whether WhatsApp answers over a session; None when it cannot be asked: that says nothing about WhatsApp."""
    if session is None:
        return None
    try:
        await answer(session, Ping(), timeout_s)
    except EngineDown:
        return None
    except OutcomeUnknown:
        return False
    except EngineError as error:
        log.info("instance.self_check_not_made", instance=session.key, code=error.code)
        return None
    return True
