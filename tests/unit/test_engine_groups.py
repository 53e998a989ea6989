"""What the engine's answers about groups mean: members under all their addresses, and every error's kind."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from bridge.domain.groups import (
    ChangeMembers,
    Created,
    CreateGroup,
    FindGroup,
    FindInvite,
    Group,
    JoinGroup,
    Member,
    Refused,
    SetDescription,
    SetSubject,
    SetTimer,
)
from bridge.domain.questions import Question
from bridge.engine.answers import answer
from bridge.engine.errors import (
    EngineError,
    GroupRefused,
    InviteInvalid,
    NotGroupAdmin,
    NotInGroup,
    OutcomeUnknown,
    UnknownGroup,
)
from bridge.engine.group_answers import GROUP_ANSWERS, group_of
from bridge.engine.host.library import METHODS
from bridge.engine.session import Session
from bridge.protos import neonize_pb
from tests.support.engine_reports import GROUP, LID, PHONE, jid

FORBIDDEN = "info query returned status 403: forbidden"
NOT_IN = "you're not participating in that group"


class Line:
    """A session that gives these answers, by the library's functions, and remembers what was called."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.called: list[tuple[object, ...]] = []

    async def call(self, method: str, *arguments: object, timeout_s: float) -> bytes:
        assert method in METHODS
        self.called.append((method, *arguments))
        return self.answers[method]


async def ask(line: Line, question: Question[Any]) -> Any:
    return await answer(cast("Session", line), question, 1.0)


def participant(named: str, *others: str, **fields: Any) -> Any:
    """Return somebody as neonize lists them: it gives empty JIDs for those that WhatsApp did not tell."""
    known = {other.rpartition("@")[2]: jid(other) for other in others}
    empty = jid("")
    return neonize_pb.GroupParticipant(
        JID=jid(named),
        LID=known.get("lid", empty),
        PhoneNumber=known.get("s.whatsapp.net", empty),
        IsAdmin=fields.pop("admin", False),
        IsSuperAdmin=fields.pop("superadmin", False),
        DisplayName="",
        Error=fields.pop("error", 0),
    )


def info(*participants: Any, timer: int | None = None, topic: str = "") -> Any:
    made = neonize_pb.GroupInfo(OwnerJID=jid(LID), JID=jid(GROUP), OwnerPN=jid(PHONE), GroupCreated=0.0)
    made.GroupName.Name, made.GroupTopic.Topic = "Team", topic
    made.GroupLocked.isLocked, made.GroupAnnounce.IsAnnounce = True, False
    made.GroupEphemeral.IsEphemeral, made.GroupEphemeral.DisappearingTimer = timer is not None, timer or 0
    made.Participants.extend(participants)
    return made


def failed(kind: Callable[..., Any], error: str) -> bytes:
    return bytes(kind(Error=error).SerializePartialToString())


def test_a_group_is_read_with_members_under_all_addresses_and_without_those_not_let_in() -> None:
    read = group_of(
        info(
            participant(LID, LID, PHONE, superadmin=True, admin=True),
            participant("7@lid", "7@lid", admin=True),
            participant("49155@s.whatsapp.net", "8@lid"),
            participant("9@lid", error=403),
            timer=86400,
        )
    )
    assert read == Group(
        GROUP, "Team", None, PHONE, False, True, 86400,
        (
            Member(LID, PHONE, LID, "superadmin"),
            Member("7@lid", None, "7@lid", "admin"),
            Member("49155@s.whatsapp.net", "49155@s.whatsapp.net", "8@lid", "member"),
        ),
    )  # fmt: skip
    assert group_of(info(topic="about")).description == "about"
    assert group_of(info()).expiration_s == 0


async def test_who_was_not_taken_into_a_new_group_is_told() -> None:
    reply = neonize_pb.GetGroupInfoReturnFunction(GroupInfo=info(participant("9@lid", "9@lid", error=403)))
    line = Line(CreateGroup=reply.SerializePartialToString())
    made = await ask(line, CreateGroup("Team", (PHONE, LID)))
    assert isinstance(made, Created)
    assert made.refused == (Refused(Member("9@lid", None, "9@lid"), 403),)
    asked = neonize_pb.ReqCreateGroup.FromString(line.called[0][1])
    assert (asked.name, [one.User for one in asked.Participants]) == (
        "Team",
        [PHONE.partition("@")[0], LID.partition("@")[0]],
    )


