"""Bodies: what is read, and which field is named when it is not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api.body import MAX_DEPTH, decode, depth, is_json
from bridge.api.idempotency import derived_endpoint_id, derived_instance_key, idempotency_key, request_hash
from bridge.api.problems import InvalidField, MalformedBody
from bridge.api.schemas import ConnectInstance, CreateInstance
from bridge.api.schemas_messages import SendText


@pytest.mark.parametrize(
    ("raw", "kind", "field"),
    [
        (b'{"phone":1,"message":"x"}', SendText, "phone"),
        (b'{"phone":"1","message":["x"]}', SendText, "message"),
        (b'{"phone":"1"}', SendText, "message"),
        (b'{"phone":"1","message":""}', SendText, "message"),
        (b'{"phone":"1","message":"x","mode":"later"}', SendText, "mode"),
        (b'{"webhook":{"url":1}}', CreateInstance, "webhook.url"),
        (b'{"webhook":{}}', CreateInstance, "webhook.url"),
        (b'{"webhook":{"url":"http://a","events":["No Such"]}}', CreateInstance, "webhook.events[0]"),
        (b'{"metadata":[]}', CreateInstance, "metadata"),
        (b'{"wait_s":31}', ConnectInstance, "wait_s"),
        (b'{"wait_s":"1"}', ConnectInstance, "wait_s"),
        (b"[]", CreateInstance, "body"),
        (b"null", CreateInstance, "body"),
    ],
)
def test_a_wrong_type_or_value_names_its_field(raw: bytes, kind: type, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        decode(raw, kind)
    assert caught.value.fields == {"field": field}
    assert f"`{field}`" in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"{", b"{]", b"\xff", b'"\xed\xa0\x80"', b'{"name":"\\ud800"}', b"[" * 100_000, b'{"name":"a\\u0000b"}']
)
def test_what_is_not_json_or_cannot_be_stored_is_malformed(raw: bytes) -> None:
    with pytest.raises((MalformedBody, InvalidField)):
        decode(raw, CreateInstance)


def test_a_nul_is_found_in_nested_metadata_and_a_backslash_is_not_taken_for_one() -> None:
    with pytest.raises(MalformedBody, match="NUL"):
        decode(b'{"metadata":{"a":[{"b\\u0000":1}]}}', CreateInstance)
    assert decode(b'{"name":"\\\\u0000"}', CreateInstance).name == "\\u0000"


def test_fields_that_are_not_known_are_ignored_as_by_the_original() -> None:
    assert decode(b'{"name":"a","colour":"red"}', CreateInstance).name == "a"


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        decode(raw, CreateInstance)
    except (MalformedBody, InvalidField) as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content_type", "read"),
    [
        (b"", True),
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/vnd.api+json", True),
        (b"application/x-www-form-urlencoded", False),
        (b"text/plain", False),
        (b"multipart/form-data; boundary=x", False),
    ],
)
def test_types_that_a_web_page_can_send_unasked_are_not_read(content_type: bytes, read: bool) -> None:
    assert is_json(content_type) is read


def test_depth_is_measured_without_recursion() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert depth(deep) > MAX_DEPTH
    assert depth({"a": [{"b": 1}]}) == 3
    assert depth({}) == 0
    del deep


@pytest.mark.parametrize("raw", [b"", b" ", b"a" * 256, b"\xff", b"a\x00b", b" a"])
def test_an_idempotency_key_that_is_not_short_printable_ascii_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidField):
        idempotency_key({b"idempotency-key": raw})


@pytest.mark.parametrize("raw", [b"a", b"a b", b"a" * 255])
def test_an_idempotency_key_of_1_to_255_characters_is_taken(raw: bytes) -> None:
    assert idempotency_key({b"idempotency-key": raw}) == raw.decode()


def test_a_request_hash_depends_on_the_meaning_alone() -> None:
    assert request_hash("text", ("a", "b", None)) == request_hash("text", ("a", "b", None))
    assert request_hash("text", ("a", "b", None)) != request_hash("text", ("a", "bb", None))
    assert request_hash("text", ("a", "b", None)) != request_hash("media", ("a", "b", None))


def test_derived_ids_have_the_shape_of_drawn_ones() -> None:
    assert msgspec.json.encode(derived_instance_key("k")) == msgspec.json.encode(derived_instance_key("k"))
    assert len(derived_instance_key("k")) == 32
    assert derived_instance_key("k") != derived_instance_key("l")
    assert len(derived_endpoint_id("k")) == len("whk_") + 26
