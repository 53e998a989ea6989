"""Requests that come in one piece: which they are, that none is taken for one that is not, and how each is answered."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from bridge.api import hypercorn_fixes
from bridge.api.context import Limits
from bridge.api.edge import Edge
from bridge.api.hypercorn_fixes import Message, Receive, Send
from bridge.api.whole import HEAD_MAX, WHOLE, WHOLE_MAX, read_head
from tests.support.api import API_KEY, DEADLINE_S, eventually, running_api, serving

App = Callable[[Message, Receive, Send], Awaitable[None]]
HOST = b"Host: x\r\n"
POST = b"POST /a HTTP/1.1\r\n" + HOST


def test_a_plain_request_is_read() -> None:
    head = read_head(POST + b"X-Key:  a b \t\r\nContent-LENGTH: 5\r\nConnection: Keep-Alive\r\n\r\nhello")
    assert head is not None
    assert (head.method, head.target, head.body_bytes) == ("POST", b"/a", 5)
    assert head.headers == [
        (b"host", b"x"),
        (b"x-key", b"a b"),
        (b"content-length", b"5"),
        (b"connection", b"Keep-Alive"),
    ]
    assert read_head(POST + b"Content-Length: 5\r\n\r\nhe") is not None, "the rest may come"


@pytest.mark.parametrize(
    "data",
    [
        # two lengths, or one that is not a number: what smuggles requests past a proxy
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        POST + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: 0x5\r\n\r\nhello",
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        POST + b"Content-Length: \r\n\r\nhello",
        POST + b"Content-Length : 5\r\n\r\nhello",
        POST + b"X: a\r\n Content-Length: 5\r\n\r\nhello",
        # lines that end otherwise, and bytes that no head has
        POST + b"X: a\nContent-Length: 5\r\n\r\nhello",
        POST + b"X: a\rContent-Length: 5\r\n\r\nhello",
        POST + b"X: a\0b\r\n\r\n",
        POST + b"X: \xe4\r\n\r\n",
        POST + b": a\r\n\r\n",
        POST + b"no colon\r\n\r\n",
        b"POST /a HTTP/1.1\n" + HOST + b"\r\n",
        b"POST /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST  /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
        # more than the request, or not all of its head
        POST + b"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        POST + b"\r\nhello",
        POST + b"Content-Length: 5\r\n",
        POST + b"X: " + b"x" * HEAD_MAX + b"\r\n\r\n",
        POST + b"Content-Length: %d\r\n\r\n" % (WHOLE_MAX + 1),
        # what asks for something
        b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET http://x/a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        POST + b"Connection: close\r\n\r\n",
        POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        POST + b"Upgrade: h2c\r\n\r\n",
        POST + b"Trailer: x\r\n\r\n",
        POST + b"TE: trailers\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_h11(data: bytes) -> None:
    assert read_head(data) is None


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with which way it came and with the body."""
    body = b"whole:" if WHOLE in scope else b"pieces:"
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def talk(app: App, *parts: bytes, until: bytes) -> bytes:
    """Send the parts, each when the server has had time for the last, and return what comes up to `until`."""
    async with serving(app) as (_, bound, _), await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
        return await _told(stream, *parts, until=until)


async def _told(stream: trio.SocketStream, *parts: bytes, until: bytes) -> bytes:
    received = b""
    with trio.fail_after(DEADLINE_S):
        for part in parts:
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        while until not in received:
            chunk = bytes(await stream.receive_some(65_536))
            assert chunk, received
            received += chunk
    return received


FIVE = POST + b"Content-Length: 5\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_head_and_body_leave_in_one_piece_when_they_came_so() -> None:
    assert (await talk(echo, FIVE + b"hello", until=b"hello")).endswith(b"\r\n\r\nwhole:hello")


async def test_a_body_that_comes_a_moment_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_fixes, "REST_S", DEADLINE_S)
    assert (await talk(echo, FIVE, b"he", b"llo", until=b"hello")).endswith(b"whole:hello")


