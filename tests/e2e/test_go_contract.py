"""The original bridge's contract, one line per route and event: real HTTP, the real engine, the sandbox as WhatsApp.

One `bridge up` and one pairing serve all of it; `make contract` prints the lines.
"""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image

from bridge.domain.names import NAMES, NOT_BROUGHT_ABOUT
from bridge.protos import e2e
from tests.support import samples
from tests.support.contract import CONTACT, LONG, PHONE, SERVED, SHORT, World, contract_world, until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contract_world() as found:
        yield found


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


MEDIA = [("image", False), ("video", False), ("audio", False), ("file", False), ("audio", True)]


@pytest.mark.parametrize(("type_", "is_ptt"), MEDIA, ids=["image", "video", "audio", "file", "is_ptt"])
def test_route_send_media(world: World, type_: str, is_ptt: bool) -> None:
    caption = {} if type_ == "audio" else {"caption": "look"}
    body = {"url": f"{world.files}/{type_}", "type": type_, **({"is_ptt": True} if is_ptt else {}), **caption}
    answer = world.post("/message/send-media", phone=CONTACT, **body)
    assert answer["status"] == "sent"
    inbox = world.inbox(answer["message_id"])
    assert inbox["kind"] == {"file": "document"}.get(type_, "voice" if is_ptt else type_)
    assert inbox.get("caption") == caption.get("caption")
    content = world.sandbox.get(f"/phones/{CONTACT}/messages/{answer['message_id']}/file").content
    assert content[:4] == b"OggS" if is_ptt else content == SERVED[f"/{type_}"]()


def test_route_send_voice(world: World) -> None:
    asked = world.phone("/send", to=PHONE, text="say it")["message_id"]
    world.event("message_received", message_id=asked)
    answer = world.post("/message/send-voice", phone=CONTACT, url=f"{world.files}/audio", reply_to=asked)
    inbox = world.inbox(answer["message_id"])
    assert (answer["status"], inbox["kind"], inbox["quote"]["text"]) == ("sent", "voice", "say it")


def test_route_instance_create(world: World) -> None:
    made = world.api.post("/instance/create")
    assert (made.status_code, made.json()["status"]) == (200, "instance_created")
    assert len(made.json()["instance_key"]) == 32
    assert made.json()["message"]


def test_route_instance_connect_qr_and_what_a_new_one_answers(world: World) -> None:
    key = world.api.post("/instance/create").json()["instance_key"]
    none = world.api.get(f"/instance/{key}/qr?wait_s=0")
    assert (none.status_code, bool(none.json()["error"])) == (408, True)
    connected = world.post("/instance/connect", instance_key=key)
    assert (connected["status"], connected["instance_key"]) == ("qr_generated", key)
    assert connected["message"]
    for _ in range(2):  # reading does not consume the code
        qr = world.api.get(f"/instance/{key}/qr")
        assert (qr.status_code, qr.headers["content-type"]) == (200, "image/png")
        assert Image.open(io.BytesIO(qr.content)).size == (256, 256)
    refused = world.post("/message/send", 400, instance_key=key, phone=CONTACT, message="x")
    assert (refused["code"], bool(refused["error"])) == ("not_connected", True)
    assert world.api.delete(f"/instance/{key}").json()["status"] == "deleted"


def test_route_instance_connect_and_qr_of_a_connected_one(world: World) -> None:
    connected = world.post("/instance/connect")
    assert (connected["status"], connected["instance_key"]) == ("already_connected", world.key)
    qr = world.api.get(f"/instance/{world.key}/qr")
    assert (qr.status_code, qr.json()["status"], bool(qr.json()["message"])) == (200, "connected", True)


def test_route_instance_status_and_list(world: World) -> None:
    shown = {"instance_key": world.key, "connected": True, "logged_in": True, "phone_number": PHONE}
    assert shown.items() <= world.api.get(f"/instance/{world.key}/status").json().items()
    listed = world.api.get("/instances").json()
    assert listed["count"] == len(listed["instances"])
    assert any(shown.items() <= one.items() for one in listed["instances"])


def test_route_instance_delete_takes_session_and_media_along(world: World) -> None:
    other = "4915100000009"
    key = world.paired(other)
    message_id = world.phone("/send", to=other, kind="image", file={"data": b64(samples.picture())})["message_id"]
    path = urlsplit(world.event("media_updated", key, message_id=message_id)["data"]["media_url"]).path
    assert world.api.get(path).status_code == 200
    deleted = world.api.delete(f"/instance/{key}").json()
    assert (deleted["status"], deleted["instance_key"], bool(deleted["message"])) == ("deleted", key, True)
    world.event("instance_deleted", key)
    assert world.api.get(path).status_code == 404
    assert world.api.get(f"/instance/{key}/status").status_code == 404
    until(lambda: not world.sandbox.get(f"/phones/{other}").json()["devices"])  # logged out at WhatsApp


