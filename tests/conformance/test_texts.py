"""Texts, one to one: what the contact sees and what the client sees."""

import pytest

from tests.support.conformance import Contact, Stage, jid, text_of, user

pytestmark = pytest.mark.engine


def test_a_text_from_a_contact_reaches_the_client(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, text="hello")
    got = calm.a.message(sent)
    source = got["data"]["Info"]["MessageSource"]
    assert text_of(got) == "hello"
    assert (user(source["Sender"]), user(source["SenderAlt"])) == (contact.lid, contact.jid)


def test_a_text_from_the_client_reaches_the_contact(calm: Stage, contact: Contact) -> None:
    sent = calm.a.call("send_message", jid(contact.phone), "hello yourself")["data"]["ID"]
    got = contact.got(sent)
    assert (got["text"], got["from"]) == ("hello yourself", calm.a.phone)
