"""The HTTP server as a supervised child: the three cures of Hypercorn, and an orderly stop.

Each of the cures has a test here that fails when the cure is taken out.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import h11
import pytest
import trio
import trio.testing

from bridge.api.hypercorn_fixes import JsonErrorsProtocol, Message, Receive, Send, Timing
from bridge.api.server import HttpServer
from bridge.api.shields import SCOPE_KEY
from tests.support.api import API_KEY, DEADLINE_S, eventually, running_api, serving

NONCE = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
REQUEST = b"GET /livez HTTP/1.1\r\nHost: bridge\r\n\r\n"
"""Answered by itself, as it comes in one piece (`bridge.api.whole`)."""
LEFT_TO_H11 = b"GET /livez HTTP/1.1\r\nHost: bridge\r\nTE: trailers\r\n\r\n"
both_ways = pytest.mark.parametrize("request_head", [REQUEST, LEFT_TO_H11])


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    """Answer as Quart-Trio does, its nursery included: what is left of a request ends with its last message."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        nursery.cancel_scope.cancel()


async def flood(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with more than any socket buffers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1_000):
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def exchange(stream: trio.SocketStream, request: bytes = REQUEST) -> bytes:
    """Send a request and return the head of its answer and five bytes of body."""
    await stream.send_all(request)
    received = b""
    while not received.endswith(b"hello"):
        chunk = await stream.receive_some(65_536)
        assert chunk, f"closed after {received!r}"
        received += chunk
    return received


async def test_a_port_that_the_system_chooses_is_known_before_it_is_listened_on() -> None:
    server, stop = HttpServer(hello, host="127.0.0.1", port=0), trio.Event()
    assert server.url == ""
    server.reserve()
    reserved = server.url
    port = int(reserved.rpartition(":")[2])
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(server.run, stop=stop))
        assert (bound.port, server.url) == (port, reserved)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert (await exchange(stream)).endswith(b"hello")
        stop.set()


# --- cure 1: one bad connection never ends the server -----------------------------------------------------------------


async def test_a_request_that_breaks_the_protocol_code_ends_its_own_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_stream = JsonErrorsProtocol._create_stream

    async def broken(self: JsonErrorsProtocol, request: h11.Request) -> None:
        if request.target == b"/break":
            raise RuntimeError("a defect in the protocol code")
        await create_stream(self, request)

    monkeypatch.setattr(JsonErrorsProtocol, "_create_stream", broken)
    async with running_api() as api:
        async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as other:
            assert await api.raw(LEFT_TO_H11.replace(b"livez", b"break")) == b""
            await other.send_all(REQUEST)
            assert (await other.receive_some(1_000)).startswith(b"HTTP/1.1 200")
        assert (await api.client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "request_head",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_refused_in_json_and_the_server_goes_on(request_head: bytes) -> None:
    async with running_api(timing=Timing(idle_s=1)) as api:
        answer = await api.raw(request_head)
        head, _, body = answer.partition(b"\r\n\r\n")
        if answer:  # a TLS greeting is not even a line
            assert head.split()[1] in {b"400", b"404", b"431", b"505"}
            assert b"x-request-id" in head.lower()
            assert body.startswith(b'{"error":')
        assert (await api.client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 1\r\n",
    ],
)
async def test_an_offer_to_upgrade_is_answered_in_http_1_where_no_websocket_is(upgrade: bytes) -> None:
    async with running_api() as api:
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
            await stream.send_all(request)
            assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /events/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!\r\n",
        b"GET /events/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        b"GET /events/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" + NONCE,
        b"GET /events/ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + NONCE,
        b"GET /events/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: x\r\n",
        b"GET /events/ws HTTP/1.1\r\nConnection: close\r\n",
    ],
)
async def test_an_upgrade_that_is_not_in_order_is_answered_in_json(head: bytes) -> None:
    async with running_api() as api:
        request = head + b"Host: x\r\nX-Api-Key: " + API_KEY.encode() + b"\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
            await stream.send_all(request)
            with trio.fail_after(DEADLINE_S):
                answer = await stream.receive_some(5_000)
        assert answer.startswith(b"HTTP/1.1 426") and b'"code":"upgrade_required"' in answer
        assert b"\r\nupgrade: websocket\r\n" in answer.lower()


# --- cure 2: the end of a response ends the connection or readies it --------------------------------------------------


