"""Messages without a file, of every kind, in both directions: what the one end wrote is what the other end shows."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from bridge.protos import e2e, neonize_pb
from bridge.sandbox.nodes import Jid
from bridge.sandbox.votes import Poll, open_vote
from tests.support.conformance import Contact, Event, Stage, jid, proto, text_of, until, user

pytestmark = pytest.mark.engine

FROM_CONTACT: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "link": (
        {"text": "see https://a.test", "link": {"url": "https://a.test", "title": "A", "description": "first"}},
        "extendedTextMessage",
        {"text": "see https://a.test", "matchedText": "https://a.test", "title": "A", "description": "first"},
    ),
    "location": (
        {"kind": "location", "latitude": 52.5, "longitude": 13.25, "name": "Gate", "address": "Square 1"},
        "locationMessage",
        {"degreesLatitude": 52.5, "degreesLongitude": 13.25, "name": "Gate", "address": "Square 1"},
    ),
    "live location": (
        {"kind": "live_location", "latitude": 1.5, "longitude": 2.5, "sequence": 7, "caption": "on my way"},
        "liveLocationMessage",
        {"degreesLatitude": 1.5, "degreesLongitude": 2.5, "sequenceNumber": "7", "caption": "on my way"},
    ),
    "contact card": (
        {"kind": "contact", "contacts": [{"name": "Ada", "vcard": "BEGIN:VCARD\nFN:Ada\nEND:VCARD"}]},
        "contactMessage",
        {"displayName": "Ada", "vcard": "BEGIN:VCARD\nFN:Ada\nEND:VCARD"},
    ),
    "poll": (
        {"kind": "poll", "question": "Tea?", "options": ["yes", "no"]},
        "pollCreationMessageV3",
        {"name": "Tea?", "options": [{"optionName": "yes"}, {"optionName": "no"}], "selectableOptionsCount": 1},
    ),
    "poll of several": (
        {"kind": "poll", "question": "Which?", "options": ["a", "b"], "selectable": 2},
        "pollCreationMessage",
        {"name": "Which?", "selectableOptionsCount": 2},
    ),
    "buttons": (
        {"kind": "buttons", "text": "Choose", "footer": "f", "buttons": [{"id": "1", "text": "One"}]},
        "buttonsMessage",
        {"contentText": "Choose", "footerText": "f"},
    ),
    "list": (
        {
            "kind": "list",
            "title": "T",
            "text": "D",
            "button": "B",
            "sections": [{"title": "S", "rows": [{"id": "r", "title": "R"}]}],
        },
        "listMessage",
        {"title": "T", "description": "D", "buttonText": "B"},
    ),
    "interactive": (
        {"kind": "interactive", "title": "T", "text": "Body", "buttons": [{"id": "1", "text": "One"}]},
        "interactiveMessage",
        {"body": {"text": "Body"}},
    ),
    "button response": (
        {"kind": "buttons_response", "id": "1", "text": "One"},
        "buttonsResponseMessage",
        {"selectedButtonID": "1", "selectedDisplayText": "One"},
    ),
    "list response": (
        {"kind": "list_response", "id": "r", "title": "R"},
        "listResponseMessage",
        {"title": "R", "singleSelectReply": {"selectedRowID": "r"}},
    ),
    "interactive response": (
        {"kind": "interactive_response", "text": "One", "name": "menu_options", "params": '{"id":"1"}'},
        "interactiveResponseMessage",
        {"body": {"text": "One"}},
    ),
    "expiry": ({"text": "soon gone", "expiration_s": 86400}, "extendedTextMessage", {"text": "soon gone"}),
}


@pytest.mark.parametrize("kind", FROM_CONTACT)
def test_what_a_contact_sends_is_what_the_client_shows(calm: Stage, contact: Contact, kind: str) -> None:
    fields, name, expected = FROM_CONTACT[kind]
    got = calm.a.message(contact.send(calm.a.phone, **fields))["data"]["Message"]
    held = got[name]
    assert {key: held.get(key) for key in expected} == expected
    if kind == "expiry":
        assert held["contextInfo"]["expiration"] == 86400


def test_several_contact_cards_arrive_together(calm: Stage, contact: Contact) -> None:
    cards = [{"name": "Ada", "phone": "4915100000001"}, {"name": "Bob", "phone": "4915100000002"}]
    sent = contact.send(calm.a.phone, kind="contacts", name="two", contacts=cards)
    array = calm.a.message(sent)["data"]["Message"]["contactsArrayMessage"]
    assert [card["displayName"] for card in array["contacts"]] == ["Ada", "Bob"]
    assert "waid=4915100000002" in array["contacts"][1]["vcard"]


def test_a_view_once_message_arrives_in_its_wrapper(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="image", file={"size": 100}, view_once=True)
    event = calm.a.message(sent)["data"]
    assert event["IsViewOnce"]
    assert "imageMessage" in event["Message"].get("viewOnceMessageV2", {}).get("message", event["Message"])


def test_a_quote_names_the_message_and_its_author(calm: Stage, contact: Contact) -> None:
    asked = calm.a.call("send_message", jid(contact.phone), "what?")["data"]["ID"]
    contact.got(asked)
    answer = contact.send(calm.a.phone, text="this", quote=asked)
    info = calm.a.message(answer)["data"]["Message"]["extendedTextMessage"]["contextInfo"]
    assert (info["stanzaID"], info["participant"]) == (asked, calm.a.lid)
    assert info["quotedMessage"]["extendedTextMessage"]["text"] == "what?"  # neonize sends no text as `conversation`


def test_a_mention_names_who_is_meant(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, text="@you", mentions=[calm.a.phone])
    info = calm.a.message(sent)["data"]["Message"]["extendedTextMessage"]["contextInfo"]
    assert info["mentionedJID"] == [calm.a.lid]


@pytest.mark.parametrize("emoji", ["👍", ""], ids=["set", "taken back"])
def test_a_reaction_names_its_target(calm: Stage, contact: Contact, emoji: str) -> None:
    target = calm.a.call("send_message", jid(contact.phone), "react to me")["data"]["ID"]
    contact.got(target)
    sent = contact.send(calm.a.phone, kind="reaction", target=target, emoji=emoji)
    reaction = calm.a.message(sent)["data"]["Message"]["reactionMessage"]
    assert (reaction["key"]["ID"], reaction.get("text", ""), reaction["key"]["fromMe"]) == (target, emoji, False)


def test_an_edit_arrives_as_one(calm: Stage, contact: Contact) -> None:
    first = contact.send(calm.a.phone, text="helo")
    edit = contact.send(calm.a.phone, kind="edit", target=first, text="hello")
    event = calm.a.message(edit)["data"]
    body = event["Message"]
    protocol = body.get("editedMessage", {}).get("message", body)["protocolMessage"]
    assert (protocol["key"]["ID"], protocol["editedMessage"]["conversation"]) == (first, "hello")
    assert event["Info"]["Edit"] == "1"


def test_a_revoke_arrives_as_one(calm: Stage, contact: Contact) -> None:
    first = contact.send(calm.a.phone, text="never mind")
    revoke = contact.send(calm.a.phone, kind="revoke", target=first)
    event = calm.a.message(revoke)["data"]
    protocol = event["Message"]["protocolMessage"]
    # REVOKE is zero, which JSON leaves out where it was not set
    assert (protocol["key"]["ID"], protocol.get("type", "REVOKE"), event["Info"]["Edit"]) == (first, "REVOKE", "7")


def test_a_disappearing_timer_arrives(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="timer", expiration_s=604800)
    protocol = calm.a.message(sent)["data"]["Message"]["protocolMessage"]
    assert (protocol["type"], protocol["ephemeralExpiration"]) == ("EPHEMERAL_SETTING", 604800)


def test_a_vote_in_the_clients_poll_can_be_opened(calm: Stage, contact: Contact) -> None:
    poll = calm.a.call("build_poll_vote_creation", "Tea?", ["yes", "no"], {"enum": ["VoteType", "SINGLE"]})
    sent = calm.a.call("send_message", jid(contact.phone), proto("Message", poll["b64"]))["data"]["ID"]
    asked = contact.got(sent)
    assert (asked["kind"], asked["question"], asked["options"]) == ("poll", "Tea?", ["yes", "no"])
    vote = contact.send(calm.a.phone, kind="vote", target=sent, options=["no"])
    event = calm.a.message(vote)
    update = neonize_pb.Message.FromString(base64.b64decode(event["b64"])).Message.pollUpdateMessage
    asked_by = Poll(sent, Jid.parse(calm.a.lid), e2e.Message.FromString(base64.b64decode(poll["b64"])))
    assert sent == update.pollCreationMessageKey.ID
    assert open_vote(asked_by, [Jid.parse(contact.lid)], [asked_by.author], update.vote) == ["no"]


def test_the_clients_vote_in_a_contacts_poll_is_opened_by_it(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="poll", question="Tea?", options=["yes", "no"])
    event = calm.a.message(sent)
    info = _info_of(event)
    vote = calm.a.call("build_poll_vote", info, ["yes"])
    voted = calm.a.call("send_message", jid(contact.phone), proto("Message", vote["b64"]))["data"]["ID"]
    got = contact.got(voted)
    assert (got["kind"], got["target"], got["options"]) == ("vote", sent, ["yes"])


def _card() -> e2e.Message:
    return e2e.Message(contactMessage=e2e.ContactMessage(displayName="Ada", vcard="BEGIN:VCARD\nEND:VCARD"))


def _link() -> e2e.Message:
    text = e2e.ExtendedTextMessage(text="see https://a.test", matchedText="https://a.test", title="A")
    return e2e.Message(extendedTextMessage=text)


def _location() -> e2e.Message:
    place = e2e.LocationMessage(degreesLatitude=52.5, degreesLongitude=13.25, name="Gate")
    return e2e.Message(locationMessage=place)


def _buttons() -> e2e.Message:
    held = e2e.ButtonsMessage(contentText="Choose", headerType=e2e.ButtonsMessage.EMPTY)
    held.buttons.add(buttonID="1", buttonText=e2e.ButtonsMessage.Button.ButtonText(displayText="One"))
    return e2e.Message(buttonsMessage=held)


def _list() -> e2e.Message:
    held = e2e.ListMessage(title="T", description="D", buttonText="B", listType=e2e.ListMessage.SINGLE_SELECT)
    held.sections.add(title="S").rows.add(rowID="r", title="R")
    return e2e.Message(listMessage=held)


FROM_CLIENT: dict[str, tuple[Callable[[], e2e.Message], dict[str, Any]]] = {
    "link": (_link, {"kind": "text", "text": "see https://a.test"}),
    "location": (_location, {"kind": "location", "location": {"latitude": 52.5, "longitude": 13.25, "name": "Gate"}}),
    "contact card": (
        _card,
        {"kind": "contact", "contacts": [{"name": "Ada", "vcard": "BEGIN:VCARD\nEND:VCARD"}]},
    ),
    "buttons": (_buttons, {"kind": "buttons", "text": "Choose", "buttons": [{"id": "1", "text": "One"}]}),
    "list": (_list, {"kind": "list", "title": "T", "text": "D"}),
}


@pytest.mark.parametrize("kind", FROM_CLIENT)
def test_what_the_client_sends_is_what_the_contact_shows(calm: Stage, contact: Contact, kind: str) -> None:
    build, expected = FROM_CLIENT[kind]
    got = contact.got(calm.a.send(contact.phone, build()))
    assert {key: got.get(key) for key in expected} == expected


def test_the_clients_edit_marks_the_message(calm: Stage, contact: Contact) -> None:
    first = calm.a.send(contact.phone, "helo")
    contact.got(first)
    changed = proto("Message", e2e.Message(conversation="hello"))
    calm.a.call("edit_message", jid(contact.phone), first, changed)
    edit = _next(contact, lambda m: m["kind"] == "edit")
    assert (edit["target"], edit["text"]) == (first, "hello")
    assert contact.got(first)["edited"]


def test_the_clients_revoke_marks_the_message(calm: Stage, contact: Contact) -> None:
    first = calm.a.send(contact.phone, "never mind")
    contact.got(first)
    calm.a.call("revoke_message", jid(contact.phone), jid(calm.a.lid), first)
    assert _next(contact, lambda m: m["kind"] == "revoke")["target"] == first
    assert contact.got(first)["revoked"]


def test_the_clients_reaction_reaches_the_contact(calm: Stage, contact: Contact) -> None:
    target = contact.send(calm.a.phone, text="react to me")
    event = calm.a.message(target)
    sender = user(event["data"]["Info"]["MessageSource"]["Sender"])
    reaction = calm.a.call("build_reaction", jid(contact.lid), jid(sender), target, "👍")
    calm.a.call("send_message", jid(contact.phone), proto("Message", reaction["b64"]))
    got = _next(contact, lambda m: m["kind"] == "reaction")
    assert (got["target"], got["emoji"]) == (target, "👍")


def test_the_clients_quote_and_mention_reach_the_contact(calm: Stage, contact: Contact) -> None:
    target = contact.send(calm.a.phone, text="what?")
    calm.a.message(target)
    info = e2e.ContextInfo(stanzaID=target, participant=contact.lid, mentionedJID=[contact.lid])
    info.quotedMessage.conversation = "what?"
    sent = calm.a.send(contact.phone, e2e.Message(extendedTextMessage={"text": "this", "contextInfo": info}))
    got = contact.got(sent)
    assert (got["quote"]["message_id"], got["quote"]["text"], got["mentions"]) == (target, "what?", [contact.lid])


def test_a_raw_message_is_sent_as_it_is(calm: Stage, contact: Contact) -> None:
    invite = e2e.GroupInviteMessage(groupJID="1@g.us", inviteCode="CODE", groupName="Team")
    raw = base64.b64encode(e2e.Message(groupInviteMessage=invite).SerializeToString()).decode()
    sent = contact.send(calm.a.phone, kind="raw", message=raw)
    assert calm.a.message(sent)["data"]["Message"]["groupInviteMessage"]["groupName"] == "Team"


def test_messages_of_the_accounts_own_phone_reach_the_client_as_its_own(calm: Stage, contact: Contact) -> None:
    own = Contact(calm.sandbox, calm.a.phone, "", "", "")
    sent = own.send(contact.phone, text="typed on the phone")
    event = calm.a.message(sent)
    source = event["data"]["Info"]["MessageSource"]
    assert (text_of(event), source["IsFromMe"], user(source["Chat"])) == ("typed on the phone", True, contact.lid)
    assert contact.got(sent)["text"] == "typed on the phone"


def test_the_accounts_own_phone_sees_what_the_client_sent(calm: Stage, contact: Contact) -> None:
    sent = calm.a.send(contact.phone, "typed at the desk")
    contact.got(sent)
    own = calm.sandbox.get(f"/phones/{calm.a.phone}/messages", own=1, wait=5)["messages"]
    (copy,) = [m for m in own if m["message_id"] == sent]
    assert (copy["own"], copy["chat"], copy["text"], copy["kind"]) == (True, contact.lid, "typed at the desk", "text")


def _next(contact: Contact, where: Callable[[Event], bool]) -> Event:
    return until(lambda: next((m for m in contact.messages() if where(m)), None))


def _info_of(event: Event) -> dict[str, list[str]]:
    whole = neonize_pb.Message.FromString(base64.b64decode(event["b64"]))
    return proto("MessageInfo", whole.Info)
