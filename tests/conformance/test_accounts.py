"""Accounts and devices: profiles, lookups, several clients of one number, pairing by code, removed devices."""

import base64
import ssl
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.conformance import Client, Contact, Refused, Stage, data, jid, text_of, until, user

pytestmark = pytest.mark.engine

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200)) + b"\xff\xd9"


def patch(contact: Contact, **changes: object) -> dict[str, object]:
    return contact.sandbox.patch(f"/phones/{contact.phone}", **changes)


def info(client: Client, who: str) -> dict[str, object]:
    (found,) = client.call("get_user_info", jid(who))
    return found["data"]["UserInfo"]


def download(stage: Stage, url: str) -> bytes:
    context = ssl.create_default_context(cafile=stage.sandbox.ready["ca_file"])
    with httpx2.Client(proxy=stage.sandbox.ready["proxy"], verify=context, trust_env=False) as http:
        return http.get(url).raise_for_status().content


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_a_contacts_about_text_and_business_name_are_what_it_has_set(calm: Stage, contact: Contact) -> None:
    patch(contact, about="At the sea", verified_name="Sea Ltd")
    found = info(calm.a, contact.phone)
    assert found["Status"] == "At the sea"
    stored = calm.a.call("contact.get_contact", jid(contact.phone))["data"]  # the answer itself is without it
    assert stored["BusinessName"] == "Sea Ltd"
    assert [user(device) for device in found["Devices"]] == [contact.jid]


def test_a_changed_name_stands_on_the_next_message(calm: Stage, contact: Contact) -> None:
    patch(contact, name="Ada L.")
    got = calm.a.message(contact.send(calm.a.phone, text="it is me"))
    assert got["data"]["Info"]["Pushname"] == "Ada L."


def test_a_profile_picture_has_a_url_that_gives_it_and_its_change_is_told(calm: Stage, contact: Contact) -> None:
    with pytest.raises(RuntimeError, match="does not have a profile picture"):
        calm.a.call("get_profile_picture", jid(contact.phone))
    info(calm.a, contact.phone)  # from now on the client knows the contact
    since = calm.a.mark()
    changed = patch(contact, picture=base64.b64encode(JPEG).decode())
    calm.a.event("Picture", lambda e: user(e["JID"]) == contact.lid and not e["Remove"], since)
    picture = calm.a.call("get_profile_picture", jid(contact.phone))["data"]
    assert picture["ID"] == changed["picture"]
    assert download(calm, picture["URL"]) == JPEG


def test_who_hides_picture_and_about_text_shows_neither(calm: Stage, contact: Contact) -> None:
    patch(contact, about="secret", picture=base64.b64encode(JPEG).decode())
    patch(contact, privacy={"status": "none", "profile": "none"})
    found = info(calm.a, contact.phone)
    assert not found.get("Status")
    assert not found.get("PictureID")
    with pytest.raises(RuntimeError, match="hidden"):
        calm.a.call("get_profile_picture", jid(contact.phone))


def test_a_client_sets_its_own_name_picture_and_about_text(calm: Stage) -> None:
    calm.b.call("set_profile_name", "Bea")
    calm.b.call("set_status_message", "busy")
    calm.b.call("set_profile_photo", data(JPEG))
    own = until(lambda: (p := calm.sandbox.get(f"/phones/{calm.b.phone}/profile"))["name"] == "Bea" and p)
    assert (own["about"], bool(own["picture"])) == ("busy", True)
    got = calm.a.message(calm.b.send(calm.a.phone, "from Bea"))
    assert got["data"]["Info"]["Pushname"] == "Bea"
    with pytest.raises(RuntimeError):
        calm.b.call("set_profile_photo", data(b"no picture"))


# --- lookups ----------------------------------------------------------------------------------------------------------


def lookup(client: Client, number: str) -> dict[str, object]:
    (found,) = client.call("is_on_whatsapp", f"+{number}")
    return found["data"]


def test_known_unknown_and_business_numbers_are_told_apart(calm: Stage, contact: Contact) -> None:
    assert (lookup(calm.a, contact.phone)["IsIn"], user(lookup(calm.a, contact.phone)["JID"])) == (True, contact.lid)
    assert not lookup(calm.a, "499999999999").get("IsIn")
    assert "VerifiedName" not in lookup(calm.a, contact.phone)
    patch(contact, verified_name="Sea Ltd")
    assert lookup(calm.a, contact.phone)["VerifiedName"]["Details"]["verifiedName"] == "Sea Ltd"


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("551187654321", "5511987654321"),
        ("5521998765432", "552198765432"),
        ("5215512345678", "525512345678"),
        ("541123456789", "5491123456789"),
    ],
)
def test_a_number_is_found_under_its_other_spelling(calm: Stage, registered: str, asked: str) -> None:
    made = calm.sandbox.post("/phones", phone=registered)
    found = lookup(calm.a, asked)
    assert (found["IsIn"], user(found["JID"])) == (True, made["lid"])
    assert user(calm.a.call("get_pn_from_lid", jid(made["lid"]))["data"]) == made["jid"]


