"""The original bridge's routes for messages, phones and the command hook, a line for each route, status and group of
fields: real HTTP, the real engine, the sandbox as WhatsApp. `make contract` prints the lines.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.contract import CONTACT, LONG, PHONE, SERVED, SHORT, World, contract_world, until

pytestmark = pytest.mark.engine

Rows = Mapping[str, Callable[[Any], tuple[object, object]]]
"""Lines of the contract: what there is and what there should be, from what a fixture has gathered."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contract_world(BRIDGE_SEND_TIMEOUT_S="5") as found:
        yield found


# --- sends: request, and what the recipient's phone shows ------------------------------------------------------------

SENDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/message/send": ({"message": "see you"}, {"kind": "text", "text": "see you"}),
    "/message/send-media": ({"type": "image", "caption": "look"}, {"kind": "image", "caption": "look"}),
    "/message/send-voice": ({}, {"kind": "voice"}),
    "/message/send-location": ({"latitude": 0, "longitude": 0}, {"kind": "location"}),
    "/message/send-contact": (
        {"contact_name": "Bia, Ltd", "contact_phone": "+55 11 98765-4321"},
        {"kind": "contact"},
    ),
    "/message/send-interactive": (
        {"title": "Order", "body": "Keep it?", "footer": "Shop", "buttons": [{"id": "y", "title": "Yes"}]},
        {"kind": "text", "text": "*Order*\n\nKeep it?\n\n1. Yes\n\n_Shop_"},
    ),
}
FILES = {"/message/send-media": "/image", "/message/send-voice": "/audio"}
REPLIES = [path for path in SENDS if path != "/message/send-media"]
"""The original's calls that take `reply_to`."""


def request_of(world: World, path: str) -> dict[str, Any]:
    url = {"url": world.files + FILES[path]} if path in FILES else {}
    return {**SENDS[path][0], **url}


