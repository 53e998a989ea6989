"""Pairing by code: waits until a client may ask WhatsApp for one, and asks."""

from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from bridge.domain.session import CLOSED
from bridge.domain.signals import PairCodeIssued
from bridge.errors import BridgeError
from bridge.instances.actor import InstanceActor
from bridge.instances.messages import Told
from bridge.instances.qr import PairCode, QrCode

READY_S = 30.0
"""How long the connection may take: with the first QR code WhatsApp is ready to give another kind."""
SHOW_S = 5.0


class NoPairCode(BridgeError):
    """WhatsApp could not be asked for a pairing code: try again."""

    code, status, retryable = "no_pair_code", 503, True


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pairing is: what can be scanned or typed now, and whether it is over."""

    state: str
    reason: str | None
    qr: QrCode | None
    code: PairCode | None
    paired: bool
    over: bool
    """Whether nobody can pair the instance at the moment: it is paired, or has stopped to try."""


class Watch:
    """Follows the pairing of one instance."""

    def __init__(self, actor: InstanceActor) -> None:
        self._actor = actor

    def look(self) -> Progress:
        """Return how far it is now."""
        session, board = self._actor.session, self._actor.qr
        over = session.paired or session.state in CLOSED
        return Progress(session.state.value, session.reason, board.current, board.pair_code, session.paired, over)

    async def next(self, seen: Progress, within_s: float) -> Progress:
        """Return the next state of things that differs from `seen`, or how it is after `within_s`."""
        with trio.move_on_after(within_s):
            while (now := self.look()) == seen:
                await self._actor.changed()
            return now
        return self.look()


async def ask_for_code(actor: InstanceActor, phone: str, *, notify: bool) -> PairCode:
    """Return a code for the owner of `phone` (digits), once the instance that was told to connect is ready for it.

    Raises `NoPairCode` when it does not become so in time, and `EngineError` when WhatsApp refuses.
    """
    with trio.move_on_after(READY_S):
        while actor.qr.current is None and actor.session.state not in CLOSED:
            await actor.changed()
    engine, ends_at = actor.pairing_engine, actor.qr.ends_at
    if engine is None or ends_at is None:
        raise NoPairCode(state=actor.session.state.value, reason=actor.session.reason)
    code = await engine.request_pair_code(phone, notify=notify)
    await actor.ask(Told(PairCodeIssued(code, ends_at)), SHOW_S)
    return PairCode(code, datetime.fromtimestamp(ends_at, UTC))