ERRORS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "unknown instance": (404, "/message/send", {"instance_key": "0" * 32, "phone": CONTACT, "message": "x"}),
    "no phone": (400, "/message/send", {"message": "x"}),
    "no message": (400, "/message/send", {"phone": CONTACT}),
    "wrong type of media": (400, "/message/send-media", {"phone": CONTACT, "type": "song", "url": "http://a.test"}),
    "four buttons": (
        400,
        "/message/send-interactive",
        {"phone": CONTACT, "title": "t", "body": "b", "buttons": [{"id": str(n), "title": "x"} for n in range(4)]},
    ),
    "connect without a key": (400, "/instance/connect", {"instance_key": None}),
    "connect an unknown instance": (404, "/instance/connect", {"instance_key": "0" * 32}),
    "a phone that is none": (400, "/phone/validate", {"phone": "abc"}),
}


@pytest.mark.parametrize("what", ERRORS)
def test_error(world: World, what: str) -> None:
    status, path, body = ERRORS[what]
    assert world.post(path, status, **body)["error"]


def test_error_malformed_body(world: World) -> None:
    answer = world.api.post("/message/send", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


@pytest.mark.parametrize("key", [None, "wrong"], ids=["no key", "wrong key"])
def test_error_of_a_stranger(world: World, key: str | None) -> None:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    answer = httpx2.get(f"{world.api.base_url}/instances", headers=headers, trust_env=False)
    assert (answer.status_code, bool(answer.json()["error"])) == (401, True)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- events ---------------------------------------------------------------------------------------------------------

THE_ORIGINALS = """
message_received image_received video_received audio_received document_received sticker_received contact_received
location_received live_location_received list_received order_received interactive_message_received message_revoked
message_edited message_deleted message_delivered message_read message_read_self message_played message_played_self
message_sender_receipt message_retry message_receipt connected disconnected logged_out pair_success stream_replaced
instance_connected instance_disconnected instance_manually_connected instance_manually_disconnected instance_deleted
history_sync presence_update chat_presence_update group_info_update push_name_update push_name_setting app_state_update
app_state_sync_complete message_sent message_error unknown_event
"""
CONNECTION = {"instance_key", "phone_number", "status", "timestamp"}
ORDER = base64.b64encode(e2e.Message(orderMessage=e2e.OrderMessage(orderID="7", itemCount=1)).SerializeToString())
CARD = {"name": "Ada", "phone": "4915100000005"}
ROWS = [{"title": "S", "rows": [{"id": "r", "title": "R"}]}]
SAID: dict[str, dict[str, Any]] = {
    "message_received": {"text": "hello"},
    "contact_received": {"kind": "contact", "contacts": [CARD]},
    "location_received": {"kind": "location", "location": {"latitude": 1.5, "longitude": 2.5}},
    "live_location_received": {"kind": "live_location", "latitude": 1.5, "longitude": 2.5, "sequence": 7},
    "list_received": {"kind": "list", "title": "T", "text": "D", "button": "B", "sections": ROWS},
    "order_received": {"kind": "raw", "message": ORDER.decode()},
    "interactive_message_received": {"kind": "buttons", "text": "Choose", "buttons": [{"id": "1", "text": "One"}]},
}
MESSAGE = ("message_id", "chat_id", "sender_id", "from", "timestamp", "push_name", "is_from_me", "is_group")
FILE = ("media_type", "media_url", "media_path", "mime_type", "caption", "local_file_url")
FILES: dict[str, tuple[str, bytes]] = {
    "image_received": ("image", samples.picture()),
    "video_received": ("video", samples.video()),
    "audio_received": ("voice", samples.sound("ogg", "libopus", layout="mono")),
    "document_received": ("document", samples.pdf()),
    "sticker_received": ("sticker", samples.picture("WEBP")),
}


@pytest.mark.parametrize("name", SAID)
def test_event(world: World, name: str) -> None:
    message_id = world.phone("/send", to=PHONE, **SAID[name])["message_id"]
    data = world.event(name, message_id=message_id)["data"]
    assert set(MESSAGE) <= set(data)
    assert (data["from"], data["push_name"], data["is_from_me"]) == (CONTACT, "Ann", False)


@pytest.mark.parametrize("name", FILES)
def test_event_of_a_file_and_route_media(world: World, name: str) -> None:
    kind, content = FILES[name]
    file = {"data": b64(content), "name": "offer.pdf"}
    message_id = world.phone("/send", to=PHONE, kind=kind, file=file)["message_id"]
    data = world.event(name, message_id=message_id)["data"]
    assert {*MESSAGE, *FILE} <= set(data)
    assert data["media_type"] == {"voice": "audio"}.get(kind, kind)
    assert data["local_file_url"] == str(world.api.base_url).rstrip("/") + data["media_url"]
    if kind == "document":
        assert data["filename"] == "offer.pdf"
    world.event("media_updated", message_id=message_id)
    path = urlsplit(data["media_url"]).path
    assert re.fullmatch(rf"/media/{world.key}/\d{{4}}-\d\d-\d\d/\d+-[0-9a-f-]{{36}}\.\w+", path), path
    assert world.api.get(path).content == content
    assert httpx2.get(f"{str(world.api.base_url).rstrip('/')}{path}", trust_env=False).status_code == 401


@pytest.mark.parametrize("name", ["connected", "instance_connected", "pair_success"])
def test_event_of_the_connection(world: World, name: str) -> None:
    data = world.event(name)["data"]
    assert set(data) >= CONNECTION


def test_event_message_edited_and_revoked(world: World) -> None:
    message_id = world.phone("/send", to=PHONE, text="helo")["message_id"]
    world.event("message_received", message_id=message_id)
    world.phone("/send", to=PHONE, kind="edit", target=message_id, text="hello")
    assert world.event("message_edited", message_id=message_id)["data"]["text"] == "hello"
    world.phone("/send", to=PHONE, kind="revoke", target=message_id)
    world.event("message_revoked", message_id=message_id)


RECEIPTS = {"delivered": "message_delivered", "read": "message_read", "played": "message_played"}


@pytest.mark.parametrize("type_", RECEIPTS)
def test_event_receipt(world: World, type_: str) -> None:
    sent = world.post("/message/send-voice", phone=CONTACT, url=f"{world.files}/audio")["message_id"]
    world.inbox(sent)
    if type_ != "delivered":
        world.phone("/receipts", message_ids=[sent], type=type_)
    data = world.event(RECEIPTS[type_], message_id=sent)["data"]
    assert (data["sender_id"], data["is_group"]) == (world.lid, False)


def test_event_message_read_self(world: World) -> None:
    theirs = world.phone("/send", to=PHONE, text="look at this")["message_id"]
    world.event("message_received", message_id=theirs)
    world.phone("/receipts", PHONE, message_ids=[theirs], type="read_self")
    assert world.event("message_read_self", message_id=theirs)["data"]["is_from_me"] is True


def test_event_message_retry(world: World) -> None:
    world.inbox(world.post("/message/send", phone=CONTACT, message="can you read?")["message_id"])
    world.phone("/forget", of=PHONE)
    sent = world.post("/message/send", phone=CONTACT, message="and this?")["message_id"]
    assert world.inbox(sent)["text"] == "and this?"
    world.event("message_retry", message_id=sent)


def test_event_message_sent_by_our_own_phone(world: World) -> None:
    sent = world.phone("/send", PHONE, to=CONTACT, text="by hand")["message_id"]
    assert world.event("message_sent", message_id=sent)["data"]["is_from_me"] is True


def test_event_group_info_update(world: World) -> None:
    made = world.sandbox.post("/groups", json={"phone": CONTACT, "subject": "Trip", "members": [PHONE]}).json()
    until(lambda: world.events("group_info_update", chat_id=made["group"]))
    world.sandbox.patch(f"/groups/{made['group']}", json={"phone": CONTACT, "subject": "Journey"})
    world.event("group_info_update", chat_id=made["group"], changes={"subject": "Journey"})


def test_event_history_sync(world: World) -> None:
    world.phone("/history", PHONE, messages=[{"chat": CONTACT, "text": "long ago", "at": 1_600_000_000}])
    until(lambda: world.events("history_sync"))


def test_event_unknown_event(world: World) -> None:
    world.phone("/block", PHONE, phone=SHORT, blocked=True)
    until(lambda: world.events("unknown_event"))
    world.phone("/block", PHONE, phone=SHORT, blocked=False)


def test_event_disconnected(world: World) -> None:
    before = len(world.events("disconnected")), len(world.events("instance_connected"))
    world.fault("cut")
    until(lambda: len(world.events("disconnected")) > before[0])
    until(lambda: world.state(world.key) == "online")
    assert (len(world.events("disconnected")), len(world.events("instance_connected"))) == (before[0] + 1, before[1])


def test_event_logged_out(world: World) -> None:
    key = world.paired("4915100000008")
    world.fault("logged_out", "4915100000008")
    assert set(world.event("logged_out", key)["data"]) >= CONNECTION


def test_every_name_of_the_table_is_shown_here_or_said_never_to_come() -> None:
    names = set(re.findall(r"\w+", THE_ORIGINALS))
    assert names <= set(NAMES)
    never = {name for name in names if NAMES[name].source is None}
    text = Path(__file__).read_text()
    body = text.replace(THE_ORIGINALS, "")
    shown = {name for name in names if f'"{name}"' in body}
    assert names == shown | never | set(NOT_BROUGHT_ABOUT)
    assert not shown & (never | set(NOT_BROUGHT_ABOUT))


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


def test_event_stream_replaced_and_push_name_setting(world: World) -> None:
    assert world.api.patch(f"/profile/{world.key}", json={"name": "Shop"}).status_code == 200
    world.fault("replaced")
    assert world.event("stream_replaced")["data"]["phone_number"] == PHONE
    world.post("/instance/connect")
    until(lambda: world.state(world.key) == "online")
    until(lambda: [one for one in world.events("push_name_setting") if "Shop" in str(one["data"])])
