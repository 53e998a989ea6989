"""Requests out of bytes, answers into bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import BodyTooLarge, HeadTooLarge, MalformedRequest, RequestError
from receiver.http import MAX_BODY_BYTES, MAX_HEAD_BYTES, Request, RequestReader, Response, encode

POST = b"POST /webhook?a=1 HTTP/1.1\r\nHost: x\r\nWebhook-Id: evt_1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


def read(*pieces: bytes) -> list[Request]:
    reader, requests = RequestReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next_request()) is not None:
            requests.append(request)
    return requests


def head(*lines: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" / HTTP/1.1", b"host: x", *lines, b"", b""])


def test_a_request_is_taken_apart() -> None:
    [request] = read(POST)
    assert (request.method, request.path, request.query, request.body) == ("POST", "/webhook", "a=1", b"hello")
    assert request.headers[b"webhook-id"] == b"evt_1"
    assert request.keep_alive


@given(cuts=st.lists(st.integers(0, len(POST + CHUNKED + POST)), max_size=8).map(sorted))
def test_requests_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    stream = POST + CHUNKED + POST
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges) if start < end]
    assert read(*pieces) == read(stream)
    assert [request.body for request in read(*pieces)] == [b"hello"] * 3


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(b"connection: close"),
        b"GET / HTTP/1.0\r\n\r\n",
        head(b"upgrade: websocket", b"connection: upgrade"),
    ],
)
def test_the_last_request_of_a_connection_is_known(request_bytes: bytes) -> None:
    [request] = read(request_bytes)
    assert not request.keep_alive


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        head(b"bad header"),
        head(b"name : value"),
        head(b"x: a\x00b"),
        head(b"content-length: 5", b"content-length: 6"),
        head(b"content-length: five"),
        head(b"content-length: " + b"9" * 5000),
        head(b"content-length: 5", b"transfer-encoding: gzip"),
        head(b"transfer-encoding: chunked") + b"zz\r\n",
        head(b"transfer-encoding: chunked", b"content-length: 5"),
        head(b"host: y"),
        head(b"x: folded", b" value"),
        b"GET / HTTP/1.1\nhost: x\n\n",
        b"PRI * HTTP/2.0\r\nhost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused(request_bytes: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(request_bytes)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_get_refused(data: bytes) -> None:
    try:
        read(data, b"")
    except RequestError as error:
        assert 400 <= error.status < 500


@pytest.mark.parametrize("end", [b"", b"\r\nhost: x\r\n\r\n"], ids=["before it ends", "in one piece"])
def test_a_long_head_is_refused(end: bytes) -> None:
    with pytest.raises(HeadTooLarge):
        read(b"GET / HTTP/1.1\r\nx: " + b"a" * MAX_HEAD_BYTES + end)


def test_what_comes_before_a_malformed_request_is_answered() -> None:
    reader = RequestReader()
    reader.feed(POST + b"nonsense\r\n\r\n")
    assert reader.next_request() is not None
    with pytest.raises(MalformedRequest):
        reader.next_request()


def test_a_large_body_is_refused_by_its_announcement() -> None:
    with pytest.raises(BodyTooLarge):
        read(head(b"content-length: %d" % (MAX_BODY_BYTES + 1), method=b"POST"))


def test_a_large_body_is_refused_when_it_is_not_announced() -> None:
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    with pytest.raises(BodyTooLarge):
        read(head(b"transfer-encoding: chunked", method=b"POST"), *[chunk] * 16)


def test_trailers_are_no_headers() -> None:
    chunks = b"2\r\nhi\r\n0\r\nwebhook-id: evt_2\r\n\r\n"
    [request] = read(head(b"transfer-encoding: chunked", b"webhook-id: evt_1", method=b"POST") + chunks)
    assert (request.headers[b"webhook-id"], request.body) == (b"evt_1", b"hi")


@pytest.mark.parametrize("begin", [b"2\r\nhi\r\n0\r\nx: ", b"2;"], ids=["a trailer", "a chunk's extension"])
def test_what_frames_a_body_is_bounded(begin: bytes) -> None:
    with pytest.raises(HeadTooLarge):
        read(head(b"transfer-encoding: chunked", method=b"POST") + begin, b"a" * MAX_HEAD_BYTES, b"a")


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    [request] = read(head(b"content-length: %d" % MAX_BODY_BYTES, method=b"POST"), b"a" * MAX_BODY_BYTES)
    assert len(request.body) == MAX_BODY_BYTES


def test_a_client_that_waits_for_leave_to_send_is_noticed() -> None:
    reader = RequestReader()
    reader.feed(head(b"expect: 100-continue", b"content-length: 5", method=b"POST"))
    assert reader.next_request() is None
    assert reader.wants_continue


def test_an_answer_says_its_length_and_type_and_whether_it_is_the_last() -> None:
    assert encode(Response(503, b"{}", (("retry-after", "1"),)), close=True) == (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"retry-after: 1\r\nconnection: close\r\n\r\n{}"
    )


def test_the_answer_to_head_has_no_body() -> None:
    assert encode(Response(200, b"{}"), close=False, head_only=True).endswith(b"content-length: 2\r\n\r\n")
