"""What counts as a genuine webhook, judged beside the reference library of Standard Webhooks."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.errors import BadHeader, BadSignature, ConfigError, StaleTimestamp, Unverified
from receiver.verify import TOLERANCE_S, Verified, parse_secret, parse_secrets, verify, verify_meta
from receiver.webhooks import Keys

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
OLD, NEW, FOREIGN = ("whsec_" + base64.b64encode(letter * 24).decode() for letter in (b"o", b"n", b"f"))
BODY = '{"text": "grüß dich"}'


def headers_of(
    webhook_id: str = "evt_1", body: str = BODY, *, secret: str = NEW, at: datetime = NOW
) -> dict[bytes, bytes]:
    return {
        b"webhook-id": webhook_id.encode(),
        b"webhook-timestamp": str(int(at.timestamp())).encode(),
        b"webhook-signature": Webhook(secret).sign(webhook_id, at, body).encode(),
    }


def check(headers: dict[bytes, bytes], body: bytes = BODY.encode(), *, secrets: tuple[str, ...] = (NEW,)) -> Verified:
    return verify([parse_secret(text) for text in secrets], headers, body, NOW.timestamp())


def test_what_the_reference_library_signs_is_verified() -> None:
    assert check(headers_of()) == Verified("evt_1", int(NOW.timestamp()))


@given(body=st.text(), key=st.binary(min_size=24, max_size=64), position=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_changed_byte_is_refused_by_us_and_by_the_reference_library_alike(
    body: str, key: bytes, position: int, bit: int
) -> None:
    at, secret = datetime.now(UTC), "whsec_" + base64.b64encode(key).decode()
    headers = headers_of(body=body, secret=secret, at=at)
    changed = bytearray(body.encode())
    if position < len(changed):
        changed[position] ^= 1 << bit
    try:
        text = {name.decode(): value.decode() for name, value in headers.items()}
        Webhook(secret).verify(bytes(changed), text, json_parse=False)
        expected = True
    except (WebhookVerificationError, UnicodeDecodeError):
        expected = False
    try:
        verify([parse_secret(secret)], headers, bytes(changed), at.timestamp())
        assert expected
    except Unverified:
        assert not expected


def test_one_of_several_signatures_is_enough_whatever_its_place_and_version() -> None:
    good, foreign = headers_of(), headers_of(secret=FOREIGN)[b"webhook-signature"]
    good[b"webhook-signature"] = (
        b"v1a,bm90aGluZw== " + foreign + b" v1,not-base64 nonsense " + good[b"webhook-signature"]
    )
    assert check(good).webhook_id == "evt_1"


@pytest.mark.parametrize("signing", [OLD, NEW])
def test_during_a_rotation_either_secret_is_accepted(signing: str) -> None:
    assert check(headers_of(secret=signing), secrets=(OLD, NEW)).webhook_id == "evt_1"


def test_a_signature_of_another_version_is_not_a_signature() -> None:
    headers = headers_of()
    headers[b"webhook-signature"] = headers[b"webhook-signature"].replace(b"v1,", b"v2,")
    with pytest.raises(BadSignature):
        check(headers)


def test_a_foreign_secret_is_refused() -> None:
    with pytest.raises(BadSignature):
        check(headers_of(secret=FOREIGN), secrets=(OLD, NEW))


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp"])
def test_id_and_timestamp_are_signed(name: bytes) -> None:
    headers = headers_of()
    headers[name] = headers[name][:-1] + (b"2" if headers[name][-1:] != b"2" else b"3")
    with pytest.raises(BadSignature):
        check(headers)


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_each_header_is_needed(name: bytes) -> None:
    headers = headers_of()
    del headers[name]
    with pytest.raises(BadHeader, match=name.decode()):
        check(headers)


@pytest.mark.parametrize("seconds", [-TOLERANCE_S, TOLERANCE_S])
def test_a_clock_may_be_five_minutes_off(seconds: int) -> None:
    assert check(headers_of(at=NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize("seconds", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_an_older_or_later_timestamp_is_stale_though_it_is_signed(seconds: int) -> None:
    with pytest.raises(StaleTimestamp):
        check(headers_of(at=NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize("timestamp", [b"", b"-1", b"1e9", b"nan", b"1700000000.5", b"\xb2", b" 1", b"9" * 13])
def test_a_timestamp_is_whole_seconds(timestamp: bytes) -> None:
    with pytest.raises(BadHeader, match="webhook-timestamp"):
        check(headers_of() | {b"webhook-timestamp": timestamp})


@pytest.mark.parametrize("webhook_id", [b"evt.1", b"evt 1", b"\x00", b"\xff", b"e" * 256])
def test_an_id_that_could_end_elsewhere_in_the_signed_content_is_refused(webhook_id: bytes) -> None:
    with pytest.raises(BadHeader, match="webhook-id"):
        check(headers_of() | {b"webhook-id": webhook_id})


META = b"the secret of an app at Meta"


def meta_headers(body: bytes, secret: bytes = META) -> dict[bytes, bytes]:
    """As Meta's documentation has it: sha256= and the hexadecimal HMAC of the payload under the app's secret."""
    return {b"x-hub-signature-256": b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()}


def test_metas_form_is_verified_as_in_its_documentation() -> None:
    # printf Hello | openssl dgst -sha256 -hmac "the secret of an app at Meta"
    known = {b"x-hub-signature-256": b"sha256=872cfe27f25ae6ca337206be81721c8977a2e8983aea6517f65f815a87428431"}
    assert known == meta_headers(b"Hello")
    found = verify_meta([b"another secret", META], known, b"Hello")
    assert found == Verified("meta_" + hashlib.sha256(b"Hello").hexdigest(), None)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, BadHeader),
        ({b"x-hub-signature-256": b"sha1=" + b"0" * 64}, BadHeader),
        ({b"x-hub-signature-256": b"sha256=" + b"0" * 63}, BadHeader),
        (meta_headers(b"Hello", b"a foreign secret"), BadSignature),
        (meta_headers(b"hello"), BadSignature),
    ],
)
def test_what_is_not_in_metas_form_or_not_signed_is_refused(
    headers: dict[bytes, bytes], error: type[Exception]
) -> None:
    with pytest.raises(error):
        verify_meta([META], headers, b"Hello")


def test_metas_form_counts_only_where_it_is_configured_and_never_instead_of_the_standard_one() -> None:
    body, now = BODY.encode(), NOW.timestamp()
    with pytest.raises(BadHeader):
        Keys((parse_secret(NEW),)).verify(meta_headers(body), body, now)
    both = Keys((parse_secret(NEW),), (META,))
    assert both.verify(meta_headers(body), body, now).webhook_id.startswith("meta_")
    assert both.verify(headers_of() | meta_headers(body), body, now).webhook_id == "evt_1"
    with pytest.raises(BadSignature):
        both.verify(headers_of(secret=FOREIGN) | meta_headers(body), body, now)


def test_every_secret_is_compared_with_every_signature_whatever_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(real(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    headers = headers_of(secret=OLD)
    headers[b"webhook-signature"] += b" v1,AAAA"
    check(headers, secrets=(OLD, NEW))
    assert sorted(compared) == [False, False, False, True]


@pytest.mark.parametrize(
    "text", ["whsec_", "whsec_%%%", "whsec_" + base64.b64encode(b"short").decode(), "é", "x" * 200]
)
def test_an_unfit_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_secret(text)
    assert text.removeprefix("whsec_") not in str(caught.value) or text == "whsec_"


def test_secrets_come_apart_at_spaces_commas_and_lines_and_count_once() -> None:
    assert parse_secrets([f"{OLD} {NEW}\n", f",{OLD},", ""]) == (b"o" * 24, b"n" * 24)


def test_a_secret_may_lack_prefix_and_padding() -> None:
    key = bytes(range(25))
    assert parse_secret(base64.b64encode(key).decode().rstrip("=")) == key
