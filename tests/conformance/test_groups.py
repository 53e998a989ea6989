"""Groups: what a client does to one and others see, and what a contact does and clients hear."""

import base64
from collections.abc import Iterator

import pytest

from tests.support.conformance import Contact, Event, Refused, Stage, data, jid, until, user

pytestmark = pytest.mark.engine

JPEG = b"\xff\xd8\xff\xe0" + bytes(200)


@pytest.fixture
def group(calm: Stage, contact: Contact) -> str:
    """Return a group that client `a` made, with client `b` and the contact in it."""
    made = calm.a.call("create_group", "Team", [jid(calm.b.phone), jid(contact.phone)])["data"]
    return user(made["JID"])


@pytest.fixture
def theirs(calm: Stage, contact: Contact) -> Iterator[str]:
    """Return a group that the contact made, with client `a` in it."""
    yield calm.sandbox.post("/groups", phone=contact.phone, subject="Theirs", members=[calm.a.phone])["group"]


def _shown(calm: Stage, group: str) -> Event:
    return calm.sandbox.get(f"/groups/{group}")


def _roles(calm: Stage, group: str) -> dict[str, str]:
    return {member["phone"]: member["role"] for member in _shown(calm, group)["members"]}


def _change(stage: Stage, group: str, key: str) -> Event:
    """Return client `b`'s event about the group that has this field."""
    return stage.b.event("GroupInfoEvent", lambda e: user(e["JID"]) == group and key in e)["data"]


def test_a_group_that_the_client_makes_is_there_for_all(calm: Stage, contact: Contact, group: str) -> None:
    expected = {calm.a.phone: "superadmin", calm.b.phone: "member", contact.phone: "member"}
    assert (_shown(calm, group)["subject"], _roles(calm, group)) == ("Team", expected)
    joined = calm.b.event("JoinedGroup", lambda e: user(e["GroupInfo"]["JID"]) == group)["data"]
    assert (joined["GroupInfo"]["GroupName"]["Name"], joined["Type"]) == ("Team", "new")


def test_a_group_that_a_contact_makes_is_there_for_the_client(calm: Stage, contact: Contact, theirs: str) -> None:
    joined = calm.a.event("JoinedGroup", lambda e: user(e["GroupInfo"]["JID"]) == theirs)["data"]
    assert user(joined["GroupInfo"]["OwnerJID"]) == contact.lid
    members = {user(member["JID"]) for member in joined["GroupInfo"]["Participants"]}
    assert members == {contact.lid, calm.a.lid}
    listed = calm.a.call("get_joined_groups")
    assert theirs in {user(found["data"]["JID"]) for found in listed}


def test_subject_and_description_that_the_client_sets(calm: Stage, group: str) -> None:
    calm.a.call("set_group_name", jid(group), "Renamed")
    assert _change(calm, group, "Name")["Name"]["Name"] == "Renamed"
    calm.a.call("set_group_topic", jid(group), "", "", "What it is about")
    assert _change(calm, group, "Topic")["Topic"]["Topic"] == "What it is about"
    shown = _shown(calm, group)
    assert (shown["subject"], shown["description"]) == ("Renamed", "What it is about")
    info = calm.b.call("get_group_info", jid(group))["data"]
    assert (info["GroupName"]["Name"], info["GroupTopic"]["Topic"]) == ("Renamed", "What it is about")


def test_subject_and_description_that_a_contact_sets(calm: Stage, contact: Contact, theirs: str) -> None:
    calm.sandbox.patch(f"/groups/{theirs}", phone=contact.phone, subject="New", description="About")
    name = calm.a.event("GroupInfoEvent", lambda e: user(e["JID"]) == theirs and "Name" in e)["data"]
    assert (name["Name"]["Name"], user(name["Sender"])) == ("New", contact.lid)
    topic = calm.a.event("GroupInfoEvent", lambda e: user(e["JID"]) == theirs and "Topic" in e)["data"]
    assert topic["Topic"]["Topic"] == "About"