async def test_a_body_that_does_not_come_soon_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn_fixes, "REST_S", 0)
    assert (await talk(echo, FIVE, b"he", b"llo", until=b"hello")).endswith(b"pieces:hello")


async def test_a_body_that_stays_away_is_answered_with_408() -> None:
    async with running_api(limits=Limits(body_s=0.2)) as api:
        head = b"POST /message/send HTTP/1.1\r\nX-Api-Key: " + API_KEY.encode() + b"\r\n" + HOST
        with trio.fail_after(DEADLINE_S):
            async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
                await stream.send_all(head + b"Content-Length: 5\r\n\r\n{")
                assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 408")


async def test_requests_behind_a_body_are_answered_in_order() -> None:
    twice = FIVE + b"first" + FIVE + b"later"
    answers = await talk(echo, twice, until=b"later")
    assert answers.index(b":first") < answers.index(b":later")


async def test_a_request_that_comes_during_another_waits_for_its_answer() -> None:
    begun, release = trio.Event(), trio.Event()

    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        begun.set()
        await release.wait()
        await echo(scope, receive, send)

    async with serving(slow) as (_, bound, _), await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
        await stream.send_all(FIVE + b"first")
        await begun.wait()
        begun = trio.Event()
        await stream.send_all(FIVE + b"later")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not begun.is_set()
        release.set()
        answers = await _told(stream, until=b"later")
    assert answers.index(b":first") < answers.index(b":later")


async def test_what_continues_a_head_is_no_request_of_its_own() -> None:
    answer = await talk(echo, POST + b"Content-Length: 5\r\nX: ", FIVE + b"hello", until=b"HTTP/1.1 ")
    assert b"HTTP/1.1 400" in answer, "one head with two hosts"


async def test_a_connection_ends_with_an_answer_that_began_before_the_stop() -> None:
    begun, release = trio.Event(), trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"10")))
        await send(piece(b"hello", more=True))
        begun.set()
        await release.wait()
        await send(piece(b"world"))

    async with (
        serving(app, drain_s=60) as (_, bound, stop),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        with trio.fail_after(DEADLINE_S):
            await stream.send_all(FIVE + b"hello")
            await begun.wait()
            stop.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
            release.set()
            answer = b"".join([chunk async for chunk in stream])
    assert answer.endswith(b"helloworld")


@pytest.mark.parametrize(
    ("edge", "answer"),
    [
        (Edge(echo, Limits(body_bytes=4), frozenset()), b"\r\n\r\npieces:"),
        (Edge(echo, Limits(), frozenset(), {"POST /a": (9, True)}), b"\r\n\r\npieces:hello"),
        (Edge(echo, Limits(), frozenset(), {"POST /a": (9, False)}), b"\r\n\r\nwhole:hello"),
    ],
)
async def test_a_body_too_large_or_streamed_is_no_whole_one(edge: Edge, answer: bytes) -> None:
    assert (await talk(edge, FIVE + b"hello", until=answer)).endswith(answer)


async def test_a_request_that_comes_before_an_answer_that_closes_is_not_carried_out() -> None:
    asked: list[Message] = []
    begun, release = trio.Event(), trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        asked.append(scope)
        begun.set()
        await release.wait()
        await send(start((b"content-length", b"5"), (b"connection", b"close")))
        await send(piece(b"hello"))

    async with serving(app) as (server, bound, _):
        async with await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
            with trio.fail_after(DEADLINE_S):
                await stream.send_all(FIVE + b"first")
                await begun.wait()
                await stream.send_all(FIVE + b"later")
                await trio.testing.wait_all_tasks_blocked(0.05)
                release.set()
                assert (await stream.receive_some(1_000)).endswith(b"hello")
        await eventually(lambda: server.connections == 0)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("request_bytes", "until"),
    [
        (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 100"),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nHost: evil\r\n\r\n" + FIVE + b"again",
            b":again",
        ),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"pieces:"),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"HTTP/1.1 400"),
    ],
)
async def test_what_is_not_plain_is_answered_as_ever(request_bytes: bytes, until: bytes) -> None:
    answer = await talk(echo, request_bytes, until=until)
    assert b"HTTP/1.1 " in answer