def test_lid_and_phone_number_lead_to_each_other_once_the_client_has_met_them(calm: Stage, contact: Contact) -> None:
    assert not calm.a.call("get_lid_from_pn", jid(contact.jid))["data"].get("User")
    calm.a.message(contact.send(calm.a.phone, text="hello"))
    assert user(calm.a.call("get_lid_from_pn", jid(contact.jid))["data"]) == contact.lid
    assert user(calm.a.call("get_pn_from_lid", jid(contact.lid))["data"]) == contact.jid


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(calm: Stage) -> Iterator[Client]:
    """Return a second client on the number of `a`."""
    client = calm.worker.pair("a2", calm.a.phone)
    yield client
    if any(str(d["jid"]) == client.jid for d in calm.sandbox.get(f"/phones/{client.phone}")["devices"]):
        calm.sandbox.delete(f"/phones/{client.phone}/devices/{_device(client)}")


def _device(client: Client) -> int:
    return int(client.jid.partition(":")[2].partition("@")[0])


def test_both_clients_of_a_number_get_a_message(calm: Stage, second: Client, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, text="to the number")
    assert [text_of(client.message(sent)) for client in (calm.a, second)] == ["to the number"] * 2
    known = next(m for m in calm.sandbox.get("/oracle", phone=contact.phone)["messages"] if m["id"] == sent)
    assert {copy["device"] for copy in known["relayed"]} >= {calm.a.jid, second.jid}


def test_what_one_client_sends_the_other_is_told_as_its_own(calm: Stage, second: Client, contact: Contact) -> None:
    sent = calm.a.send(contact.phone, "by the first")
    copy = second.message(sent)["data"]["Info"]["MessageSource"]
    assert (copy["IsFromMe"], user(copy["Chat"])) == (True, contact.lid)
    assert contact.got(sent)["text"] == "by the first"


def test_what_the_phone_sends_both_clients_are_told_as_their_own(calm: Stage, second: Client, contact: Contact) -> None:
    sent = calm.sandbox.post(f"/phones/{calm.a.phone}/send", to=contact.phone, text="by the phone")["message_id"]
    for client in (calm.a, second):
        assert client.message(sent)["data"]["Info"]["MessageSource"]["IsFromMe"]


def test_a_device_list_has_all_devices_but_the_one_that_asks(calm: Stage, second: Client) -> None:
    found = calm.b.call("get_user_devices", jid(calm.a.phone))
    assert sorted(device["data"].get("Device", 0) for device in found) == [0, 1, _device(second)]


def test_a_device_that_the_phone_removes_is_logged_out_and_the_other_stays(calm: Stage, second: Client) -> None:
    since = calm.a.mark()
    calm.sandbox.delete(f"/phones/{second.phone}/devices/{_device(second)}")
    assert not second.event("LoggedOut", since=since)["data"].get("OnConnect")
    devices = calm.sandbox.get(f"/phones/{second.phone}")["devices"]
    assert [device["jid"] for device in devices] == [calm.a.jid]
    assert calm.a.call("is_connected") is True


# --- pairing by code --------------------------------------------------------------------------------------------------


def test_a_client_pairs_by_the_code_that_the_phones_owner_types(calm: Stage, contact: Contact) -> None:
    client = Client(calm.worker, "coded", contact.phone)
    client.call("start", None)
    client.event("QRCode")
    linux, chrome = {"enum": ["ClientName", "LINUX"]}, {"enum": ["ClientType", "CHROME"]}
    code = client.call("PairPhone", contact.phone, True, linux, chrome)
    waiting = contact.get("profile")
    assert (waiting["code_for"], waiting["code_notified"]) == ("Chrome (Linux)", True)
    with pytest.raises(Refused) as refused:
        contact.post("enter-code", code="AAAAAAAA")
    assert (refused.value.status, refused.value.code) == (409, "wrong_code")
    linked = contact.post("enter-code", code=code.lower())
    client.event("PairStatus")
    client.event("Connected")
    assert linked["jid"] == f"{contact.phone}:1@s.whatsapp.net"
    sent = calm.a.send(contact.phone, "are you there?")
    assert text_of(client.message(sent)) == "are you there?"
    assert contact.get("profile")["code_for"] is None


def test_nobody_can_enter_a_code_that_was_not_asked_for(contact: Contact) -> None:
    with pytest.raises(Refused) as refused:
        contact.post("enter-code", code="ABCD-1234")
    assert (refused.value.status, refused.value.code) == (404, "no_code_asked")