def test_the_picture_of_a_group(calm: Stage, contact: Contact, group: str) -> None:
    picture = calm.a.call("set_group_photo", jid(group), data(JPEG))
    assert _shown(calm, group)["picture"] == picture
    event = calm.b.event("Picture", lambda e: user(e["JID"]) == group)["data"]
    assert user(event["Author"]) == calm.a.lid
    calm.sandbox.patch(f"/groups/{group}", phone=contact.phone, picture=base64.b64encode(JPEG + b"2").decode())
    calm.a.event("Picture", lambda e: user(e["JID"]) == group and user(e["Author"]) == contact.lid)
    assert _shown(calm, group)["picture"] != picture


def test_members_that_the_client_adds_and_removes(calm: Stage, group: str) -> None:
    other = calm.sandbox.contact()
    calm.a.call("update_group_participants", jid(group), [jid(other.phone)], {"enum": ["ParticipantChange", "ADD"]})
    assert [user(member) for member in _change(calm, group, "Join")["Join"]] == [other.lid]
    assert _roles(calm, group)[other.phone] == "member"
    calm.a.call("update_group_participants", jid(group), [jid(other.lid)], {"enum": ["ParticipantChange", "REMOVE"]})
    assert [user(member) for member in _change(calm, group, "Leave")["Leave"]] == [other.lid]
    assert other.phone not in _roles(calm, group)


def test_admins_that_the_client_makes_and_unmakes(calm: Stage, contact: Contact, group: str) -> None:
    whom = [jid(contact.lid)]
    calm.a.call("update_group_participants", jid(group), whom, {"enum": ["ParticipantChange", "PROMOTE"]})
    assert [user(member) for member in _change(calm, group, "Promote")["Promote"]] == [contact.lid]
    assert _roles(calm, group)[contact.phone] == "admin"
    calm.a.call("update_group_participants", jid(group), whom, {"enum": ["ParticipantChange", "DEMOTE"]})
    assert [user(member) for member in _change(calm, group, "Demote")["Demote"]] == [contact.lid]
    assert _roles(calm, group)[contact.phone] == "member"


@pytest.mark.parametrize(("action", "key"), [("promote", "Promote"), ("remove", "Leave")])
def test_what_a_contact_does_to_the_client(calm: Stage, contact: Contact, theirs: str, action: str, key: str) -> None:
    calm.sandbox.post(f"/groups/{theirs}/participants", phone=contact.phone, action=action, members=[calm.a.phone])
    event = calm.a.event("GroupInfoEvent", lambda e: user(e["JID"]) == theirs and key in e)["data"]
    assert [user(member) for member in event[key]] == [calm.a.lid]
    assert user(event["Sender"]) == contact.lid


def test_a_contact_adds_the_client(calm: Stage, contact: Contact) -> None:
    made = calm.sandbox.post("/groups", phone=contact.phone, subject="Later")["group"]
    calm.sandbox.post(f"/groups/{made}/participants", phone=contact.phone, action="add", members=[calm.a.phone])
    joined = calm.a.event("JoinedGroup", lambda e: user(e["GroupInfo"]["JID"]) == made)["data"]
    assert user(joined["Sender"]) == contact.lid


def test_the_invite_link_is_shown_reset_and_used(calm: Stage, contact: Contact, group: str) -> None:
    link = calm.a.call("get_group_invite_link", jid(group), False)
    assert link == _shown(calm, group)["invite_link"]
    renewed = calm.a.call("get_group_invite_link", jid(group), True)
    assert renewed != link
    assert _change(calm, group, "NewInviteLink")["NewInviteLink"] == renewed
    other = calm.sandbox.contact()
    with pytest.raises(Refused) as refused:
        calm.sandbox.post("/groups/join", phone=other.phone, link=link)
    assert refused.value.code == "unknown_link"
    with pytest.raises(RuntimeError, match="revoked"):
        calm.b.call("join_group_with_link", link)
    calm.sandbox.post("/groups/join", phone=other.phone, link=renewed)
    joined = calm.b.event(
        "GroupInfoEvent", lambda e: user(e["JID"]) == group and other.lid in {user(m) for m in e.get("Join", ())}
    )["data"]
    assert joined["JoinReason"] == "invite"


