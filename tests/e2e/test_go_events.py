"""The original bridge's events, a line for each name and group of fields: what happens at WhatsApp comes as a webhook
of that name, once, with the original's fields. `make contract` prints the lines.

The lines run in their order: what takes an instance off WhatsApp stands at the end.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bridge.domain.names import NAMES
from bridge.protos import e2e
from tests.support import samples
from tests.support.contract import CONTACT, PHONE, SHORT, World, b64, contract_world, until

pytestmark = pytest.mark.engine

THE_ORIGINALS = """
message_received image_received video_received audio_received document_received sticker_received contact_received
location_received live_location_received list_received order_received interactive_message_received message_revoked
message_edited message_deleted message_delivered message_read message_read_self message_played message_played_self
message_sender_receipt message_retry message_receipt connected disconnected logged_out pair_success stream_replaced
instance_connected instance_disconnected instance_manually_connected instance_manually_disconnected instance_deleted
history_sync presence_update chat_presence_update group_info_update push_name_update push_name_setting app_state_update
app_state_sync_complete message_sent message_error unknown_event
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contract_world() as found:
        yield found


def test_every_name_of_the_original_is_a_line_here() -> None:
    names = set(THE_ORIGINALS.split())
    assert names <= set(NAMES)
    body = Path(__file__).read_text().replace(THE_ORIGINALS, "")
    assert {name for name in names if f'"{name}"' in body} == names


# --- messages ---------------------------------------------------------------------------------------------------------

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
FILES: dict[str, tuple[str, bytes]] = {
    "image_received": ("image", samples.picture()),
    "video_received": ("video", samples.video()),
    "audio_received": ("voice", samples.sound("ogg", "libopus", layout="mono")),
    "document_received": ("document", samples.pdf()),
    "sticker_received": ("sticker", samples.picture("WEBP")),
}