class Sent:
    """What was sent under each route, once, when the first line needs it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._answers: dict[str, dict[str, Any]] = {}

    def __getitem__(self, path: str) -> dict[str, Any]:
        if path not in self._answers:
            self._answers[path] = self.world.post(path, phone=CONTACT, **request_of(self.world, path))
        return self._answers[path]

    def shown(self, path: str) -> dict[str, Any]:
        return self.world.inbox(self[path]["message_id"])


@pytest.fixture(scope="module")
def sent(world: World) -> Sent:
    return Sent(world)


@pytest.mark.parametrize("path", SENDS)
def test_send_200_status_and_message_id(sent: Sent, path: str) -> None:
    answer = sent[path]
    assert (answer["status"], bool(answer["message_id"])) == ("sent", True)


@pytest.mark.parametrize("path", SENDS)
def test_send_what_the_recipients_phone_shows(sent: Sent, path: str) -> None:
    wanted, shown = SENDS[path][1], sent.shown(path)
    assert {name: shown[name] for name in wanted} == wanted


@pytest.mark.parametrize("path", SENDS)
def test_send_event_message_sent(sent: Sent, path: str) -> None:
    data = sent.world.event("message_sent", message_id=sent[path]["message_id"])["data"]
    assert data["status"] == "sent"


@pytest.mark.parametrize("path", SENDS)
def test_send_takes_to_as_well_as_phone(world: World, path: str) -> None:
    answer = world.post(path, to=CONTACT, **request_of(world, path))
    assert world.inbox(answer["message_id"])["kind"] == SENDS[path][1]["kind"]


@pytest.mark.parametrize("path", REPLIES)
def test_send_reply_to(world: World, path: str) -> None:
    asked = world.phone("/send", to=PHONE, text=f"about {path}?")["message_id"]
    world.event("message_received", message_id=asked)
    answer = world.post(path, phone=CONTACT, reply_to=asked, **request_of(world, path))
    assert world.inbox(answer["message_id"])["quote"]["text"] == f"about {path}?"


def test_send_interactive_error_and_rendered_as(sent: Sent) -> None:
    answer = sent["/message/send-interactive"]
    assert (answer["rendered_as"], bool(answer["error"])) == ("text", True)


MEDIA = [("image", False), ("video", False), ("audio", False), ("file", False), ("audio", True)]


@pytest.mark.parametrize(("type_", "is_ptt"), MEDIA, ids=["image", "video", "audio", "file", "audio is_ptt"])
def test_send_media_type(world: World, type_: str, is_ptt: bool) -> None:
    body = {"url": f"{world.files}/{type_}", "type": type_, **({"is_ptt": True} if is_ptt else {})}
    answer = world.post("/message/send-media", phone=CONTACT, **body)
    inbox = world.inbox(answer["message_id"])
    assert inbox["kind"] == {"file": "document"}.get(type_, "voice" if is_ptt else type_)
    content = world.sandbox.get(f"/phones/{CONTACT}/messages/{answer['message_id']}/file").content
    assert content[:4] == b"OggS" if is_ptt else content == SERVED[f"/{type_}"]()


@pytest.mark.parametrize("type_", ["image", "video", "file"])
def test_send_media_caption(world: World, type_: str) -> None:
    answer = world.post(
        "/message/send-media", phone=CONTACT, url=f"{world.files}/{type_}", type=type_, caption=f"a {type_}"
    )
    assert world.inbox(answer["message_id"])["caption"] == f"a {type_}"


def test_send_location_zero_is_a_coordinate(sent: Sent) -> None:
    location = sent.shown("/message/send-location")["location"]
    assert (location["latitude"], location["longitude"]) == (0, 0)


def test_send_contact_makes_a_card_whose_number_opens_the_chat(sent: Sent) -> None:
    (card,) = sent.shown("/message/send-contact")["contacts"]
    assert (card["name"], "waid=5511987654321:+5511987654321" in card["vcard"]) == ("Bia, Ltd", True)


RECIPIENTS: dict[str, Callable[[World], str]] = {
    "digits": lambda _: CONTACT,
    "spaces, dashes and a plus": lambda _: "+49 151-000 000 02",
    "a user JID": lambda _: f"{CONTACT}@s.whatsapp.net",
    "a LID": lambda world: world.lid,
    "a group's JID": lambda world: world.group,
}


@pytest.mark.parametrize("form", RECIPIENTS)
def test_send_phone_as(world: World, form: str) -> None:
    answer = world.post("/message/send", phone=RECIPIENTS[form](world), message=f"to {form}")
    assert world.inbox(answer["message_id"])["text"] == f"to {form}"


# --- sends that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SENDS)
def test_send_404_unknown_instance(world: World, path: str) -> None:
    answer = world.post(path, 404, **{"phone": CONTACT, **request_of(world, path), "instance_key": "0" * 32})
    assert answer["error"]


@pytest.mark.parametrize("path", SENDS)
def test_send_400_no_phone(world: World, path: str) -> None:
    assert world.post(path, 400, **request_of(world, path))["error"]


@pytest.mark.parametrize("path", SENDS)
def test_send_400_instance_not_connected(world: World, path: str) -> None:
    answer = world.post(path, 400, **{"phone": CONTACT, **request_of(world, path), "instance_key": world.unpaired})
    assert (answer["code"], bool(answer["error"])) == ("not_connected", True)


REQUIRED = {
    "/message/send": ["message"],
    "/message/send-media": ["url", "type"],
    "/message/send-voice": ["url"],
    "/message/send-location": ["latitude", "longitude"],
    "/message/send-contact": ["contact_name", "contact_phone"],
    "/message/send-interactive": ["body", "buttons"],
}


@pytest.mark.parametrize(("path", "field"), [(path, field) for path, fields in REQUIRED.items() for field in fields])
def test_send_400_without_a_field(world: World, path: str, field: str) -> None:
    body = {name: value for name, value in request_of(world, path).items() if name != field}
    assert world.post(path, 400, phone=CONTACT, **body)["error"]


INVALID: dict[str, tuple[str, dict[str, Any]]] = {
    "phone that is none": ("/message/send", {"phone": "abc", "message": "x"}),
    "type of media": ("/message/send-media", {"phone": CONTACT, "type": "song", "url": "http://a.test"}),
    "four buttons": (
        "/message/send-interactive",
        {"phone": CONTACT, "title": "t", "body": "b", "buttons": [{"id": str(n), "title": "x"} for n in range(4)]},
    ),
}


@pytest.mark.parametrize("what", INVALID)
def test_send_400_invalid(world: World, what: str) -> None:
    path, body = INVALID[what]
    assert world.post(path, 400, **body)["error"]


@pytest.mark.parametrize("path", SENDS)
def test_send_400_malformed_body(world: World, path: str) -> None:
    answer = world.api.post(path, content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_send_502_the_engine_failed(world: World) -> None:
    world.post("/message/send", phone=CONTACT, message="so that the number is known, and not asked for")
    world.fault("rate_limited", count=1)
    answer = world.post("/message/send", 502, phone=CONTACT, message="x")
    assert (answer["code"], bool(answer["error"])) == ("send_failed", True)


def test_send_504_the_engine_did_not_answer_in_time(world: World) -> None:
    number = "4915100000010"
    key = world.paired(number)  # the library sends nothing else for this one until it gives up too
    world.fault("ack_missing", number, count=1)
    answer = world.post("/message/send", 504, instance_key=key, phone=CONTACT, message="perhaps")
    assert (answer["code"], bool(answer["error"])) == ("send_unknown", True)


# --- phones -----------------------------------------------------------------------------------------------------------

NOBODY = "5511912345678"


@pytest.fixture(scope="module")
def phones(world: World) -> dict[str, dict[str, Any]]:
    lid = world.post("/phone/phone-to-lid", phone=CONTACT)["lid"]
    return {
        "long": world.post("/phone/validate", phone=LONG),
        "nobody": world.post("/phone/validate", phone=NOBODY),
        "as given": world.post("/phone/validate", phone=SHORT),
        "exists": world.post("/phone/test-exists", phone=CONTACT),
        "exists not": world.post("/phone/test-exists", phone=NOBODY),
        "lid": world.post("/phone/lid-to-phone", lid=lid),
        "no lid": world.post("/phone/lid-to-phone", lid="99999999999@lid"),
    }


PHONES: Rows = {
    "/phone/validate status, message": lambda p: (
        (p["long"]["status"], type(p["long"]["message"])),
        ("success", str),
    ),
    "/phone/validate original_phone": lambda p: (p["long"]["original_phone"], LONG),
    "/phone/validate valid_phone in Brazil's other spelling": lambda p: (p["long"]["valid_phone"], SHORT),
    "/phone/validate exists": lambda p: (p["long"]["exists"], True),
    "/phone/validate a number that exists as given is not changed": lambda p: (p["as given"]["valid_phone"], SHORT),
    "/phone/validate the given one stands when neither exists": lambda p: (
        (p["nobody"]["valid_phone"], p["nobody"]["exists"]),
        (NOBODY, False),
    ),
    "/phone/test-exists phone, exists": lambda p: ((p["exists"]["phone"], p["exists"]["exists"]), (CONTACT, True)),
    "/phone/test-exists raw_response": lambda p: (bool(p["exists"]["raw_response"]), True),
    "/phone/test-exists details jid, is_in": lambda p: (
        p["exists"]["details"],
        [{"jid": f"{CONTACT}@s.whatsapp.net", "is_in": True}],
    ),
    "/phone/test-exists of nobody": lambda p: (p["exists not"]["exists"], False),
    "/phone/lid-to-phone lid, phone_number": lambda p: (p["lid"]["phone_number"], CONTACT),
    "/phone/lid-to-phone status, exists, message": lambda p: (
        (p["lid"]["status"], p["lid"]["exists"], type(p["lid"]["message"])),
        ("success", True, str),
    ),
    "/phone/lid-to-phone of nobody": lambda p: (p["no lid"]["exists"], False),
}


@pytest.mark.parametrize("row", PHONES)
def test_phones_200(phones: dict[str, Any], row: str) -> None:
    there_is, there_should_be = PHONES[row](phones)
    assert there_is == there_should_be


PHONE_BODIES = {
    "/phone/validate": {"phone": CONTACT},
    "/phone/test-exists": {"phone": CONTACT},
    "/phone/lid-to-phone": {"lid": "99999999999@lid"},
}


@pytest.mark.parametrize("path", PHONE_BODIES)
def test_phones_404_unknown_instance(world: World, path: str) -> None:
    assert world.post(path, 404, **{**PHONE_BODIES[path], "instance_key": "0" * 32})["error"]


@pytest.mark.parametrize("path", PHONE_BODIES)
def test_phones_400_instance_not_connected(world: World, path: str) -> None:
    answer = world.post(path, 400, **{**PHONE_BODIES[path], "instance_key": world.unpaired})
    assert answer["code"] == "not_connected"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/phone/validate", {"phone": "abc"}),
        ("/phone/validate", {}),
        ("/phone/test-exists", {"phone": "abc"}),
        ("/phone/lid-to-phone", {"lid": CONTACT}),
    ],
)
def test_phones_400_invalid(world: World, path: str, body: dict[str, Any]) -> None:
    assert world.post(path, 400, **body)["error"]


def test_send_goes_to_the_spelling_that_whatsapp_knows(world: World) -> None:
    sent = world.post("/message/send", phone=LONG, message="oi")
    assert world.inbox(sent["message_id"], SHORT)["text"] == "oi"


# --- the command hook -------------------------------------------------------------------------------------------------


def hook(world: World, sender: str, message: object, type_: str) -> dict[str, Any]:
    return world.post("/webhook", **{"from": sender, "to": PHONE, "message": message, "message_type": type_})


def test_webhook_text_200_and_the_message_goes_to_from(world: World) -> None:
    answer = hook(world, CONTACT, "pong", "text")
    sent = world.event("message_sent", command_id=answer["command_id"])
    assert world.inbox(sent["data"]["message_id"])["text"] == "pong"


def test_webhook_other_type_200_status_message_type(world: World) -> None:
    assert hook(world, CONTACT, {"x": 1}, "image") == {"status": "received", "message": {"x": 1}, "type": "image"}


def test_webhook_event_message_error(world: World) -> None:
    lost = hook(world, "4915199999998", "hi", "text")
    until(lambda: world.events("message_error", command_id=lost["command_id"]))


def test_webhook_404_unknown_instance(world: World) -> None:
    body = {"instance_key": "0" * 32, "from": CONTACT, "message": "x", "message_type": "text"}
    assert world.post("/webhook", 404, **body)["error"]
