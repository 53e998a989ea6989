"""Answers questions over an open session: one function per question, found in one table."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from bridge.domain.questions import LidOfPhone, MarkRead, OnWhatsApp, PhoneFound, PhoneOfLid, Ping, Question, RejectCall
from bridge.engine import jids
from bridge.engine.errors import EngineError
from bridge.engine.group_answers import GROUP_ANSWERS
from bridge.engine.people import LID_SERVER
from bridge.engine.profile_answers import PROFILE_ANSWERS
from bridge.engine.session import Session
from bridge.engine.wire import Argument
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
    return tuple([await _found(session, one, timeout_s) for one in reply.IsOnWhatsAppResponse])


async def _found(session: Session, one: "neonize_pb.IsOnWhatsAppResponse", timeout_s: float) -> PhoneFound:
    """Return one number's answer; WhatsApp may name the account by its LID alone."""
    phone, jid = one.Query.lstrip("+"), jids.text(one.JID) if one.IsIn and one.JID.User else None
    if jid is not None and one.JID.Server == LID_SERVER:
        jid = await _mapped(session, "GetPNFromLID", jid, timeout_s)
    name = one.VerifiedName.Details.verifiedName or None
    return PhoneFound(phone, one.IsIn, jid, name)


async def _mark_read(session: Session, question: MarkRead, timeout_s: float) -> None:
    chat, sender = jids.parse(question.chat), jids.parse(question.sender)
    ids = " ".join(question.message_ids)
    await _done(session, "MarkRead", ids, question.at, chat, sender, "read", timeout_s=timeout_s)


async def _reject_call(session: Session, question: RejectCall, timeout_s: float) -> None:
    await _done(session, "RejectCall", jids.parse(question.caller), question.call_id, timeout_s=timeout_s)


async def _done(session: Session, method: str, *arguments: Argument, timeout_s: float) -> None:
    """Call a function that returns nothing but, perhaps, an error's text."""
    error = (await session.call(method, *arguments, timeout_s=timeout_s)).decode(errors="replace")
    if error:
        raise EngineError(error)


async def _phone_of_lid(session: Session, question: PhoneOfLid, timeout_s: float) -> str | None:
    return await _mapped(session, "GetPNFromLID", question.lid, timeout_s)


async def _lid_of_phone(session: Session, question: LidOfPhone, timeout_s: float) -> str | None:
    return await _mapped(session, "GetLIDFromPN", question.jid, timeout_s)


async def _mapped(session: Session, method: str, jid: str, timeout_s: float) -> str | None:
    reply = neonize_pb.GetJIDFromStoreReturnFunction.FromString(
        await session.call(method, jids.parse(jid), timeout_s=timeout_s)
    )
    if reply.Error:
        raise EngineError(reply.Error)
    return jids.text(reply.Jid) if reply.Jid.User else None


async def _ping(session: Session, _: Ping, timeout_s: float) -> None:
    """Ask for the block list: whatsmeow keeps no copy of it. A refusal by WhatsApp is an answer too."""
    reply = neonize_pb.GetBlocklistReturnFunction.FromString(await session.call("GetBlocklist", timeout_s=timeout_s))
    if "websocket" in reply.Error:  # not connected, or no longer
        raise EngineError(reply.Error)


ANSWERS: Mapping[type[Question[Any]], Callable[[Session, Any, float], Awaitable[object]]] = {
    LidOfPhone: _lid_of_phone,
    MarkRead: _mark_read,
    OnWhatsApp: _on_whatsapp,
    Ping: _ping,
    **GROUP_ANSWERS,
    **PROFILE_ANSWERS,
    PhoneOfLid: _phone_of_lid,
    RejectCall: _reject_call,
}
"""By the type of the question. What is called here must be in `bridge.engine.host.library.METHODS`."""
