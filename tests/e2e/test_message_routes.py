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


def test_route_outbox_of_what_pacing_holds(world: World) -> None:
    key = world.paired("4915100000031")
    change = world.api.patch(f"/instance/{key}", json={"settings": {"pacing_profile": "warm_up"}})
    assert change.json()["settings"] == {"pacing_profile": "warm_up"}
    for chat in (CONTACT, SHORT, PHONE):  # as many as may go at once
        world.post("/message/send", instance_key=key, phone=chat, message="hello")
    answer = world.api.post("/message/send", json={"instance_key": key, "phone": CONTACT, "message": "too soon"})
    assert (answer.status_code, answer.json()["code"]) == (429, "paced")
    assert answer.json()["details"]["reason"] == "rate"
    assert 5 <= int(answer.headers["retry-after"]) <= 30
    kept = world.post("/message/send", 202, instance_key=key, phone=CONTACT, message="in turn", mode="queue")
    gone = world.post("/message/send", 202, instance_key=key, phone=CONTACT, message="taken back", mode="queue")
    items = world.api.get(f"/message/{key}/outbox?status=held").json()["items"]
    assert [item["command_id"] for item in items] == [kept["command_id"], gone["command_id"]]
    assert {(item["status"], item["hold_reason"]) for item in items} == {("held", "rate")}
    assert items[0]["held_until"] < items[1]["held_until"]
    assert world.api.get(f"/message/{key}/outbox?status=queued").json()["items"] == []
    assert world.api.delete(f"/message/{key}/outbox/{gone['command_id']}").json()["status"] == "cancelled"
    assert 'bridge_held_sends{reason="rate"} 1.0' in world.api.get("/metrics").text
    world.api.patch(f"/instance/{key}", json={"settings": {"pacing_profile": None}})
    sent = world.event("message_sent", key, command_id=kept["command_id"])
    assert world.inbox(sent["data"]["message_id"])["text"] == "in turn"


def test_route_a_number_that_may_not_begin_new_chats(world: World) -> None:
    key = world.paired("4915100000032")
    world.fault("reachout_locked", "4915100000032", count=1)
    for _ in range(2):  # the first one is WhatsApp's refusal, the second is not even tried
        answer = world.api.post("/message/send", json={"instance_key": key, "phone": CONTACT, "message": "hello"})
        assert (answer.status_code, answer.json()["code"]) == (429, "new_chats_limited")
        assert 800 < int(answer.headers["retry-after"]) <= 900
    status = world.api.get(f"/instance/{key}/status").json()
    assert (status["state"], status["restriction"]["kind"]) == ("online", "new_chats_limited")
    assert world.event("message_error", key)["data"]["code"] == "new_chats_limited"
    later = world.post("/message/send", 202, instance_key=key, phone=CONTACT, message="later", mode="queue")
    (item,) = world.api.get(f"/message/{key}/outbox").json()["items"]
    assert (item["command_id"], item["hold_reason"]) == (later["command_id"], "new_chats_limited")
    world.phone("/send", to="4915100000032", text="hi")
    world.event("message_sent", key, command_id=later["command_id"])  # who has written can be answered