async def test_the_timer_is_told_in_nanoseconds() -> None:
    line = Line(SetDisappearingTimer=b"")
    await ask(line, SetTimer(GROUP, 86400))
    assert line.called[0][2:] == (86400 * 10**9, 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("that group does not exist", UnknownGroup),
        (NOT_IN, NotInGroup),
        (f"failed to get old group info to update topic: {NOT_IN}", NotInGroup),
        ("you don't have the permission to get the group's invite link", NotGroupAdmin),
        ("that group invite link has been revoked", InviteInvalid),
        ("that group invite link is not valid", InviteInvalid),
        ("invalid disappearing timer provided", GroupRefused),
        ("info query returned status 404: item-not-found", UnknownGroup),
        ("info query returned status 406: not-acceptable", GroupRefused),
        ("info query returned status 429: rate-overlimit", EngineError),
        ("info query returned status 500: internal-server-error", EngineError),
        ("websocket not connected", EngineError),
        ("info query timed out", OutcomeUnknown),
        ("something new", OutcomeUnknown),
    ],
)
async def test_a_change_that_failed_says_how(error: str, kind: type[EngineError]) -> None:
    line = Line(SetGroupTopic=error.encode())
    with pytest.raises(EngineError) as raised:
        await ask(line, SetDescription(GROUP, "about"))
    assert type(raised.value) is kind


async def test_an_answer_that_did_not_come_leaves_nothing_open_when_nothing_was_to_change() -> None:
    line = Line(
        GetGroupInfo=failed(neonize_pb.GetGroupInfoReturnFunction, "info query timed out"),
        GetGroupInviteLink=failed(neonize_pb.GetGroupInviteLinkReturnFunction, "info query timed out"),
    )
    for question in (FindGroup(GROUP), FindInvite(GROUP)):
        with pytest.raises(EngineError) as raised:
            await ask(line, question)
        assert type(raised.value) is EngineError
    with pytest.raises(OutcomeUnknown):
        await ask(line, FindInvite(GROUP, reset=True))


@pytest.mark.parametrize("status", [401, 403])
async def test_who_may_not_is_told_whether_for_being_no_admin_or_no_member(status: int) -> None:
    error = f"info query returned status {status}: no"
    there = neonize_pb.GetGroupInfoReturnFunction(GroupInfo=info()).SerializePartialToString()
    away = failed(neonize_pb.GetGroupInfoReturnFunction, NOT_IN)
    members = failed(neonize_pb.UpdateGroupParticipantsReturnFunction, error)
    for shown, kind in ((there, NotGroupAdmin), (away, NotInGroup)):
        line = Line(SetGroupName=error.encode(), UpdateGroupParticipants=members, GetGroupInfo=shown)
        for question in (SetSubject(GROUP, "x"), ChangeMembers(GROUP, "remove", (LID,))):
            with pytest.raises(EngineError) as raised:
                await ask(line, question)
            assert type(raised.value) is kind


async def test_a_refusal_to_join_or_to_make_a_group_looks_at_no_group() -> None:
    line = Line(
        JoinGroupWithLink=failed(neonize_pb.JoinGroupWithLinkReturnFunction, FORBIDDEN),
        CreateGroup=failed(neonize_pb.GetGroupInfoReturnFunction, FORBIDDEN),
    )
    for question in (JoinGroup("code"), CreateGroup("Team", (LID,))):
        with pytest.raises(GroupRefused, match="403"):
            await ask(line, question)


def test_every_question_about_groups_has_its_answer() -> None:
    import bridge.domain.groups as groups

    asked = {one for one in vars(groups).values() if isinstance(one, type) and issubclass(one, Question)}
    assert asked - {Question} == GROUP_ANSWERS.keys()