async def test_a_handler_ends_when_its_peer_goes_away() -> None:
    begun, ended = trio.Event(), trio.Event()
    async with running_api() as api:

        async def endless(*_: object, **__: object) -> None:
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        api.directory.qr = endless  # type: ignore[assignment, method-assign]
        head = b"GET /instance/%b/qr HTTP/1.1\r\nX-Api-Key: %b\r\n" % (api.add().encode(), API_KEY.encode())
        with trio.fail_after(DEADLINE_S):
            async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
                await stream.send_all(head + HOST + b"\r\n")
                await begun.wait()
            await ended.wait()
        await eventually(lambda: api.server.connections == 0)


def answering(*messages: Message) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_an_answer_of_unknown_length_goes_out_in_chunks() -> None:
    answer = await talk(
        answering(start(), piece(b"hello", more=True), piece(b"", more=True), piece(b"x")),
        FIVE + b"hello",
        until=b"0\r\n\r\n",
    )
    assert b"transfer-encoding: chunked\r\n" in answer
    assert answer.endswith(b"\r\n\r\n5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(status: int) -> None:
    answer = await talk(answering(start(status=status), piece(b"dropped")), FIVE + b"hello", until=b"\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == b"" and b"transfer-encoding" not in answer


@pytest.mark.parametrize(
    "messages",
    [
        (start((b"x", b"a\r\nb: c")), piece(b"")),
        (start((b"x\n", b"a")), piece(b"")),
        (start((b"x", b"a\0")), piece(b"")),
        (start((b"x", b"a\rb")), piece(b"")),
        (start((b"transfer-encoding", b"chunked")), piece(b"")),
        (start((b"content-length", b"3")), piece(b"hello")),
        (piece(b"hello"),),
        (),
    ],
)
async def test_an_answer_that_cannot_be_sent_is_a_500_and_the_end_of_the_connection(
    messages: tuple[Message, ...],
) -> None:
    async with serving(answering(*messages)) as (server, bound, _):
        async with await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
            with trio.fail_after(DEADLINE_S):
                await stream.send_all(FIVE + b"hello")
                answer = b"".join([chunk async for chunk in stream])
        assert answer.startswith(b"HTTP/1.1 500") and b'"code":"internal"' in answer
        await eventually(lambda: server.connections == 0)


@pytest.mark.parametrize(
    "messages",
    [
        (start((b"content-length", b"9")), piece(b"hello")),
        (start((b"content-length", b"9")), piece(b"hello", more=True)),
        (start((b"content-length", b"5"), (b"connection", b"close")), piece(b"hello")),
        (start((b"content-length", b"5")), piece(b"hello", more=True), piece(b"more")),
    ],
)
async def test_a_connection_whose_answer_is_cut_or_says_so_is_closed(messages: tuple[Message, ...]) -> None:
    async with (
        serving(answering(*messages)) as (_, bound, _),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        with trio.fail_after(DEADLINE_S):
            await stream.send_all(FIVE + b"hello")
            answer = b"".join([chunk async for chunk in stream])
    assert answer.endswith(b"\r\n\r\nhello") and answer.count(b"HTTP/1.1") == 1


async def test_a_body_larger_than_the_limit_is_refused_though_it_came_in_one_piece() -> None:
    async with running_api(limits=Limits(body_bytes=4)) as api:
        head = b"POST /message/send HTTP/1.1\r\nX-Api-Key: " + API_KEY.encode() + b"\r\n" + HOST
        with trio.fail_after(DEADLINE_S):
            async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
                await stream.send_all(head + b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\n[[[[[")
                assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 413")
