"""The calls about groups: what they read of a request, ask WhatsApp for, and answer."""

from dataclasses import replace

import pytest

from bridge.domain.groups import (
    ChangeMembers,
    Created,
    CreateGroup,
    FindGroup,
    FindGroups,
    FindInvite,
    FindRequests,
    Group,
    JoinGroup,
    JoinRequest,
    LeaveGroup,
    Member,
    Refused,
    SetAnnounce,
    SetDescription,
    SetLocked,
    SetSubject,
    SetTimer,
)
from bridge.domain.ids import InstanceKey
from bridge.domain.questions import OnWhatsApp, PhoneFound, PhoneOfLid
from bridge.engine.errors import NotInGroup
from bridge.instances.errors import NotConnected
from tests.support.api import Api, running_api

GROUP = "120363000000000001@g.us"
LINK = "https://chat.whatsapp.com/Jk3bT9xQw2LhV5nRy8Zc1A"
CODE = "Jk3bT9xQw2LhV5nRy8Zc1A"
OWN = Member("111000001@lid", "4915100000001@s.whatsapp.net", "111000001@lid", "superadmin")
ADA = Member("111000002@lid", "4915100000002@s.whatsapp.net", "111000002@lid")
HIDDEN = Member("111000003@lid", None, "111000003@lid", "admin")
FOUND = Group(GROUP, "Orders", None, OWN.jid, False, True, 86400, (OWN, ADA, HIDDEN))
BRAZIL = PhoneFound("5511987654321", True, "551187654321@s.whatsapp.net")
KNOWN = PhoneFound("4915100000002", True, ADA.jid)
NOBODY = PhoneFound("4915199999999", False, None)


async def online(api: Api) -> InstanceKey:
    key = InstanceKey((await api.client.post("/instance/create")).json()["instance_key"])
    own = {"jid": "4915100000001:7@s.whatsapp.net", "lid": "111000001:7@lid"}
    api.store.rows[key] = replace(api.store.rows[key], state="online", **own)
    api.directory.answers = {
        FindGroups: (FOUND,), FindGroup: FOUND, CreateGroup: Created(FOUND, ()), FindInvite: LINK, JoinGroup: GROUP,
        LeaveGroup: None, SetSubject: None, SetDescription: None, SetAnnounce: None, SetLocked: None, SetTimer: None,
        OnWhatsApp: (KNOWN, BRAZIL, NOBODY), ChangeMembers: (),
    }  # fmt: skip
    return key


def asked(api: Api) -> list[object]:
    return [question for _, question in api.directory.asked]


async def test_groups_are_listed_without_their_members() -> None:
    async with running_api() as api:
        shown = (await api.client.get(f"/group/{await online(api)}")).json()
    assert shown == {
        "groups": [
            {
                "group_id": GROUP, "subject": "Orders", "description": None, "owner": OWN.jid, "announce": False,
                "locked": True, "disappearing_s": 86400, "own_role": "superadmin", "size": 3,
            }
        ],
        "count": 1,
    }  # fmt: skip


async def test_a_group_has_its_members_under_all_addresses_that_are_known() -> None:
    async with running_api() as api:
        key = await online(api)
        shown = (await api.client.get(f"/group/{key}/{GROUP}")).json()
        bare = (await api.client.get(f"/group/{key}/{GROUP.partition('@')[0]}")).json()
    assert shown == bare
    assert shown["participants"][1:] == [
        {"jid": ADA.jid, "lid": ADA.lid, "phone": "4915100000002", "role": "member"},
        {"jid": HIDDEN.lid, "lid": HIDDEN.lid, "phone": None, "role": "admin"},
    ]


async def test_the_own_role_is_null_where_the_instance_is_not_listed() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[FindGroup] = replace(FOUND, members=(ADA,))
        assert (await api.client.get(f"/group/{key}/{GROUP}")).json()["own_role"] is None


