"""Pairing by code: waits until a client may ask WhatsApp for one, and asks."""

from datetime import UTC, datetime

import trio

from bridge.domain.session import CLOSED
from bridge.domain.signals import PairCodeIssued
from bridge.errors import BridgeError
from bridge.instances.actor import InstanceActor
from bridge.instances.messages import Told
from bridge.instances.qr import PairCode

READY_S = 30.0
"""How long the connection may take: with the first QR code WhatsApp is ready to give another kind."""
SHOW_S = 5.0


class NoPairCode(BridgeError):
    """WhatsApp could not be asked for a pairing code: try again."""

    code, status, retryable = "no_pair_code", 503, True


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
