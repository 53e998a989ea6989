"""Who may see events, and what a query asks for."""

import pytest

from receiver import query
from receiver.access import refusal
from receiver.config import build
from receiver.errors import BadQuery, Closed, ConfigError, ForeignHost, NoKey
from tests.unit.test_receiver_config import LEAST

KEY = "a key of sixteen"
LOCAL = {b"host": b"127.0.0.1:5555"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({b"authorization": b"Bearer a key of sixteen"}, True),
        ({b"authorization": b"bearer  a key of sixteen"}, True),
        ({b"x-api-key": b"a key of sixteen"}, True),
        ({}, False),
        ({b"authorization": b"Bearer a key of sixteem"}, False),
        ({b"authorization": b"Bearer "}, False),
        ({b"authorization": b"Basic a key of sixteen"}, False),
        ({b"authorization": b"Bearer wrong", b"x-api-key": b"a key of sixteen"}, False),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_a_key_whoever_has_it_may(host: str, headers: dict[bytes, bytes], allowed: bool) -> None:
    found = refusal(KEY, host, headers | LOCAL)
    assert (found is None) if allowed else isinstance(found, NoKey)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "receiver.example"])
def test_without_a_key_a_receiver_that_others_reach_shows_nothing(host: str) -> None:
    assert isinstance(refusal(None, host, LOCAL), Closed)


@pytest.mark.parametrize("host", [b"127.0.0.1:5555", b"localhost:1", b"localhost", b"[::1]:5555", b"127.8.8.8"])
def test_without_a_key_this_machine_may(host: bytes) -> None:
    assert refusal(None, "127.0.0.1", {b"host": host}) is None


@pytest.mark.parametrize("host", [b"evil.example:5555", b"10.0.0.1", b"", b"localhost.evil.example", b"\xff"])
def test_without_a_key_a_name_that_was_made_to_point_here_may_not(host: bytes) -> None:
    assert isinstance(refusal(None, "127.0.0.1", {b"host": host}), ForeignHost)


@pytest.mark.parametrize("key", ["short", "a key with spaces in it", "ä" * 20])
def test_an_unfit_key_is_refused_at_the_start_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="RECEIVER_API_KEY") as caught:
        build(LEAST | {"RECEIVER_API_KEY": key})
    assert key not in str(caught.value)


def test_a_key_is_in_no_representation() -> None:
    found = build(LEAST | {"RECEIVER_API_KEY": "k" * 20, "RECEIVER_META_SECRET": "m" * 20})
    assert found.api_key == "k" * 20
    assert "kkk" not in repr(found)
    assert "mmm" not in repr(found)


def test_a_stream_goes_on_behind_the_last_event_that_its_client_had() -> None:
    assert query.follow("after=3&last=9", b"7") == (query.Page(after=7), None)
    assert query.follow("after=3&last=9", b"") == (query.Page(after=3), None)
    assert query.follow("last=9&type=a", b"") == (query.Page(type="a"), 9)
    assert query.follow("", b"") == (query.Page(), 0)


@pytest.mark.parametrize(("text", "last"), [("last=1001", b""), ("", b"x"), ("", b"\xb2"), ("limit=3", b"")])
def test_a_stream_that_is_not_understood_is_refused(text: str, last: bytes) -> None:
    with pytest.raises(BadQuery):
        query.follow(text, last)


@pytest.mark.parametrize("text", ["", "parked=true", "handler=a&parked=maybe", "handler=a&state=parked"])
def test_runs_are_asked_for_by_handler(text: str) -> None:
    with pytest.raises(BadQuery):
        query.runs(text)
