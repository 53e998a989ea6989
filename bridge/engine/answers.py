"""Answers questions over an open session: one function per question, found in one table."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from bridge.domain.questions import OnWhatsApp, PhoneFound, Ping, Question
from bridge.engine import jids
from bridge.engine.errors import EngineError
from bridge.engine.profile_answers import PROFILE_ANSWERS
from bridge.engine.session import Session
from bridge.protos import neonize_pb

T = TypeVar("T")


async def answer(session: Session, question: Question[T], timeout_s: float) -> T:
    """Return the answer to `question`; raise `EngineError` when there is none within `timeout_s`."""
    return cast("T", await ANSWERS[type(question)](session, question, timeout_s))


async def _on_whatsapp(session: Session, question: OnWhatsApp, timeout_s: float) -> tuple[PhoneFound, ...]:
    if not question.phones:
        return ()
    numbers = " ".join(f"+{phone.lstrip('+')}" for phone in question.phones)
    reply = neonize_pb.IsOnWhatsAppReturnFunction.FromString(
        await session.call("IsOnWhatsApp", numbers, timeout_s=timeout_s)
    )
    if reply.Error:
        raise EngineError(reply.Error)
    return tuple(
        PhoneFound(
            phone=found.Query.lstrip("+"),
            exists=found.IsIn,
            jid=(jids.text(found.JID) or None) if found.IsIn else None,
        )
        for found in reply.IsOnWhatsAppResponse
    )


async def _ping(session: Session, _: Ping, timeout_s: float) -> None:
    """Ask for the block list: whatsmeow keeps no copy of it. A refusal by WhatsApp is an answer too."""
    reply = neonize_pb.GetBlocklistReturnFunction.FromString(await session.call("GetBlocklist", timeout_s=timeout_s))
    if "websocket" in reply.Error:  # not connected, or no longer
        raise EngineError(reply.Error)


ANSWERS: Mapping[type[Question[Any]], Callable[[Session, Any, float], Awaitable[object]]] = {
    OnWhatsApp: _on_whatsapp,
    Ping: _ping,
    **PROFILE_ANSWERS,
}
"""By the type of the question. What is called here must be in `bridge.engine.host.library.METHODS`."""
