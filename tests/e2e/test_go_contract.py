"""The original bridge's contract, one line per route and event: real HTTP, the real engine, the sandbox as WhatsApp.

One `bridge up` and one pairing serve all of it; `make contract` prints the lines.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bridge.domain.names import NAMES
from tests.support.stack import REPOSITORY, UP, WITH_SANDBOX, _environment

pytestmark = pytest.mark.engine

PHONE, CONTACT = "4915100000001", "4915100000002"
SHORT, LONG = "551187654321", "5511987654321"
"""The two spellings of a Brazilian mobile number; the account is known under the short one."""
SOON_S = 60.0


@dataclass
class World:
    """A product that runs, and an instance that is paired and online."""

    api: httpx2.Client
    receiver: httpx2.Client
    sandbox: httpx2.Client
    key: str = ""
    lid: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    cursor: int = 0

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = self.api.post(path, json={"instance_key": self.key, **body})
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def phone(self, path: str, number: str = CONTACT, **body: Any) -> dict[str, Any]:
        """Let a simulated phone do something."""
        answer = self.sandbox.post(f"/phones/{number}{path}", json=body)
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def inbox(self, message_id: str, number: str = CONTACT) -> dict[str, Any]:
        """Return a message as the recipient's phone shows it."""
        return until(lambda: self._message(number, message_id))

    def _message(self, number: str, message_id: str) -> dict[str, Any] | None:
        answer = self.sandbox.get(f"/phones/{number}/messages/{message_id}")
        return answer.json() if answer.status_code == 200 else None

    def event(self, name: str, **data: Any) -> dict[str, Any]:
        """Return the one event of that name whose data has these values; wait for it, and check the envelope."""
        found = until(lambda: self._events(name, data))
        assert len(found) == 1, [event["data"] for event in found]
        (event,) = found
        assert event["event"] == event["event_type"] == name
        assert event["type"] in NAMES[name].types
        assert event["instance"] == self.key
        return event

    def _events(self, name: str, data: dict[str, Any]) -> list[dict[str, Any]]:
        while (page := self.receiver.get("/events", params={"after": self.cursor, "limit": 1000}).json())["events"]:
            self.seen += [event["body"] for event in page["events"]]
            self.cursor = page["next_after"]
        return [
            event
            for event in self.seen
            if event["event"] == name and all(event["data"].get(field) == value for field, value in data.items())
        ]


def until(found: Callable[[], Any]) -> Any:
    """Return what is found in another process, when it is there."""
    deadline = time.monotonic() + SOON_S
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bridge-contract-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with (Path(folder) / "stderr.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.tied", *UP, *WITH_SANDBOX, "--data-dir", f"{folder}/data"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env=_environment({}),
            )
        try:
            yield from _talking_to(process)
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


def _talking_to(process: subprocess.Popen[bytes]) -> Iterator[World]:
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    options: dict[str, Any] = {"trust_env": False, "timeout": 60}
    with (
        httpx2.Client(base_url=ready["api"], headers={"authorization": f"Bearer {ready['api_key']}"}, **options) as api,
        httpx2.Client(base_url=ready["receiver"], **options) as receiver,
        httpx2.Client(base_url=ready["sandbox"], **options) as sandbox,
    ):
        found = World(api, receiver, sandbox)
        _pair(found)
        yield found


def _pair(world: World) -> None:
    for number, name in ((CONTACT, "Ann"), (SHORT, "Bia")):
        assert world.sandbox.post("/phones", json={"phone": number, "name": name}).status_code == 201
    world.lid = world.sandbox.get(f"/phones/{CONTACT}").json()["lid"]
    world.key = world.api.post("/instance/create").json()["instance_key"]
    world.post("/instance/connect")
    qr = world.api.get(f"/instance/{world.key}/qr?format=json").json()["code"]
    world.phone("/scan", PHONE, qr=qr)
    until(lambda: world.api.get(f"/instance/{world.key}/status").json()["state"] == "online")


# --- routes: request, the original's fields of the answer, what the recipient's phone shows -------------------------

SENDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/message/send": ({"message": "see you"}, {"kind": "text", "text": "see you"}),
    "/message/send-location": (
        {"latitude": 0, "longitude": 0, "name": "Null Island"},
        {"kind": "location"},
    ),
    "/message/send-contact": ({"contact_name": "Bia, Ltd", "contact_phone": "+55 11 98765-4321"}, {"kind": "contact"}),
    "/message/send-interactive": (
        {"title": "Order", "body": "Keep it?", "footer": "Shop", "buttons": [{"id": "y", "title": "Yes"}]},
        {"kind": "text", "text": "*Order*\n\nKeep it?\n\n1. Yes\n\n_Shop_"},
    ),
    "/message/send-poll": (
        {"question": "When?", "options": ["Mon", "Tue"], "max_choices": 1},
        {"kind": "poll", "question": "When?", "options": ["Mon", "Tue"]},
    ),
}