def test_the_client_looks_at_a_link_joins_by_it_and_leaves(calm: Stage, contact: Contact) -> None:
    made = calm.sandbox.post("/groups", phone=contact.phone, subject="Open")
    seen = calm.a.call("get_group_info_from_link", made["invite_link"])["data"]
    assert seen["GroupName"]["Name"] == "Open"
    calm.a.call("join_group_with_link", made["invite_link"])
    assert _roles(calm, made["group"])[calm.a.phone] == "member"
    calm.a.event("JoinedGroup", lambda e: user(e["GroupInfo"]["JID"]) == made["group"])
    calm.a.call("leave_group", jid(made["group"]))
    assert calm.a.phone not in _roles(calm, made["group"])
    with pytest.raises(RuntimeError):
        calm.a.call("get_group_info", jid(made["group"]))


def test_a_contact_leaves(calm: Stage, contact: Contact, group: str) -> None:
    calm.sandbox.post(f"/groups/{group}/leave", phone=contact.phone)
    assert [user(member) for member in _change(calm, group, "Leave")["Leave"]] == [contact.lid]


def test_a_group_in_which_only_admins_send(calm: Stage, contact: Contact, group: str) -> None:
    calm.a.call("set_group_announce", jid(group), True)
    assert _change(calm, group, "Announce")["Announce"]["IsAnnounce"]
    with pytest.raises(Refused) as refused:
        contact.send(group, text="may I?")
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")
    with pytest.raises(RuntimeError, match="403"):
        calm.b.call("send_message", jid(group), "may I?")
    sent = calm.a.call("send_message", jid(group), "I may")["data"]["ID"]
    assert contact.got(sent)["text"] == "I may"
    calm.a.call("set_group_announce", jid(group), False)
    until(lambda: not _shown(calm, group)["announce"])
    contact.send(group, text="now I may")


def test_a_group_in_which_only_admins_change_settings(calm: Stage, contact: Contact, group: str) -> None:
    calm.a.call("set_group_locked", jid(group), True)
    assert _change(calm, group, "Locked")["Locked"]["isLocked"]
    with pytest.raises(Refused) as refused:
        calm.sandbox.patch(f"/groups/{group}", phone=contact.phone, subject="mine")
    assert refused.value.status == 403
    with pytest.raises(RuntimeError):
        calm.b.call("set_group_name", jid(group), "mine")
    assert _shown(calm, group)["subject"] == "Team"
    calm.a.call("set_group_locked", jid(group), False)
    calm.b.call("set_group_name", jid(group), "ours")
    assert _shown(calm, group)["subject"] == "ours"


def test_disappearing_messages_of_a_group(calm: Stage, contact: Contact, theirs: str) -> None:
    calm.sandbox.patch(f"/groups/{theirs}", phone=contact.phone, expiration_s=86400)
    event = calm.a.event("GroupInfoEvent", lambda e: user(e["JID"]) == theirs and "Ephemeral" in e)["data"]
    assert event["Ephemeral"]["DisappearingTimer"] == 86400
    calm.a.call("set_disappearing_timer", jid(theirs), 7 * 86400 * 10**9)
    assert _shown(calm, theirs)["expiration_s"] == 7 * 86400


def test_only_admins_change_who_is_in(calm: Stage, contact: Contact, theirs: str) -> None:
    with pytest.raises(RuntimeError):
        calm.a.call(
            "update_group_participants", jid(theirs), [jid(contact.lid)], {"enum": ["ParticipantChange", "REMOVE"]}
        )
    assert contact.phone in _roles(calm, theirs)
