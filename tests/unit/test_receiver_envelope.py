"""What the receiver reads out of a body, and what it refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.envelope import Index, index
from receiver.errors import BadBody

NOTHING = Index(None, None, None, None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["chat", "id", "x"]), inner, max_size=3)
    ),
)


def test_the_searchable_fields_are_found() -> None:
    body = b'{"instance":"k","type":"message.received","seq":7,"data":{"chat":{"id":"1@s.whatsapp.net"}}}'
    assert index(body) == Index("k", "message.received", 7, "1@s.whatsapp.net")


def test_a_flat_chat_id_serves_where_there_is_no_chat_object() -> None:
    assert index(b'{"data":{"chat_id":"1@g.us"}}').chat == "1@g.us"


@pytest.mark.parametrize(
    "body",
    [
        b'{"instance":5,"type":[],"seq":"7","data":"x"}',
        b'{"instance":"a\\u0000b","type":null,"seq":true,"data":{"chat":{"id":9}}}',
        b'{"seq":9223372036854775808,"data":{"chat":[]}}',
        b'{"seq":1.5}',
        json.dumps({"type": "t" * 256, "data": {"chat": {"id": "c" * 256}}}).encode(),
    ],
)
def test_a_field_that_the_database_could_not_index_is_left_out(body: bytes) -> None:
    assert index(body) == NOTHING


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"x"', b"null", b"{", b"{} {}", b'{"x":NaN}', b'{"x":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        index(body)


@given(st.fixed_dictionaries({"instance": JSON, "type": JSON, "seq": JSON, "data": JSON}))
def test_any_json_object_has_an_index_that_fits_the_columns(value: dict[str, object]) -> None:
    found = index(json.dumps(value).encode())
    for text in (found.instance, found.type, found.chat):
        assert text is None or (len(text.encode()) <= 4 * 255 and "\0" not in text)
    assert found.seq is None or -(2**63) <= found.seq < 2**63