@pytest.mark.parametrize("path", SENDS)
def test_route(world: World, path: str) -> None:
    request, shown = SENDS[path]
    answer = world.post(path, phone=CONTACT, **request)
    assert answer["status"] == "sent"
    inbox = world.inbox(answer["message_id"])
    assert {name: inbox[name] for name in shown} == shown
    if path == "/message/send-location":
        assert (inbox["location"]["latitude"], inbox["location"]["longitude"]) == (0, 0)
    if path == "/message/send-contact":
        (card,) = inbox["contacts"]
        assert "waid=5511987654321:+5511987654321" in str(card)
    if path == "/message/send-interactive":
        assert answer["rendered_as"] == "text"
        assert answer["error"]
    world.event("message_sent", message_id=answer["message_id"])


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


def test_route_phones_and_both_spellings(world: World) -> None:
    known = world.post("/phone/validate", phone=LONG)
    assert (known["original_phone"], known["valid_phone"], known["exists"]) == (LONG, SHORT, True)
    unknown = world.post("/phone/validate", phone="5511912345678")
    assert (unknown["valid_phone"], unknown["exists"]) == ("5511912345678", False)
    exists = world.post("/phone/test-exists", phone=CONTACT)
    assert (exists["phone"], exists["exists"]) == (CONTACT, True)
    assert exists["details"] == [{"jid": f"{CONTACT}@s.whatsapp.net", "is_in": True}]
    lid = world.post("/phone/phone-to-lid", phone=CONTACT)["lid"]
    assert lid == world.lid
    assert world.post("/phone/lid-to-phone", lid=lid)["phone_number"] == CONTACT
    assert world.post("/phone/lid-to-phone", lid="99999999999@lid")["exists"] is False
    assert world.post("/phone/lid-to-phone", 400, lid=CONTACT)["code"] == "invalid_field"
    checked = world.post("/phone/check", phones=[CONTACT, "4915199999999"])
    assert [one["exists"] for one in checked["results"]] == [True, False]
    sent = world.post("/message/send", phone=LONG, message="oi")
    assert world.inbox(sent["message_id"], SHORT)["text"] == "oi"


def test_route_webhook(world: World) -> None:
    answer = world.post("/webhook", **{"from": CONTACT, "to": PHONE, "message": "pong", "message_type": "text"})
    sent = world.event("message_sent", command_id=answer["command_id"])
    assert world.inbox(sent["data"]["message_id"])["text"] == "pong"
    other = world.post("/webhook", **{"from": CONTACT, "message": {"x": 1}, "message_type": "image"})
    assert other == {"status": "received", "message": {"x": 1}, "type": "image"}
    lost = world.post("/webhook", **{"from": "4915199999998", "message": "hi", "message_type": "text"})
    world.event("message_error", command_id=lost["command_id"])


# --- events ---------------------------------------------------------------------------------------------------------

SAID: dict[str, dict[str, Any]] = {
    "message_received": {"text": "hello"},
    "location_received": {"kind": "location", "location": {"latitude": 1.5, "longitude": 2.5}},
}


@pytest.mark.parametrize("name", SAID)
def test_event(world: World, name: str) -> None:
    message_id = world.phone("/send", to=PHONE, **SAID[name])["message_id"]
    data = world.event(name, message_id=message_id)["data"]
    for field_ in ("chat_id", "sender_id", "from", "timestamp", "push_name", "is_from_me", "is_group"):
        assert field_ in data
    assert (data["from"], data["push_name"], data["is_from_me"]) == (CONTACT, "Ann", False)


@pytest.mark.parametrize("name", ["connected", "instance_connected", "pair_success"])
def test_event_of_the_connection(world: World, name: str) -> None:
    data = world.event(name)["data"]
    assert {"instance_key", "phone_number", "status", "timestamp"} <= set(data)


def test_event_message_edited_and_revoked(world: World) -> None:
    message_id = world.phone("/send", to=PHONE, text="helo")["message_id"]
    world.event("message_received", message_id=message_id)
    world.phone("/send", to=PHONE, kind="edit", target=message_id, text="hello")
    assert world.event("message_edited", message_id=message_id)["data"]["text"] == "hello"
    world.phone("/send", to=PHONE, kind="revoke", target=message_id)
    world.event("message_revoked", message_id=message_id)


def test_event_message_delivered(world: World) -> None:
    sent = world.post("/message/send", phone=CONTACT, message="there?")["message_id"]
    world.event("message_delivered", message_id=sent)


def test_event_chat_presence_update(world: World) -> None:
    world.phone("/typing", to=PHONE, state="composing")
    world.event("chat_presence_update", state="typing")


def test_event_of_a_manual_disconnect_and_connect(world: World) -> None:
    assert world.api.post(f"/instance/{world.key}/disconnect").json()["status"] == "disconnected"
    world.event("instance_manually_disconnected")
    refused = world.post("/message/send", 400, phone=CONTACT, message="x")
    assert refused["code"] == "not_connected"
    queued = world.post("/message/send", 202, phone=CONTACT, message="when back", mode="queue")
    expires = world.post("/message/send", 202, phone=CONTACT, message="too late", mode="queue", ttl_s=1)
    world.event("message_error", command_id=expires["command_id"])
    assert world.post("/instance/connect")["status"] == "already_logged_in"
    world.event("instance_manually_connected")
    world.event("message_sent", command_id=queued["command_id"])
