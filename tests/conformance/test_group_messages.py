"""Messages in groups, where members are known by their LIDs: every kind, receipts, keys that are missing."""

import base64
import sqlite3
from typing import Any

import pytest

from bridge.protos import e2e, neonize_pb
from tests.support.conformance import Contact, Stage, proto, text_of, until, user

pytestmark = pytest.mark.engine


@pytest.fixture
def group(calm: Stage, contact: Contact) -> str:
    """Return a group of the contact, client `a` and client `b`."""
    members = [calm.a.phone, calm.b.phone]
    return calm.sandbox.post("/groups", phone=contact.phone, subject="Talk", members=members)["group"]


def test_a_text_reaches_all_members(calm: Stage, contact: Contact, group: str) -> None:
    sent = contact.send(group, text="to all")
    for client in (calm.a, calm.b):
        event = client.message(sent)
        source = event["data"]["Info"]["MessageSource"]
        assert (text_of(event), source["IsGroup"], user(source["Chat"])) == ("to all", True, group)
        assert (user(source["Sender"]), user(source["SenderAlt"])) == (contact.lid, contact.jid)
    answer = calm.a.send(group, "from the client")
    got = contact.got(answer)
    assert (got["text"], got["chat"], got["from"]) == ("from the client", group, calm.a.phone)
    assert text_of(calm.b.message(answer)) == "from the client"


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "image": ({"kind": "image", "file": {"size": 500}, "caption": "c"}, "imageMessage"),
    "voice": ({"kind": "voice", "file": {"size": 500}}, "audioMessage"),
    "document": ({"kind": "document", "file": {"size": 500, "name": "a.pdf"}}, "documentMessage"),
    "sticker": ({"kind": "sticker", "file": {"size": 500}}, "stickerMessage"),
    "location": ({"kind": "location", "latitude": 1.0, "longitude": 2.0}, "locationMessage"),
    "contact": ({"kind": "contact", "contacts": [{"name": "Ada"}]}, "contactMessage"),
    "poll": ({"kind": "poll", "question": "?", "options": ["a", "b"]}, "pollCreationMessageV3"),
    "buttons": ({"kind": "buttons", "text": "?", "buttons": [{"id": "1", "text": "One"}]}, "buttonsMessage"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reaches_a_group(calm: Stage, contact: Contact, group: str, kind: str) -> None:
    fields, name = KINDS[kind]
    event = calm.a.message(contact.send(group, **fields))
    assert name in event["data"]["Message"]
    assert user(event["data"]["Info"]["MessageSource"]["Chat"]) == group


def test_reaction_edit_and_revoke_in_a_group_name_author_and_target(calm: Stage, contact: Contact, group: str) -> None:
    sent = calm.a.send(group, "react to me")
    contact.got(sent)
    reaction = calm.a.message(contact.send(group, kind="reaction", target=sent, emoji="👍"))
    key = reaction["data"]["Message"]["reactionMessage"]["key"]
    assert (key["ID"], key["remoteJID"], key["participant"]) == (sent, group, calm.a.lid)
    first = contact.send(group, text="helo")
    edit = calm.a.message(contact.send(group, kind="edit", target=first, text="hello"))
    assert edit["data"]["Info"]["Edit"] == "1"
    revoke = calm.a.message(contact.send(group, kind="revoke", target=first))
    assert revoke["data"]["Message"]["protocolMessage"]["key"]["ID"] == first


def test_a_vote_in_a_group_is_opened_by_the_contact(calm: Stage, contact: Contact, group: str) -> None:
    sent = contact.send(group, kind="poll", question="Tea?", options=["yes", "no"])
    event = neonize_pb.Message.FromString(base64.b64decode(calm.a.message(sent)["b64"]))
    vote = calm.a.call("build_poll_vote", proto("MessageInfo", event.Info), ["no"])
    voted = calm.a.send(group, e2e.Message.FromString(base64.b64decode(vote["b64"])))
    assert contact.got(voted)["options"] == ["no"]


def test_receipts_in_a_group_name_who_got_and_who_read(calm: Stage, contact: Contact, group: str) -> None:
    sent = calm.a.send(group, "who reads?")
    contact.got(sent)
    calm.a.event("Receipt", lambda e: sent in e["MessageIDs"] and user(e["MessageSource"]["Sender"]) == contact.lid)
    contact.post("receipts", message_ids=[sent], type="read")
    read = calm.a.event("Receipt", lambda e: sent in e["MessageIDs"] and e["Type"] == "READ")["data"]
    assert (user(read["MessageSource"]["Chat"]), user(read["MessageSource"]["Sender"])) == (group, contact.lid)


def test_a_new_member_reads_what_is_sent_from_then_on(calm: Stage, contact: Contact) -> None:
    made = calm.sandbox.post("/groups", phone=contact.phone, subject="Grows", members=[calm.a.phone])["group"]
    calm.a.message(contact.send(made, text="before"))
    calm.sandbox.post(f"/groups/{made}/participants", phone=contact.phone, action="add", members=[calm.b.phone])
    since = calm.b.mark()
    sent = contact.send(made, text="after")
    assert text_of(calm.b.message(sent)) == "after"
    assert not [e for e in calm.worker.events[since:] if e["event"] == "UndecryptableMessage"]


def test_who_was_removed_reads_no_more(calm: Stage, contact: Contact, group: str) -> None:
    calm.b.message(contact.send(group, text="with b"))
    calm.sandbox.post(f"/groups/{group}/participants", phone=contact.phone, action="remove", members=[calm.b.phone])
    sent = contact.send(group, text="without b")
    calm.a.message(sent)
    direct = contact.send(calm.b.phone, text="a later one")
    calm.b.message(direct)
    assert sent not in [e["data"]["Info"]["ID"] for e in calm.worker.events if _is_message_of_b(e)]


def test_a_client_without_the_sender_key_is_sent_the_message_again(calm: Stage, contact: Contact, group: str) -> None:
    calm.a.message(contact.send(group, text="with the key"))
    with sqlite3.connect(calm.worker.database) as database:
        database.execute("DELETE FROM whatsmeow_sender_keys WHERE chat_id = ?", (group,))
    database.close()
    sent = contact.send(group, text="without the key")
    calm.a.event("UndecryptableMessage", lambda e: e["Info"]["ID"] == sent)
    assert text_of(calm.a.message(sent)) == "without the key"


def test_a_contact_without_the_sender_key_asks_and_the_client_sends_again(
    calm: Stage, contact: Contact, group: str
) -> None:
    contact.got(calm.a.send(group, "with the key"))
    contact.post("forget", of=calm.a.phone)
    sent = calm.a.send(group, "without the key")
    assert contact.got(sent)["text"] == "without the key"


def test_what_the_accounts_own_phone_writes_into_a_group_is_its_own(calm: Stage, contact: Contact, group: str) -> None:
    own = Contact(calm.sandbox, calm.a.phone, "", "", "")
    sent = own.send(group, text="typed on the phone")
    event = calm.a.message(sent)
    assert (text_of(event), event["data"]["Info"]["MessageSource"]["IsFromMe"]) == ("typed on the phone", True)
    answer = calm.a.send(group, "typed at the desk")
    copy = until(lambda: next((m for m in own.get("messages", own=1)["messages"] if m["message_id"] == answer), None))
    assert (copy["own"], copy["chat"]) == (True, group)


def _is_message_of_b(event: dict[str, Any]) -> bool:
    return event["client"] == "b" and event["event"] == "Message"
