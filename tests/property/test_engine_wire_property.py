"""Frames between bridge and engine host survive any cut of the stream, and nothing but frames is taken for one."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.engine import wire
from bridge.engine.wire import Call, Close, Hello, Item, Open, Ping, Pong, Progress, Ready, Reply, SandboxTrust, Stop

numbers = st.integers(0, 2**53)
seconds = st.floats(0, 2**33)
words = st.text(max_size=40)
blobs = st.binary(max_size=200)
trusts = st.none() | st.builds(SandboxTrust, words, words, words)
from_bridge = st.one_of(
    st.builds(Hello, numbers, words, words, blobs, trusts, seconds),
    st.builds(Open, numbers, words, blobs),
    st.builds(Call, numbers, words, words, st.lists(blobs | words | numbers | st.booleans()).map(tuple), seconds),
    st.builds(Close, numbers, words),
    st.builds(Progress, words, numbers, numbers, numbers),
    st.builds(Ping, numbers),
    st.builds(Stop, seconds),
)
from_host = st.one_of(
    st.builds(Ready, numbers, numbers, seconds),
    st.builds(Item, words, numbers, seconds, st.integers(-3, 50), blobs, st.booleans()),
    st.builds(Reply, numbers, blobs, words, words),
    st.builds(Pong, numbers, numbers, numbers, numbers, numbers, numbers),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@settings(deadline=None)
@given(st.lists(from_host), st.lists(st.integers(0, 10**6), max_size=20))
def test_what_a_host_says_arrives_whole_however_the_stream_is_cut(
    messages: list[wire.FromHost], cuts: list[int]
) -> None:
    decoder = wire.bridge_side()
    arrived = [m for piece in pieces(b"".join(map(wire.encode, messages)), cuts) for m in decoder.feed(piece)]
    assert arrived == messages


@settings(deadline=None)
@given(st.lists(from_bridge), st.lists(st.integers(0, 10**6), max_size=20))
def test_what_the_bridge_says_arrives_whole_however_the_stream_is_cut(
    messages: list[wire.FromBridge], cuts: list[int]
) -> None:
    decoder = wire.host_side()
    arrived = [m for piece in pieces(b"".join(map(wire.encode, messages)), cuts) for m in decoder.feed(piece)]
    assert arrived == messages


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for_and_never_anything_else(noise: bytes) -> None:
    try:
        wire.bridge_side().feed(noise)
    except wire.BadFrame:
        return


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.BadFrame):
        wire.bridge_side().feed(struct.pack(">I", wire.FRAME_LIMIT + 1))


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(wire.BadFrame):
        wire.encode(Reply(1, bytes(wire.FRAME_LIMIT)))
