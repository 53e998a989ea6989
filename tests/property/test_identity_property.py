"""What holds for every recipient, however it is written."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.identity import InvalidRecipient, Recipient, Server, parse_recipient

PHONES = st.from_regex(r"[1-9][0-9]{4,14}", fullmatch=True)
DECORATION = st.sampled_from([" ", "-", "(", ")", "\u00a0", "\u2011", "\u200e"])
RECIPIENTS = st.one_of(
    PHONES.map(lambda user: Recipient(user, Server.USER)),
    st.from_regex(r"[0-9]{5,25}", fullmatch=True).flatmap(
        lambda user: st.sampled_from([Server.LID, Server.GROUP, Server.NEWSLETTER]).map(lambda s: Recipient(user, s))
    ),
)


@given(RECIPIENTS)
def test_the_canonical_form_reads_as_itself(recipient: Recipient) -> None:
    assert parse_recipient(recipient.jid) == recipient


@given(PHONES, st.data())
def test_decoration_never_changes_whom_a_number_names(phone: str, data: st.DataObject) -> None:
    decorated = data.draw(st.sampled_from(["", "+"]))
    for digit in phone:
        decorated += digit + data.draw(st.one_of(st.just(""), DECORATION))
    if "(0)" not in decorated:
        assert parse_recipient(decorated).phone == phone


@given(PHONES, st.integers(0, 99))
def test_a_device_of_a_user_is_the_user(phone: str, device: int) -> None:
    assert parse_recipient(f"{phone}:{device}@s.whatsapp.net") == parse_recipient(f"{phone}@c.us")


@given(st.one_of(st.text(max_size=40), st.text(alphabet="0123456789+-() @.:cusgwhatplidne", max_size=40)))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        recipient = parse_recipient(text)
    except InvalidRecipient as error:
        assert str(error)
    else:
        assert parse_recipient(recipient.jid) == recipient
        assert recipient.user.isascii()
