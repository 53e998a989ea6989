"""The calls about people: contacts with about text and avatar, blocking, the own profile, presence."""

from dataclasses import replace

import pytest

from bridge.domain.ids import InstanceKey
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
from bridge.domain.questions import LidOfPhone, OnWhatsApp, PhoneFound, RejectCall
from bridge.instances.errors import NotConnected
from bridge.store.contacts import ContactRow
from tests.support.api import Api, running_api

ADA = ContactRow("4915100000002", "123456789", "Ada Lovelace", "Ada", None, "1")
SHOP = ContactRow("4915100000003", None, "Shop", None, "Shop Ltd", "2")
HIDDEN = ContactRow(None, "987654321", None, "Bob", None, "3")
PRIVACY = {"last_seen": "all", "about": "contacts"}


async def online(api: Api) -> InstanceKey:
    key = InstanceKey((await api.client.post("/instance/create")).json()["instance_key"])
    api.store.rows[key] = replace(api.store.rows[key], state="online", jid="4915100000001:1@s.whatsapp.net")
    api.store.contacts.people = [ADA, SHOP, HIDDEN]
    shown = Shown("4915100000002@s.whatsapp.net", "At the sea", "77", 2)
    api.directory.answers = {
        Look: shown, FindPicture: Picture("77", "https://pps.whatsapp.net/77"), FindPrivacy: PRIVACY, SetBlocked: True,
        SetAbout: None, SetName: None, SetPrivacy: None, SetPresence: None, SetChatState: None,
    }  # fmt: skip
    return key


# --- contacts ---------------------------------------------------------------------------------------------------------


async def test_contacts_have_both_addresses_as_far_as_they_are_known() -> None:
    async with running_api() as api:
        shown = (await api.client.get(f"/contact/{await online(api)}")).json()
    assert shown["count"] == 3
    ada, shop, hidden = shown["contacts"]
    assert ada == {
        "jid": "4915100000002@s.whatsapp.net", "lid": "123456789@lid", "phone": "4915100000002",
        "name": "Ada Lovelace", "push_name": "Ada", "business": False, "business_name": None,
    }  # fmt: skip
    assert (shop["business"], shop["business_name"], shop["lid"]) == (True, "Shop Ltd", None)
    assert (hidden["jid"], hidden["phone"]) == ("987654321@lid", None)


async def test_contacts_are_searched_and_paged() -> None:
    async with running_api() as api:
        key = await online(api)
        found = (await api.client.get(f"/contact/{key}?q=Lovelace")).json()
        first = (await api.client.get(f"/contact/{key}?limit=2")).json()
        rest = (await api.client.get(f"/contact/{key}?limit=2&cursor={first['next_cursor']}")).json()
        wrong = await api.client.get(f"/contact/{key}?limit=0")
    assert [one["name"] for one in found["contacts"]] == ["Ada Lovelace"]
    assert (first["count"], rest["count"], rest["next_cursor"]) == (2, 1, None)
    assert wrong.status_code == 400


async def test_an_unpaired_instance_knows_nobody() -> None:
    async with running_api() as api:
        key = await online(api)
        api.store.rows[key] = replace(api.store.rows[key], jid=None)
        assert (await api.client.get(f"/contact/{key}")).json()["contacts"] == []


async def test_a_contact_is_shown_with_what_whatsapp_says_now() -> None:
    async with running_api() as api:
        key = await online(api)
        plain = (await api.client.get(f"/contact/{key}/4915100000002")).json()
        with_avatar = (await api.client.get(f"/contact/{key}/123456789@lid?avatar=preview")).json()
        asked = [question for _, question in api.directory.asked]
    assert (plain["name"], plain["about"], plain["avatar_id"]) == ("Ada Lovelace", "At the sea", "77")
    assert "avatar_url" not in plain
    assert with_avatar["avatar_url"] == "https://pps.whatsapp.net/77"
    assert FindPicture("123456789@lid", True) in asked


async def test_a_hidden_avatar_is_null_and_an_unknown_kind_is_refused() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[FindPicture] = None
        shown = (await api.client.get(f"/contact/{key}/4915100000002?avatar=full")).json()
        wrong = await api.client.get(f"/contact/{key}/4915100000002?avatar=huge")
    assert shown["avatar_url"] is None
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "avatar"})


