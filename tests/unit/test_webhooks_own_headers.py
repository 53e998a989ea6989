"""Headers that an owner may set on webhooks: none that belong to the connection or to the bridge."""

import pytest

from bridge.webhooks.own_headers import COUNT_MAX, VALUE_MAX, HeaderRefused, judge


def test_what_a_proxy_asks_for_may_be_set() -> None:
    judge({"Authorization": "Bearer abc.def", "X-Tenant": "7", "CF-Access-Client-Id": "a b"})
    judge({})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("", "x", "name"),
        ("X Y", "x", "name"),
        ("X:Y", "x", "name"),
        ("X-Ü", "x", "name"),
        ("x" * 65, "x", "name"),
        ("Connection", "close", "connection"),
        ("TRANSFER-ENCODING", "chunked", "connection"),
        ("Keep-Alive", "1", "connection"),
        ("Proxy-Authorization", "x", "connection"),
        ("TE", "x", "connection"),
        ("Trailer", "x", "connection"),
        ("Upgrade", "h2c", "connection"),
        ("Host", "x", "bridge"),
        ("Content-Length", "0", "bridge"),
        ("Content-Type", "text/plain", "bridge"),
        ("Content-Encoding", "gzip", "bridge"),
        ("Expect", "100-continue", "bridge"),
        ("User-Agent", "x", "bridge"),
        ("Webhook-Id", "x", "bridge"),
        ("webhook-signature", "x", "bridge"),
        ("X-Webhook-Attempt", "x", "bridge"),
        ("X-Webhook-Replay", "x", "bridge"),
        ("X-Instance-Key", "x", "bridge"),
        ("X-Hub-Signature-256", "x", "bridge"),
        ("X-A", "", "printable"),
        ("X-A", " x", "printable"),
        ("X-A", "a\r\nX-Evil: 1", "printable"),
        ("X-A", "a\0", "printable"),
        ("X-A", "ü", "printable"),
        ("X-A", "x" * (VALUE_MAX + 1), "longer"),
    ],
)
def test_a_header_is_refused_with_its_reason(name: str, value: str, reason: str) -> None:
    with pytest.raises(HeaderRefused, match=reason):
        judge({name: value})


def test_neither_two_of_one_name_nor_too_many() -> None:
    with pytest.raises(HeaderRefused, match="twice"):
        judge({"X-A": "1", "x-a": "2"})
    with pytest.raises(HeaderRefused, match="allowed"):
        judge({f"X-{number}": "1" for number in range(COUNT_MAX + 1)})
