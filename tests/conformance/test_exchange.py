"""What goes with messages: receipts, typing, presence, what waits for a client, what has to be sent again."""

import sqlite3

import pytest

from tests.support.conformance import Client, Contact, Event, Stage, jid, text_of, until, user

pytestmark = pytest.mark.engine


def _receipt(client: Client, message_id: str, kind: str) -> Event:
    return client.event("Receipt", lambda e: message_id in e["MessageIDs"] and e.get("Type", "DELIVERED") == kind)


def test_a_contact_confirms_reads_and_plays(calm: Stage, contact: Contact) -> None:
    sent = calm.a.send(contact.phone, "tick")
    contact.got(sent)
    delivered = calm.a.event("Receipt", lambda e: sent in e["MessageIDs"])["data"]
    assert user(delivered["MessageSource"]["Sender"]) == contact.lid
    contact.post("receipts", message_ids=[sent], type="read")
    _receipt(calm.a, sent, "READ")
    contact.post("receipts", message_ids=[sent], type="played")
    _receipt(calm.a, sent, "PLAYED")


def test_several_messages_are_read_in_one_receipt(calm: Stage, contact: Contact) -> None:
    sent = [calm.a.send(contact.phone, f"number {index}") for index in range(3)]
    for message_id in sent:
        contact.got(message_id)
    contact.post("receipts", message_ids=sent, type="read")
    read = calm.a.event("Receipt", lambda e: e["Type"] == "READ" and sent[0] in e["MessageIDs"])["data"]
    assert read["MessageIDs"] == sent


def test_the_client_confirms_reads_and_plays(calm: Stage, contact: Contact) -> None:
    sent = contact.send(calm.a.phone, kind="voice", file={"size": 500})
    calm.a.message(sent)
    chat = jid(contact.lid)
    for kind, word in (("READ", "read"), ("PLAYED", "played")):
        calm.a.call("mark_read", sent, chat=chat, sender=chat, receipt={"enum": ["ReceiptType", kind]})
        until(lambda word=word: word in _types(contact, sent))
    assert _types(contact, sent)[0] in ("delivered", "inactive")
    (first, *_) = contact.get("receipts", message_id=sent)["receipts"]
    assert (first["from"], first["from_device"]) == (calm.a.phone, f"{calm.a.lid.replace('@', ':1@')}")


@pytest.mark.parametrize(
    ("state", "expected"),
    [("composing", ("COMPOSING", "TEXT")), ("recording", ("COMPOSING", "AUDIO")), ("paused", ("PAUSED", "TEXT"))],
)
def test_a_contact_types_and_records(calm: Stage, contact: Contact, state: str, expected: tuple[str, str]) -> None:
    contact.post("typing", to=calm.a.phone, state=state)
    event = calm.a.event("ChatPresence", lambda e: user(e["MessageSource"]["Sender"]) == contact.lid)["data"]
    assert (event.get("State", "COMPOSING").removeprefix("CHAT_PRESENCE_"), _media(event)) == expected


def test_the_client_types_and_records(calm: Stage, contact: Contact) -> None:
    def moments() -> list[str]:
        return [m["state"] for m in contact.get("moments")["moments"] if m["kind"] == "typing"]

    for state, media in (("COMPOSING", "TEXT"), ("COMPOSING", "AUDIO"), ("PAUSED", "TEXT")):
        calm.a.call(
            "send_chat_presence",
            jid(contact.lid),
            {"enum": ["ChatPresence", f"CHAT_PRESENCE_{state}"]},
            {"enum": ["ChatPresenceMedia", f"CHAT_PRESENCE_MEDIA_{media}"]},
        )
    until(lambda: len(moments()) == 3)
    assert moments() == ["composing", "recording", "paused"]


def test_a_client_that_subscribed_sees_a_contact_come_and_go(calm: Stage, contact: Contact) -> None:
    calm.a.call("subscribe_presence", jid(contact.lid))
    contact.post("presence", online=True)
    calm.a.event("Presence", lambda e: user(e["From"]) == contact.lid and not e.get("Unavailable"))
    contact.post("presence", online=False)
    gone = calm.a.event("Presence", lambda e: user(e["From"]) == contact.lid and int(e.get("LastSeen", 0)) > 0)
    assert gone["data"]["Unavailable"]


