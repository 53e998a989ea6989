"""The parser of recipients: each form that callers write, and each refusal with its advice."""

import pytest

from bridge.domain.identity import InvalidRecipient, Recipient, Server, parse_recipient, phone_of


@pytest.mark.parametrize(
    ("written", "jid"),
    [
        ("4915112345678", "4915112345678@s.whatsapp.net"),
        ("+4915112345678", "4915112345678@s.whatsapp.net"),
        (" +49 (151) 123-45678 ", "4915112345678@s.whatsapp.net"),
        ("\u202a+49\u00a0151\u201112345678\u202c", "4915112345678@s.whatsapp.net"),
        ("4915112345678@s.whatsapp.net", "4915112345678@s.whatsapp.net"),
        ("4915112345678@c.us", "4915112345678@s.whatsapp.net"),
        ("4915112345678:12@s.whatsapp.net", "4915112345678@s.whatsapp.net"),
        ("4915112345678.0:12@S.WhatsApp.Net", "4915112345678@s.whatsapp.net"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("123456789012345:3@lid", "123456789012345@lid"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
        ("120363025246125486", "120363025246125486@g.us"),
        ("4915112345678-1600000000@g.us", "4915112345678-1600000000@g.us"),
        ("4915112345678-1600000000", "4915112345678-1600000000@g.us"),
        ("120363025246125486@newsletter", "120363025246125486@newsletter"),
    ],
)
def test_every_written_form_becomes_its_canonical_jid(written: str, jid: str) -> None:
    assert parse_recipient(written).jid == jid


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("alice", "neither a phone number"),
        ("+49 151 CALL", "neither a phone number"),
        ("49+151", "neither a phone number"),
        ("++4915112345678", "neither a phone number"),
        ("٤٩١٥١١٢٣٤٥٦٧٨", "neither a phone number"),
        ("+", "neither a phone number"),
        ("004915112345678", "begins with 00"),
        ("015112345678", "country code"),
        ("+49 (0)151 1234567", "(0)"),
        ("1234", "4 digits"),
        ("1234567890123456", "16 digits"),
        ("4915112345678@example.com", "unknown server"),
        ("4915112345678@", "unknown server"),
        ("@s.whatsapp.net", "before the @"),
        ("+4915112345678@s.whatsapp.net", "before the @"),
        ("4915112345678:@s.whatsapp.net", "before the @"),
        ("a@b@s.whatsapp.net", "before the @"),
        ("status@broadcast", "broadcast"),
        ("abc@g.us", "group id"),
        ("abc@newsletter", "newsletter"),
        ("abc@lid", "before the @"),
        ("1" * 200, "longer than"),
    ],
)
def test_what_cannot_be_read_is_refused_with_advice(written: str, advice: str) -> None:
    with pytest.raises(InvalidRecipient) as caught:
        parse_recipient(written)
    assert advice in str(caught.value)


def test_only_a_user_jid_tells_the_phone_number() -> None:
    assert Recipient("4915112345678", Server.USER).phone == "4915112345678"
    assert Recipient("123456789012345", Server.LID).phone is None


@pytest.mark.parametrize(
    ("jid", "phone"),
    [
        ("4915112345678:12@s.whatsapp.net", "4915112345678"),
        ("123456789012345:3@lid", None),
        ("4915112345678", None),
        ("nonsense@s.whatsapp.net", None),
        (None, None),
    ],
)
def test_the_phone_of_a_device_is_read_from_its_jid(jid: str | None, phone: str | None) -> None:
    assert phone_of(jid) == phone