async def test_a_group_is_made_of_numbers_in_the_spelling_that_whatsapp_knows_each_once() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[CreateGroup] = Created(FOUND, (Refused(HIDDEN, 403),))
        people = ["+55 (11) 98765-4321", "4915100000002", "4915100000002@s.whatsapp.net", "111000003@lid"]
        made = await api.client.post(f"/group/{key}", json={"subject": "Orders", "participants": people})
        assert made.status_code == 201
        assert asked(api)[-1] == CreateGroup("Orders", (BRAZIL.jid or "", ADA.jid or "", "111000003@lid"))
    assert made.json()["not_added"] == [
        {
            "participant": HIDDEN.lid, "jid": HIDDEN.lid, "lid": HIDDEN.lid, "phone": None, "status": "failed",
            "error": "privacy",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"participants": ["4915100000002"]}, 400, "invalid_field", "subject"),
        ({"subject": "", "participants": ["4915100000002"]}, 400, "invalid_field", "subject"),
        ({"subject": " \n", "participants": ["4915100000002"]}, 400, "invalid_field", "subject"),
        ({"subject": "x" * 101, "participants": ["4915100000002"]}, 400, "invalid_field", "subject"),
        ({"subject": "x", "participants": []}, 400, "invalid_field", "participants"),
        ({"subject": "x", "participants": ["4915100000002"] * 101}, 400, "invalid_field", "participants"),
        ({"subject": "x", "participants": ["4915100000002", "0151"]}, 400, "invalid_recipient", "participants[1]"),
        ({"subject": "x", "participants": [GROUP]}, 400, "invalid_recipient", "participants[0]"),
        ({"subject": "x", "participants": ["111@lid", "4915199999999"]}, 400, "invalid_recipient", "participants[0]"),
        ({"subject": "x", "participants": ["4915199999999"]}, 422, "unknown_recipient", "participants[0]"),
    ],
)
async def test_a_group_that_cannot_be_made_is_not_begun(
    body: dict[str, object], status: int, code: str, field: str
) -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.post(f"/group/{key}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["details"] == {"field": field}
        assert not [one for one in asked(api) if isinstance(one, CreateGroup)]


async def test_what_is_given_is_changed_what_only_admins_may_first() -> None:
    async with running_api() as api:
        key = await online(api)
        body = {"subject": "New", "description": "", "announce": True, "locked": False, "disappearing_s": 0}
        answer = await api.client.patch(f"/group/{key}/{GROUP}", json=body)
        assert (answer.status_code, answer.json()["group_id"]) == (200, GROUP)
        assert asked(api) == [
            SetAnnounce(GROUP, True), SetLocked(GROUP, False), SetSubject(GROUP, "New"), SetDescription(GROUP, ""),
            SetTimer(GROUP, 0), FindGroup(GROUP),
        ]  # fmt: skip
        api.directory.asked.clear()
        assert (await api.client.patch(f"/group/{key}/{GROUP}", json={})).status_code == 200
        assert asked(api) == [FindGroup(GROUP)]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"subject": ""}, 400, "subject"),
        ({"subject": "  "}, 400, "subject"),
        ({"description": "x" * 2049}, 400, "description"),
        ({"disappearing_s": 60}, 400, "disappearing_s"),
        ({"announce": "yes"}, 400, "announce"),
        ({"join_approval": True}, 501, "join_approval"),
        ({"picture_media_id": "med_1"}, 501, "picture_media_id"),
    ],
)
async def test_a_wrong_change_of_a_group_changes_nothing(body: dict[str, object], status: int, field: str) -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.patch(f"/group/{key}/{GROUP}", json={"locked": True, **body})
        assert (answer.status_code, answer.json()["details"]) == (status, {"field": field})
        assert not api.directory.asked


async def test_what_became_of_each_participant_is_told_in_the_order_of_the_request() -> None:
    async with running_api() as api:
        key = await online(api)
        new = Member("111000009@lid", BRAZIL.jid, "111000009@lid")
        api.directory.answers[ChangeMembers] = (Refused(ADA, 409), new)
        people = ["4915199999999", "+55 11 98765-4321", "111000002@lid", "111000077@lid"]
        answer = await api.client.post(
            f"/group/{key}/{GROUP}/participants", json={"action": "add", "participants": people}
        )
        assert asked(api)[-1] == ChangeMembers(GROUP, "add", (BRAZIL.jid or "", "111000002@lid", "111000077@lid"))
    shown = {
        one["participant"]: (one["phone"], one["lid"], one["status"], one["error"]) for one in answer.json()["results"]
    }
    assert [*shown.items()] == [
        ("4915199999999", ("4915199999999", None, "failed", "unknown_recipient")),
        ("+55 11 98765-4321", ("551187654321", "111000009@lid", "added", None)),
        ("111000002@lid", ("4915100000002", "111000002@lid", "failed", "already_a_member")),
        ("111000077@lid", (None, "111000077@lid", "failed", "not_answered")),
    ]


@pytest.mark.parametrize(("action", "done"), [("remove", "removed"), ("promote", "promoted"), ("demote", "demoted")])
async def test_a_member_is_changed_under_the_address_that_the_group_lists(action: str, done: str) -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[ChangeMembers] = (ADA, Refused(Member(BRAZIL.jid or "", BRAZIL.jid, None), 404))
        people = ["4915100000002", "111000002@lid", "5511987654321"]
        body = {"action": action, "participants": people}
        answer = await api.client.post(f"/group/{key}/{GROUP}/participants", json=body)
        assert asked(api)[-1] == ChangeMembers(GROUP, action, ("111000002@lid", BRAZIL.jid))  # type: ignore[arg-type]
    assert [(one["status"], one["error"]) for one in answer.json()["results"]] == [
        (done, None), (done, None), ("failed", "not_a_member"),
    ]  # fmt: skip


async def test_nobody_is_changed_when_whatsapp_knows_none_of_the_numbers() -> None:
    async with running_api() as api:
        key = await online(api)
        body = {"action": "add", "participants": ["4915199999999"]}
        answer = await api.client.post(f"/group/{key}/{GROUP}/participants", json=body)
        assert [one["error"] for one in answer.json()["results"]] == ["unknown_recipient"]
        assert not [one for one in asked(api) if isinstance(one, ChangeMembers)]