def test_a_contact_that_subscribed_sees_the_client_come_and_go(calm: Stage, contact: Contact) -> None:
    contact.post("watch", to=calm.b.phone)

    def states() -> list[str]:
        return [m["state"] for m in contact.get("moments")["moments"] if m["kind"] == "presence"]

    for name in ("UNAVAILABLE", "AVAILABLE"):
        calm.b.call("send_presence", {"enum": ["Presence", name]})
        until(lambda name=name: states()[-1:] == [name.lower()])


def test_a_client_whose_connection_ends_is_seen_to_go(own: Stage) -> None:
    contact = own.sandbox.contact()
    contact.post("watch", to=own.b.phone)
    until(lambda: [m["state"] for m in contact.get("moments")["moments"]] == ["available"])
    own.sandbox.post("/faults", kind="cut", phone=own.b.phone)
    until(lambda: "unavailable" in [m["state"] for m in contact.get("moments")["moments"]])


def test_what_comes_while_the_client_is_away_waits_in_order(own: Stage) -> None:
    contact = own.sandbox.contact()
    own.a.call("stop")
    until(lambda: not own.sandbox.get(f"/phones/{own.a.phone}")["devices"][0]["online"])
    sent = [contact.send(own.a.phone, text=f"waiting {index}") for index in range(30)]
    photo = contact.send(own.a.phone, kind="image", file={"size": 2000})
    since = own.a.mark()
    own.worker.call("a2", "start", own.a.jid)
    again = Client(own.worker, "a2", own.a.phone, own.a.jid, own.a.lid)
    again.event("OfflineSyncCompleted")
    again.message(photo)
    got = [e for e in own.worker.events[since:] if e["event"] == "Message" and e["client"] == "a2"]
    assert [e["data"]["Info"]["ID"] for e in got] == [*sent, photo]


def test_what_another_client_of_the_number_sends_is_its_own(own: Stage) -> None:
    contact = own.sandbox.contact()
    other = own.worker.pair("b2", own.b.phone)
    sent = other.send(contact.phone, "from the other desk")
    source = own.b.message(sent)["data"]["Info"]["MessageSource"]
    assert (source["IsFromMe"], user(source["Chat"]), user(source["Sender"])) == (True, contact.lid, own.b.lid)
    assert contact.got(sent)["from"] == own.b.phone
    answer = contact.send(own.b.phone, text="to all of you")
    for client in (own.b, other):
        assert text_of(client.message(answer)) == "to all of you"


def test_what_a_client_could_not_read_is_sent_again(own: Stage) -> None:
    contact = own.sandbox.contact()
    own.b.message(contact.send(own.b.phone, text="first"))
    contact.got(own.b.send(contact.phone, "now no prekeys are sent along"))
    with sqlite3.connect(own.worker.database) as database:
        database.execute("DELETE FROM whatsmeow_sessions")
    database.close()
    sent = contact.send(own.b.phone, kind="location", latitude=1.0, longitude=2.0)
    own.b.event("UndecryptableMessage", lambda e: e["Info"]["ID"] == sent)
    assert "locationMessage" in own.b.message(sent)["data"]["Message"]


def test_what_a_contact_could_not_read_it_asks_for_and_gets(calm: Stage, contact: Contact) -> None:
    calm.a.message(contact.send(calm.a.phone, text="first"))
    contact.got(calm.a.send(contact.phone, "second"))
    contact.post("forget", of=calm.a.phone)
    sent = calm.a.send(contact.phone, "who can read this?")
    assert contact.got(sent)["text"] == "who can read this?"
    asked = calm.a.event("Receipt", lambda e: sent in e["MessageIDs"] and e.get("Type") == "RETRY")["data"]
    assert user(asked["MessageSource"]["Sender"]) == contact.lid
    (only,) = [m for m in contact.messages() if m["message_id"] == sent]
    assert text_of(calm.a.message(contact.send(calm.a.phone, text=f"I can: {only['text']}"))).startswith("I can")


def _types(contact: Contact, message_id: str) -> list[str]:
    return [receipt["type"] for receipt in contact.get("receipts", message_id=message_id)["receipts"]]


def _media(event: Event) -> str:
    return str(event.get("Media", "TEXT")).removeprefix("CHAT_PRESENCE_MEDIA_")
