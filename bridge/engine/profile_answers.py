"""Answers questions about people and presence; `answers` has these functions in its table."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bridge.domain.profiles import (
    FindPicture,
    FindPrivacy,
    FollowPresence,
    Look,
    Picture,
    SetAbout,
    SetBlocked,
    SetChatState,
    SetName,
    SetPresence,
    SetPrivacy,
    Shown,
)
from bridge.domain.questions import Question
from bridge.engine import jids
from bridge.engine.errors import EngineError, NameMissing
from bridge.engine.session import Session
from bridge.protos import neonize_pb

_WITHOUT_PICTURE = ("does not have a profile picture", "hidden their profile picture", "item-not-found")
_WITHOUT_NAME = "without PushName"
_SETTINGS = {
    "last_seen": ("LastSeen", "last"),
    "online": ("Online", "online"),
    "profile": ("Profile", "profile"),
    "about": ("Status", "status"),
    "read_receipts": ("ReadReceipts", "readreceipts"),
    "groups": ("GroupAdd", "groupadd"),
    "calls": ("CallAdd", "calladd"),
}
"""Our names, the protobuf's, WhatsApp's."""
_COMPOSING, _PAUSED = 0, 1
_TEXT, _AUDIO = 0, 1


async def _look(session: Session, question: Look, timeout_s: float) -> Shown | None:
    asked = neonize_pb.JIDArray(JIDS=[neonize_pb.JID.FromString(jids.parse(question.jid))])
    reply = neonize_pb.GetUserInfoReturnFunction.FromString(
        await session.call("GetUserInfo", asked.SerializeToString(), timeout_s=timeout_s)
    )
    _check(reply.Error)
    for found in reply.UsersInfo:
        info = found.UserInfo
        return Shown(jids.text(found.JID), info.Status or None, info.PictureID or None, len(info.Devices))
    return None


async def _find_picture(session: Session, question: FindPicture, timeout_s: float) -> Picture | None:
    wanted = neonize_pb.GetProfilePictureParams(Preview=question.preview, ExistingID="", IsCommunity=False)
    reply = neonize_pb.GetProfilePictureReturnFunction.FromString(
        await session.call(
            "GetProfilePicture", jids.parse(question.jid), wanted.SerializeToString(), timeout_s=timeout_s
        )
    )
    if any(text in reply.Error for text in _WITHOUT_PICTURE):
        return None
    _check(reply.Error)
    return Picture(reply.Picture.ID, reply.Picture.URL) if reply.HasField("Picture") else None


async def _set_blocked(session: Session, question: SetBlocked, timeout_s: float) -> bool:
    action = "block" if question.blocked else "unblock"
    reply = neonize_pb.GetBlocklistReturnFunction.FromString(
        await session.call("UpdateBlocklist", jids.parse(question.jid), action, timeout_s=timeout_s)
    )
    _check(reply.Error)
    return question.blocked


async def _find_privacy(session: Session, _: FindPrivacy, timeout_s: float) -> Mapping[str, str]:
    settings = neonize_pb.PrivacySettings.FromString(await session.call("GetPrivacySettings", timeout_s=timeout_s))
    names = neonize_pb.PrivacySettings.PrivacySetting.Name
    return {name: names(getattr(settings, field)).lower() for name, (field, _) in _SETTINGS.items()}


async def _set_privacy(session: Session, question: SetPrivacy, timeout_s: float) -> None:
    reply = neonize_pb.SetPrivacySettingReturnFunction.FromString(
        await session.call("SetPrivacySetting", _SETTINGS[question.name][1], question.value, timeout_s=timeout_s)
    )
    _check(reply.Error)


async def _set_name(session: Session, question: SetName, timeout_s: float) -> None:
    await _tell(session, "SetPushName", question.name, timeout_s=timeout_s)


async def _set_about(session: Session, question: SetAbout, timeout_s: float) -> None:
    await _tell(session, "SetStatusMessage", question.about, timeout_s=timeout_s)


async def _set_presence(session: Session, question: SetPresence, timeout_s: float) -> None:
    state = "available" if question.available else "unavailable"
    error = (await session.call("SendPresence", state, timeout_s=timeout_s)).decode(errors="replace")
    if _WITHOUT_NAME in error:
        raise NameMissing
    _check(error)


async def _follow_presence(session: Session, question: FollowPresence, timeout_s: float) -> None:
    await _tell(session, "SubscribePresence", jids.parse(question.jid), timeout_s=timeout_s)


async def _set_chat_state(session: Session, question: SetChatState, timeout_s: float) -> None:
    state = _PAUSED if question.state == "paused" else _COMPOSING
    media = _AUDIO if question.state == "recording" else _TEXT
    await _tell(session, "SendChatPresence", jids.parse(question.chat), state, media, timeout_s=timeout_s)


async def _tell(session: Session, method: str, *arguments: bytes | str | int, timeout_s: float) -> None:
    """Call a function that returns nothing but the text of an error."""
    _check((await session.call(method, *arguments, timeout_s=timeout_s)).decode(errors="replace"))


def _check(error: str) -> None:
    if error:
        raise EngineError(error)


PROFILE_ANSWERS: Mapping[type[Question[Any]], Callable[[Session, Any, float], Awaitable[object]]] = {
    Look: _look,
    FindPicture: _find_picture,
    SetBlocked: _set_blocked,
    FindPrivacy: _find_privacy,
    SetPrivacy: _set_privacy,
    SetName: _set_name,
    SetAbout: _set_about,
    SetPresence: _set_presence,
    FollowPresence: _follow_presence,
    SetChatState: _set_chat_state,
}