@pytest.mark.parametrize("body", [{"action": "ban", "participants": ["4915100000002"]}, {"action": "add"}, {}])
async def test_a_wrong_change_of_participants_asks_nobody(body: dict[str, object]) -> None:
    async with running_api() as api:
        answer = await api.client.post(f"/group/{await online(api)}/{GROUP}/participants", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field")
        assert not api.directory.asked


async def test_the_invite_link_is_shown_and_reset() -> None:
    async with running_api() as api:
        key = await online(api)
        for method in ("GET", "POST"):
            answer = await api.client.request(method, f"/group/{key}/{GROUP}/invite")
            assert (answer.status_code, answer.json()) == (200, {"group_id": GROUP, "invite_link": LINK})
        assert asked(api) == [FindInvite(GROUP), FindInvite(GROUP, reset=True)]


@pytest.mark.parametrize(
    "link", [LINK, CODE, f"chat.whatsapp.com/{CODE}", f" https://chat.whatsapp.com/invite/{CODE}?mode=ac_t "]
)
async def test_a_group_is_joined_by_its_link_in_any_form(link: str) -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.post(f"/group/{key}/join", json={"invite_link": link})
        assert (answer.status_code, answer.json()["status"], answer.json()["group"]["subject"]) == (
            200,
            "joined",
            "Orders",
        )
        assert asked(api)[0] == JoinGroup(CODE)


async def test_joining_may_need_an_admins_consent() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.failures[FindGroup] = NotInGroup()
        answer = await api.client.post(f"/group/{key}/join", json={"invite_link": LINK})
    assert (answer.status_code, answer.json()) == (200, {"status": "requested", "group_id": GROUP, "group": None})


@pytest.mark.parametrize("link", ["", "x", "https://chat.example.com/" + CODE, LINK + "#x", "a b" * 5, "x" * 65])
async def test_what_is_no_invite_link_is_refused(link: str) -> None:
    async with running_api() as api:
        answer = await api.client.post(f"/group/{await online(api)}/join", json={"invite_link": link})
        assert (answer.status_code, answer.json()["details"]) == (400, {"field": "invite_link"})
        assert not api.directory.asked


async def test_who_waits_to_be_let_in_is_shown_with_the_number_where_it_is_known() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers |= {
            FindRequests: (JoinRequest("111000002@lid", 1767322800), JoinRequest(BRAZIL.jid or "", 1767322801)),
            PhoneOfLid: ADA.jid,
        }
        shown = (await api.client.get(f"/group/{key}/{GROUP}/requests")).json()
        api.directory.answers[PhoneOfLid] = None
        hidden = (await api.client.get(f"/group/{key}/{GROUP}/requests")).json()
    assert shown == {
        "group_id": GROUP,
        "requests": [
            {"jid": ADA.jid, "lid": ADA.lid, "phone": "4915100000002", "requested_at": 1767322800},
            {"jid": BRAZIL.jid, "lid": None, "phone": "551187654321", "requested_at": 1767322801},
        ],
    }
    assert (hidden["requests"][0]["jid"], hidden["requests"][0]["phone"]) == (ADA.lid, None)


async def test_a_group_is_left() -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.post(f"/group/{key}/{GROUP}/leave")
        assert answer.json() == {"status": "left", "instance_key": key, "group_id": GROUP}
        assert asked(api) == [LeaveGroup(GROUP)]


CALLS = (
    ("GET", ""),
    ("PATCH", ""),
    ("POST", "/participants"),
    ("GET", "/invite"),
    ("POST", "/invite"),
    ("GET", "/requests"),
    ("POST", "/leave"),
)
BODY = {"action": "add", "participants": ["4915100000002"]}


@pytest.mark.parametrize("group", ["4915100000002", "111000002@lid", "120363400000000001@newsletter", "x", "1@g.us"])
async def test_what_is_no_group_is_refused(group: str) -> None:
    async with running_api() as api:
        key = await online(api)
        for method, path in CALLS:
            answer = await api.client.request(method, f"/group/{key}/{group}{path}", json=BODY)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_recipient"), (method, path)
        assert not api.directory.asked


async def test_a_viewer_sees_groups_and_neither_changes_them_nor_gets_their_links() -> None:
    async with running_api() as api:
        key = await online(api)
        api.store.add_key("viewer-key", role="viewer")
        headers = {"X-Api-Key": "viewer-key"}
        api.directory.answers[FindRequests] = ()
        for path in ("", f"/{GROUP}", f"/{GROUP}/requests"):
            assert (await api.client.get(f"/group/{key}{path}", headers=headers)).status_code == 200
        api.directory.asked.clear()
        closed = [(method, f"/{GROUP}{path}") for method, path in CALLS[1:] if path != "/requests"]
        for method, path in (("POST", ""), ("POST", "/join"), *closed):
            answer = await api.client.request(method, f"/group/{key}{path}", json={}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
        assert not api.directory.asked


async def test_an_instance_that_is_away_says_so() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.failure = NotConnected("Its state is paused.", state="paused")
        for method, path in (("GET", f"/group/{key}"), ("GET", f"/group/{key}/{GROUP}")):
            answer = await api.client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (400, "not_connected")