@pytest.mark.parametrize("answered", [None, Shown("49@s.whatsapp.net", None, None, 0)])
async def test_whom_nobody_knows_is_not_found(answered: Shown | None) -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[Look] = answered
        answer = await api.client.get(f"/contact/{key}/4999999999999")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_contact")


@pytest.mark.parametrize("who", ["0151", "120363000000000001@g.us", "x"])
async def test_who_is_no_person_is_refused(who: str) -> None:
    async with running_api() as api:
        key = await online(api)
        for method, path in (("GET", ""), ("PUT", "/block")):
            answer = await api.client.request(method, f"/contact/{key}/{who}{path}", json={"blocked": True})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_recipient")
        assert not api.directory.asked


async def test_a_contact_is_blocked_and_unblocked() -> None:
    async with running_api() as api:
        key = await online(api)
        blocked = await api.client.put(f"/contact/{key}/4915100000002/block", json={"blocked": True})
        assert blocked.json() == {
            "status": "blocked", "instance_key": key, "jid": "4915100000002@s.whatsapp.net", "blocked": True,
        }  # fmt: skip
        api.directory.answers[SetBlocked] = False
        unblocked = await api.client.put(f"/contact/{key}/4915100000002/block", json={"blocked": False})
        assert unblocked.json()["status"] == "unblocked"
        assert api.directory.asked == [
            (key, SetBlocked("4915100000002@s.whatsapp.net", True)),
            (key, SetBlocked("4915100000002@s.whatsapp.net", False)),
        ]
        missing = await api.client.put(f"/contact/{key}/4915100000002/block", json={})
        assert missing.status_code == 400


# --- profile ----------------------------------------------------------------------------------------------------------


async def test_the_own_profile_is_shown() -> None:
    async with running_api() as api:
        key = await online(api)
        shown = (await api.client.get(f"/profile/{key}")).json()
    assert (shown["about"], shown["avatar_id"], shown["privacy"]) == ("At the sea", "77", PRIVACY)
    assert (shown["instance_key"], shown["phone_number"]) == (key, "4915100000001")


async def test_the_own_profile_is_changed_in_what_is_given() -> None:
    async with running_api() as api:
        key = await online(api)
        body = {"name": "Front desk", "about": "", "privacy": {"last_seen": "none", "calls": "known"}}
        answer = await api.client.patch(f"/profile/{key}", json=body)
        assert answer.status_code == 200
        changes = [question for _, question in api.directory.asked][:4]
        assert changes == [
            SetName("Front desk"), SetAbout(""), SetPrivacy("last_seen", "none"), SetPrivacy("calls", "known"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "x" * 26}, 400, "name"),
        ({"about": "x" * 140}, 400, "about"),
        ({"privacy": {"shoe_size": "all"}}, 400, "privacy.shoe_size"),
        ({"privacy": {"last_seen": "friends"}}, 400, "privacy.last_seen"),
        ({"picture_media_id": "m"}, 501, "picture_media_id"),
    ],
)
async def test_a_wrong_change_of_the_profile_changes_nothing(body: dict[str, object], status: int, field: str) -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.patch(f"/profile/{key}", json={"name": "fine", **body})
        assert (answer.status_code, answer.json()["details"]) == (status, {"field": field})
        assert not api.directory.asked


# --- presence ---------------------------------------------------------------------------------------------------------


async def test_presence_and_typing_are_passed_on() -> None:
    async with running_api() as api:
        key = await online(api)
        for path, body in (
            ("/presence", {"state": "available"}),
            ("/presence", {"state": "unavailable"}),
            ("/chat/presence", {"chat": "+49 151 00000002", "state": "recording"}),
            ("/chat/presence", {"chat": "120363000000000001@g.us", "state": "paused"}),
        ):
            answer = await api.client.post(path, json={"instance_key": key, **body})
            assert (answer.status_code, answer.json()) == (200, {"status": "ok", "instance_key": key})
        assert [question for _, question in api.directory.asked] == [
            SetPresence(True),
            SetPresence(False),
            SetChatState("4915100000002@s.whatsapp.net", "recording"),
            SetChatState("120363000000000001@g.us", "paused"),
        ]