@both_ways
async def test_a_connection_is_kept_for_the_next_request(request_head: bytes) -> None:
    async with serving(hello) as (_, bound, _), await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
        with trio.fail_after(DEADLINE_S):
            for _ in range(3):
                assert (await exchange(stream, request_head)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_head",
    [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"],
)
async def test_a_connection_is_closed_when_its_client_asks_for_that(request_head: bytes) -> None:
    async with (
        serving(hello) as (server, bound, _),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        with trio.fail_after(DEADLINE_S):
            await exchange(stream, request_head)
            assert await stream.receive_some(1) == b""
        await eventually(lambda: server.connections == 0)


@both_ways
async def test_an_idle_connection_is_closed_after_its_time(request_head: bytes) -> None:
    async with (
        serving(hello, timing=Timing(idle_s=0.2)) as (_, bound, _),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        with trio.fail_after(DEADLINE_S):
            await exchange(stream, request_head)
            assert await stream.receive_some(1) == b""


async def test_a_head_that_comes_drop_by_drop_does_not_hold_a_connection() -> None:
    async with (
        serving(hello, timing=Timing(idle_s=0.3)) as (server, bound, _),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        await eventually(lambda: server.connections == 1)
        with trio.fail_after(DEADLINE_S), pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"G")
                await trio.sleep(0.05)


@both_ways
async def test_a_connection_whose_peer_is_gone_is_closed_at_once(request_head: bytes) -> None:
    async with serving(hello) as (server, bound, _):
        async with await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
            await exchange(stream, request_head)
            await eventually(lambda: server.connections == 1)
        await eventually(lambda: server.connections == 0)


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with running_api() as api:
        answers = await api.raw(
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /startupz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.index(b"alive") < answers.index(b"started")


# --- cure 3: a peer that does not read ------------------------------------------------------------------------------


@both_ways
async def test_a_peer_that_stops_reading_is_cut_off(request_head: bytes) -> None:
    async with (
        serving(flood, timing=Timing(write_s=0.3)) as (server, bound, _),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        await stream.send_all(request_head)
        await eventually(lambda: server.connections == 1)
        await eventually(lambda: server.connections == 0)


@both_ways
async def test_a_peer_that_stops_reading_does_not_hold_up_the_stop(request_head: bytes) -> None:
    async with (
        serving(flood, drain_s=0.3) as (server, bound, stop),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        await stream.send_all(request_head)
        await eventually(lambda: server.connections == 1)
        stop.set()
        await eventually(lambda: server.connections == 0)


# --- the stop ---------------------------------------------------------------------------------------------------------


def waiting_app(
    begun: trio.Event, release: trio.Event, *, shielded: bool = False
) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        begun.set()
        if shielded:
            with scope[SCOPE_KEY].hold(60):
                await release.wait()
        await release.wait()
        await hello(scope, receive, send)

    return app


@both_ways
async def test_a_request_in_progress_is_answered_before_the_server_ends(request_head: bytes) -> None:
    begun, release = trio.Event(), trio.Event()
    async with (
        serving(waiting_app(begun, release), drain_s=DEADLINE_S) as (_, bound, stop),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
        await trio.open_tcp_stream("127.0.0.1", bound.port) as idle,
    ):
        with trio.fail_after(DEADLINE_S):
            await stream.send_all(request_head)
            await begun.wait()
            stop.set()
            assert await idle.receive_some(1) == b"", "a connection without a request ends first"
            release.set()
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()


async def test_no_connection_is_taken_after_the_stop() -> None:
    begun, release = trio.Event(), trio.Event()
    async with (
        serving(waiting_app(begun, release), drain_s=DEADLINE_S) as (_, bound, stop),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        await stream.send_all(REQUEST)
        await begun.wait()
        stop.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(OSError):  # refused, or reset: it depends on the moment
            await (await trio.open_tcp_stream("127.0.0.1", bound.port)).send_all(REQUEST)
        release.set()


@both_ways
@pytest.mark.parametrize("shielded", [False, True])
async def test_a_request_that_does_not_end_is_cut_at_the_deadline(shielded: bool, request_head: bytes) -> None:
    begun = trio.Event()
    async with (
        serving(waiting_app(begun, trio.Event(), shielded=shielded), drain_s=0.2) as (server, bound, stop),
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        await stream.send_all(request_head)
        await begun.wait()
        stop.set()
        await eventually(lambda: server.connections == 0)


async def test_a_cancelled_server_ends_at_once_even_with_shields_held() -> None:
    begun = trio.Event()
    server = HttpServer(waiting_app(begun, trio.Event(), shielded=True), host="127.0.0.1", port=0, drain_s=60)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(server.run, stop=trio.Event()))
            async with await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
                await stream.send_all(REQUEST)
                await begun.wait()
                nursery.cancel_scope.cancel()


async def test_readiness_can_be_seen_to_fail_while_new_requests_are_still_taken() -> None:
    async with serving(hello, notice_s=0.5) as (_, bound, stop):
        stop.set()
        async with await trio.open_tcp_stream("127.0.0.1", bound.port) as stream:
            assert (await exchange(stream)).startswith(b"HTTP/1.1 200")


async def test_a_restarted_server_keeps_the_port_that_it_was_given_first() -> None:
    server, ports = HttpServer(hello, host="127.0.0.1", port=0), []
    for _ in range(2):
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(server.run, stop=stop))
            ports.append(bound.port)
            assert server.url == bound.url == f"http://127.0.0.1:{bound.port}"
            stop.set()
    assert ports[0] == ports[1] != 0
