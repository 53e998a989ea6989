"""Our own calls beyond the original's: mentions and previews, polls, what changes an older message, the outbox."""

from collections.abc import Iterator

import pytest

from tests.support.contract import CONTACT, PHONE, SHORT, World, contract_world, until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contract_world() as found:
        yield found


def test_route_send_with_reply_mentions_and_preview(world: World) -> None:
    asked = world.phone("/send", to=PHONE, text="when?")["message_id"]
    world.event("message_received", message_id=asked)
    answer = world.post(
        "/message/send",
        phone=CONTACT,
        message="at 10, @4915100000002, see https://example.org/x",
        reply_to=asked,
        mentions=[CONTACT],
        link_preview={"url": "https://example.org/x", "title": "A page"},
    )
    inbox = world.inbox(answer["message_id"])
    assert inbox["quote"]["text"] == "when?"
    assert len(inbox["mentions"]) == 1
    assert inbox["link"]["title"] == "A page"


def test_route_react_edit_revoke(world: World) -> None:
    theirs = world.phone("/send", to=PHONE, text="good news")["message_id"]
    world.event("message_received", message_id=theirs)
    reaction = world.post("/message/react", chat=CONTACT, message_id=theirs, emoji="👍")
    assert world.inbox(reaction["message_id"])["emoji"] == "👍"
    ours = world.post("/message/send", phone=CONTACT, message="helo")["message_id"]
    edit = world.post("/message/edit", chat=CONTACT, message_id=ours, message="hello")
    assert world.inbox(edit["message_id"])["text"] == "hello"
    until(lambda: world.inbox(ours).get("edited"))
    assert world.post("/message/revoke", chat=CONTACT, message_id=ours)["status"] == "sent"
    until(lambda: world.inbox(ours).get("revoked"))
    refused = world.post("/message/edit", 400, chat=CONTACT, message_id=theirs, message="x")
    assert refused["details"]["field"] == "message_id"


def test_route_forward(world: World) -> None:
    theirs = world.phone("/send", to=PHONE, text="pass it on")["message_id"]
    world.event("message_received", message_id=theirs)
    answer = world.post("/message/forward", from_chat=CONTACT, message_id=theirs, to=SHORT)
    inbox = world.inbox(answer["message_id"], SHORT)
    assert (inbox["text"], inbox["forwarded"]) == ("pass it on", True)


def test_route_read_and_the_way_of_a_message(world: World) -> None:
    theirs = world.phone("/send", to=PHONE, text="read me")["message_id"]
    world.event("message_received", message_id=theirs)
    assert world.post("/message/read", chat=CONTACT, message_ids=[theirs]) == {"status": "read", "count": 1}
    ours = world.post("/message/send", phone=CONTACT, message="seen?")["message_id"]
    world.inbox(ours)
    world.phone("/read", message_id=ours)
    world.event("message_read", message_id=ours)
    shown = world.api.get(f"/message/{world.key}/{ours}").json()
    assert (shown["status"], shown["text"]) == ("read", "seen?")
    assert shown["history"][0]["status"] == "sent"
    assert shown["history"][-1]["status"] == "read"


def test_route_outbox_and_cancel(world: World) -> None:
    later = world.post("/message/send", 202, phone=CONTACT, message="later", send_at="2027-01-01T00:00:00Z")
    assert later["status"] == "queued"
    outbox = world.api.get(f"/message/{world.key}/outbox?status=scheduled").json()
    assert [item["command_id"] for item in outbox["items"]] == [later["command_id"]]
    path = f"/message/{world.key}/outbox/{later['command_id']}"
    assert world.api.delete(path).json()["status"] == "cancelled"
    assert world.api.delete(path).status_code == 409
    world.event("message_cancelled", command_id=later["command_id"])
    assert world.api.get(f"/message/{world.key}/{later['command_id']}").json()["status"] == "cancelled"


def test_route_poll(world: World) -> None:
    sent = world.post("/message/send-poll", phone=CONTACT, question="When?", options=["Mon", "Tue"], max_choices=1)
    inbox = world.inbox(sent["message_id"])
    assert (inbox["kind"], inbox["question"], inbox["options"]) == ("poll", "When?", ["Mon", "Tue"])


def test_route_phones_check(world: World) -> None:
    checked = world.post("/phone/check", phones=[CONTACT, "4915199999999"])
    assert [one["exists"] for one in checked["results"]] == [True, False]


def test_messages_that_wait_for_a_paused_instance_are_sent_when_it_is_back_or_expire(world: World) -> None:
    assert world.api.post(f"/instance/{world.key}/disconnect").json()["status"] == "disconnected"
    queued = world.post("/message/send", 202, phone=CONTACT, message="when back", mode="queue")
    expires = world.post("/message/send", 202, phone=CONTACT, message="too late", mode="queue", ttl_s=1)
    world.event("message_error", command_id=expires["command_id"])
    world.post("/instance/connect")
    world.event("message_sent", command_id=queued["command_id"])