class Received:
    """The messages of every kind, each sent once, when the first line needs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._data: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self._data:
            said = SAID.get(name)
            if said is None:
                kind, content = FILES[name]
                said = {"kind": kind, "file": {"data": b64(content), "name": "offer.pdf"}}
                said |= {"caption": "look"} if kind in ("image", "video", "document") else {}
            message_id = self.world.phone("/send", to=PHONE, **said)["message_id"]
            self._data[name] = self.world.event(name, message_id=message_id)["data"]
        return self._data[name]


@pytest.fixture(scope="module")
def received(world: World) -> Received:
    return Received(world)


@pytest.mark.parametrize("name", [*SAID, *FILES])
def test_event_message_id_chat_id_timestamp(received: Received, name: str) -> None:
    data = received[name]
    assert {"message_id", "chat_id", "timestamp"} <= data.keys()
    assert isinstance(data["timestamp"], int)


@pytest.mark.parametrize("name", [*SAID, *FILES])
def test_event_sender_id_from_push_name(received: Received, name: str) -> None:
    data = received[name]
    assert (data["sender_id"], data["from"], data["push_name"]) == (received.world.lid, CONTACT, "Ann")


@pytest.mark.parametrize("name", [*SAID, *FILES])
def test_event_is_from_me_is_group(received: Received, name: str) -> None:
    assert (received[name]["is_from_me"], received[name]["is_group"]) == (False, False)


@pytest.mark.parametrize("name", FILES)
def test_event_media_type_mime_type_caption(received: Received, name: str) -> None:
    kind, data = FILES[name][0], received[name]
    assert data["media_type"] == {"voice": "audio"}.get(kind, kind)
    assert "/" in data["mime_type"]
    assert data["caption"] == ("look" if kind in ("image", "video", "document") else "")


@pytest.mark.parametrize("name", FILES)
def test_event_media_url_media_path_local_file_url(received: Received, name: str) -> None:
    data, world = received[name], received.world
    world.event("media_updated", message_id=data["message_id"])
    path = urlsplit(data["media_url"]).path
    assert data["local_file_url"] == world.base_url + data["media_url"]
    assert path == "/media/" + data["media_path"]
    assert world.api.get(path).content == FILES[name][1]


def test_event_document_received_filename(received: Received) -> None:
    assert received["document_received"]["filename"] == "offer.pdf"


def test_event_of_a_group(world: World) -> None:
    message_id = world.phone("/send", to=world.group, text="all of you")["message_id"]
    data = world.event("message_received", message_id=message_id)["data"]
    assert (data["is_group"], data["chat_id"], data["from"]) == (True, world.group, CONTACT)


def change(world: World, kind: str, **more: Any) -> str:
    message_id: str = world.phone("/send", to=PHONE, text="helo")["message_id"]
    world.event("message_received", message_id=message_id)
    world.phone("/send", to=PHONE, kind=kind, target=message_id, **more)
    return message_id


def test_event_message_edited(world: World) -> None:
    message_id = change(world, "edit", text="hello")
    assert world.event("message_edited", message_id=message_id)["data"]["text"] == "hello"


def test_event_message_revoked(world: World) -> None:
    world.event("message_revoked", message_id=change(world, "revoke"))


@pytest.mark.parametrize("address", ["lid", "number"])
@pytest.mark.parametrize("ours", [False, True], ids=["received", "sent"])
@pytest.mark.parametrize("where", ["direct", "group"])
def test_event_message_deleted(world: World, where: str, ours: bool, address: str) -> None:
    author, other = (PHONE, CONTACT) if ours else (CONTACT, PHONE)
    to = world.group if where == "group" else other
    if ours:
        message_id = world.post("/message/send", phone=to, message="not for me")["message_id"]
        until(lambda: world.own(message_id))
    else:
        message_id = world.phone("/send", to=to, text="not for you")["message_id"]
        world.event("message_received", message_id=message_id)
    world.phone("/delete-for-me", PHONE, message_id=message_id, address=address)
    data = world.event("message_deleted", message_id=message_id)["data"]
    assert (data["is_from_me"], data["is_group"], data["from"]) == (ours, where == "group", author)
    assert data["chat_id"] == (world.group if where == "group" else f"{CONTACT}@s.whatsapp.net" if ours else world.lid)


# --- receipts ---------------------------------------------------------------------------------------------------------

RECEIPTS = {"message_delivered": "delivered", "message_read": "read", "message_played": "played"}
OF_OUR_DEVICES = {
    "message_read_self": ("read_self", "read_self"),
    "message_played_self": ("played_self", "played_self"),
    "message_receipt": ("peer", "peer_msg"),
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_event_receipt_of_a_contact(world: World, name: str) -> None:
    sent = world.post("/message/send-voice", phone=CONTACT, url=f"{world.files}/audio")["message_id"]
    world.inbox(sent)
    if name != "message_delivered":
        world.phone("/receipts", message_ids=[sent], type=RECEIPTS[name])
    data = world.event(name, message_id=sent)["data"]
    assert (data["sender_id"], data["is_group"], data["is_from_me"]) == (world.lid, False, False)
    assert data["from"] == CONTACT, "the number, though WhatsApp sends the receipt under the LID"


def test_event_receipt_in_a_group(world: World) -> None:
    sent = world.post("/message/send", phone=world.group, message="who reads this?")["message_id"]
    world.inbox(sent)
    world.phone("/receipts", message_ids=[sent], type="read")
    data = world.event("message_read", message_id=sent)["data"]
    assert (data["chat_id"], data["is_group"], data["from"]) == (world.group, True, CONTACT)


@pytest.mark.parametrize("name", OF_OUR_DEVICES)
def test_event_receipt_of_our_phone(world: World, name: str) -> None:
    type_, status = OF_OUR_DEVICES[name]
    theirs = world.phone("/send", to=PHONE, text=f"for {name}")["message_id"]
    world.event("message_received", message_id=theirs)
    world.phone("/receipts", PHONE, message_ids=[theirs], type=type_)
    data = world.event(name, message_id=theirs)["data"]
    assert (data["is_from_me"], data["from"], data["chat_id"], data["status"]) == (True, PHONE, world.lid, status)


def test_event_message_sender_receipt(world: World) -> None:
    ours = world.post("/message/send", phone=CONTACT, message="on my phone too")["message_id"]
    until(lambda: world.own(ours))
    world.phone("/receipts", PHONE, message_ids=[ours], type="sender")
    data = world.event("message_sender_receipt", message_id=ours)["data"]
    assert (data["is_from_me"], data["from"], data["chat_id"]) == (True, PHONE, world.lid)


def test_event_message_retry(world: World) -> None:
    world.inbox(world.post("/message/send", phone=CONTACT, message="can you read?")["message_id"])
    world.phone("/forget", of=PHONE)
    sent = world.post("/message/send", phone=CONTACT, message="and this?")["message_id"]
    assert world.inbox(sent)["text"] == "and this?"
    world.event("message_retry", message_id=sent)


# --- sends ------------------------------------------------------------------------------------------------------------


def test_event_message_sent_by_call(world: World) -> None:
    sent = world.post("/message/send", phone=CONTACT, message="by call")["message_id"]
    assert world.event("message_sent", message_id=sent)["data"]["status"] == "sent"


def test_event_message_sent_by_our_own_phone(world: World) -> None:
    sent = world.phone("/send", PHONE, to=CONTACT, text="by hand")["message_id"]
    assert world.event("message_sent", message_id=sent)["data"]["is_from_me"] is True


def test_event_message_error(world: World) -> None:
    body = {"from": "4915199999997", "message": "hi", "message_type": "text"}
    lost = world.post("/webhook", **body)
    assert world.event("message_error", command_id=lost["command_id"])["data"]["error"]


# --- people, groups, the rest -----------------------------------------------------------------------------------------


def test_event_presence_update(world: World) -> None:
    world.post("/presence", state="available")
    world.phone("/presence", SHORT, online=True)  # nobody follows this one
    followed = world.api.post(f"/contact/{world.key}/{CONTACT}/follow")
    assert (followed.status_code, followed.json()["status"]) == (200, "following")
    world.phone("/presence", online=True)
    data = until(lambda: world.events("presence_update", state="available"))[-1]["data"]
    assert (data["from"], data["sender"]["lid"]) == (CONTACT, world.lid)
    world.phone("/presence", online=False)
    until(lambda: [one for one in world.events("presence_update", state="unavailable") if one["data"]["last_seen"]])
    assert {one["data"]["from"] for one in world.events("presence_update")} == {CONTACT}


def test_event_chat_presence_update(world: World) -> None:
    world.phone("/typing", to=PHONE, state="composing")
    assert world.event("chat_presence_update", state="typing")["data"]["from"] == CONTACT


def test_event_group_info_update(world: World) -> None:
    world.sandbox.patch(f"/groups/{world.group}", json={"phone": CONTACT, "subject": "Journey"})
    world.event("group_info_update", chat_id=world.group, changes={"subject": "Journey"})


def test_event_push_name_update(world: World) -> None:
    number = "4915100000007"
    world.sandbox.post("/phones", json={"phone": number, "name": "Cleo"})
    world.event("message_received", message_id=world.phone("/send", number, to=PHONE, text="hi")["message_id"])
    world.sandbox.patch(f"/phones/{number}", json={"name": "Cleopatra"})
    world.event("message_received", message_id=world.phone("/send", number, to=PHONE, text="it is me")["message_id"])
    data = world.event("push_name_update", push_name="Cleopatra")["data"]
    assert (data["old_push_name"], data["from"], data["changes"]) == ("Cleo", number, {"push_name": "Cleopatra"})


@pytest.mark.parametrize(
    ("field", "value"), [("archived", True), ("pinned", True), ("muted_until", 4_000_000_000)], ids=str
)
def test_event_app_state_update(world: World, field: str, value: object) -> None:
    world.phone("/chats", PHONE, chat=SHORT, **{field: value})
    told = until(lambda: [one for one in world.events("app_state_update") if field in one["data"]["changes"]])
    data = told[0]["data"]
    assert (data["changes"][field], bool(data["chat_id"])) == (value, True)


def test_event_app_state_sync_complete(world: World) -> None:
    data = world.event("app_state_sync_complete", name="critical_block")["data"]
    assert data["version"] == 1, "what came at pairing"


def test_event_history_sync(world: World) -> None:
    world.phone("/history", PHONE, messages=[{"chat": CONTACT, "text": "long ago", "at": 1_600_000_000}])
    until(lambda: world.events("history_sync"))


def test_event_unknown_event(world: World) -> None:
    world.phone("/block", PHONE, phone=SHORT, blocked=True)
    until(lambda: world.events("unknown_event"))
    world.phone("/block", PHONE, phone=SHORT, blocked=False)


# --- the connection: what takes the instance off WhatsApp -------------------------------------------------------------

CONNECTION = {"instance_key", "phone_number", "status", "timestamp"}
PAIRING = ("pair_success", "connected", "instance_connected")


def check_connection(world: World, name: str, key: str | None = None, phone: str = PHONE) -> None:
    data = world.event(name, key)["data"]
    assert data.keys() >= CONNECTION
    assert (data["instance_key"], data["phone_number"], data["status"]) == (key or world.key, phone, name)


@pytest.mark.parametrize("name", PAIRING)
def test_event_of_pairing(world: World, name: str) -> None:
    check_connection(world, name)


def test_event_instance_disconnected(world: World) -> None:
    key = str(world.api.post("/instance/create").json()["instance_key"])
    assert world.post("/instance/connect", instance_key=key)["status"] == "qr_generated"
    assert world.sandbox.delete("/codes").json() == {"ended": 1}
    check_connection(world, "instance_disconnected", key, phone="")
    assert world.event("instance_disconnected", key)["data"]["reason"] == "pairing_timeout"


def test_event_disconnected(world: World) -> None:
    before = len(world.events("disconnected")), len(world.events("instance_connected"))
    world.fault("cut")
    until(lambda: len(world.events("disconnected")) > before[0])
    until(lambda: world.state(world.key) == "online")
    assert (len(world.events("disconnected")), len(world.events("instance_connected"))) == (before[0] + 1, before[1])
    data = world.events("disconnected")[-1]["data"]
    assert (data["instance_key"], data["phone_number"], data["status"]) == (world.key, PHONE, "disconnected")


def test_event_logged_out(world: World) -> None:
    key = world.paired("4915100000008")
    world.fault("logged_out", "4915100000008")
    check_connection(world, "logged_out", key, phone="4915100000008")


def test_event_instance_deleted(world: World) -> None:
    key = str(world.api.post("/instance/create").json()["instance_key"])
    world.api.delete(f"/instance/{key}")
    check_connection(world, "instance_deleted", key, phone="")


MANUALLY: dict[str, Callable[[World], object]] = {
    "instance_manually_disconnected": lambda world: world.api.post(f"/instance/{world.key}/disconnect"),
    "instance_manually_connected": lambda world: world.post("/instance/connect"),
}


@pytest.mark.parametrize("name", MANUALLY)
def test_event_of_a_call(world: World, name: str) -> None:
    MANUALLY[name](world)
    check_connection(world, name)


def test_event_push_name_setting(world: World) -> None:
    until(lambda: world.state(world.key) == "online")
    assert world.api.patch(f"/profile/{world.key}", json={"name": "Shop"}).status_code == 200
    world.event("push_name_setting", push_name="Shop")


def test_event_stream_replaced(world: World) -> None:
    until(lambda: world.state(world.key) == "online")
    world.fault("replaced")
    check_connection(world, "stream_replaced")