async def test_a_person_is_followed_under_the_address_that_whatsapp_knows() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers[FollowPresence] = None
        api.directory.answers[OnWhatsApp] = (PhoneFound("5511987654321", True, "551187654321@s.whatsapp.net"),)
        by_number = await api.client.post(f"/contact/{key}/+55 11 98765-4321/follow")
        by_lid = await api.client.post(f"/contact/{key}/987654321@lid/follow")
        api.directory.answers[OnWhatsApp] = (PhoneFound("4999999999999", False, None),)
        unknown = await api.client.post(f"/contact/{key}/4999999999999/follow")
        group = await api.client.post(f"/contact/{key}/120363000000000001@g.us/follow")
        followed = [question for _, question in api.directory.asked if isinstance(question, FollowPresence)]
    assert (by_number.status_code, by_number.json()) == (
        200,
        {"status": "following", "instance_key": key, "jid": "551187654321@s.whatsapp.net"},
    )
    assert by_lid.json()["jid"] == "987654321@lid"
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_contact")
    assert (group.status_code, group.json()["code"]) == (400, "invalid_recipient")
    assert followed == [FollowPresence("551187654321@s.whatsapp.net"), FollowPresence("987654321@lid")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/presence", {"state": "busy"}),
        ("/presence", {}),
        ("/chat/presence", {"chat": "4915100000002", "state": "dancing"}),
        ("/chat/presence", {"state": "typing"}),
        ("/chat/presence", {"chat": "nobody", "state": "typing"}),
        ("/chat/presence", {"chat": "120363400000000001@newsletter", "state": "typing"}),
    ],
)
async def test_a_wrong_presence_reaches_nobody(path: str, body: dict[str, object]) -> None:
    async with running_api() as api:
        answer = await api.client.post(path, json={"instance_key": await online(api), **body})
        assert answer.status_code == 400
        assert not api.directory.asked


async def test_a_call_is_rejected_under_the_callers_lid_where_that_is_known() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.answers |= {RejectCall: None, LidOfPhone: "123456789@lid"}
        body = {"instance_key": key, "call_id": "5A1F", "from": "+49 151 00000002"}
        answer = await api.client.post("/call/reject", json=body)
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "rejected", "instance_key": key, "call_id": "5A1F"},
        )
        api.directory.answers[LidOfPhone] = None
        for caller in ("4915100000002", "987654321@lid"):
            await api.client.post("/call/reject", json={**body, "from": caller})
        assert [question for _, question in api.directory.asked if isinstance(question, RejectCall)] == [
            RejectCall("123456789@lid", "5A1F"),
            RejectCall("4915100000002@s.whatsapp.net", "5A1F"),
            RejectCall("987654321@lid", "5A1F"),
        ]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"call_id": "5A1F"}, 400, "from"),
        ({"from": "4915100000002"}, 400, "call_id"),
        ({"call_id": "", "from": "4915100000002"}, 400, "call_id"),
        ({"call_id": "5A 1F", "from": "4915100000002"}, 400, "call_id"),
        ({"call_id": "5A1F", "from": "120363000000000001@g.us"}, 400, "from"),
        ({"call_id": "5A1F", "from": "4915100000002", "reply_message": "later"}, 501, "reply_message"),
    ],
)
async def test_a_call_that_is_named_wrongly_is_not_rejected(body: dict[str, object], status: int, field: str) -> None:
    async with running_api() as api:
        answer = await api.client.post("/call/reject", json={"instance_key": await online(api), **body})
        assert (answer.status_code, answer.json()["details"]) == (status, {"field": field})
        assert not api.directory.asked


async def test_an_instance_that_is_away_says_so() -> None:
    async with running_api() as api:
        key = await online(api)
        api.directory.failure = NotConnected("Its state is paused.", state="paused")
        for method, path, body in (
            ("GET", f"/contact/{key}/4915100000002", None),
            ("GET", f"/profile/{key}", None),
            ("POST", "/presence", {"instance_key": key, "state": "available"}),
        ):
            answer = await api.client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "not_connected")
