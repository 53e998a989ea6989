"""The HTTP server against clients that are slow, many, rude or broken."""

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from receiver.http import Request, Response
from receiver.server import Limits, Server
from tests.support.receiver import DEADLINE_S

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = Response(200, b'{"status":"ok"}')


class Site:
    """A server with a handler that may be held up."""

    def __init__(self) -> None:
        self.port = 0
        self.stop = trio.Event()
        self.entered = trio.Event()
        self.leave = trio.Event()
        self.ended = trio.Event()

    async def handle(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        self.entered.set()
        if request.path == "/held":
            await self.leave.wait()
        if request.path == "/broken":
            raise ZeroDivisionError
        if request.path == "/large":
            return Response(200, b"x" * 30_000_000)
        return OK

    async def until_entered(self) -> None:
        with trio.fail_after(DEADLINE_S):
            await self.entered.wait()

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> bytes:
        """Send, close our half, and return all that comes."""
        stream = await self.connect()
        async with stream:
            await stream.send_all(data)
            return await rest_of(stream)


async def rest_of(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(DEADLINE_S):
        return b"".join([piece async for piece in stream])


async def answer_of(stream: trio.SocketStream) -> bytes:
    """Return one answer; ours fit into one read."""
    with trio.fail_after(DEADLINE_S):
        return bytes(await stream.receive_some())


@asynccontextmanager
async def site(limits: Limits = Limits(), *, grace_s: float = 5) -> AsyncIterator[Site]:  # noqa: B008 - frozen
    found = Site()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    found.port = listeners[0].socket.getsockname()[1]

    async def run() -> None:
        await Server(found.handle, limits).run(listeners, found.stop, grace_s=grace_s)
        found.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield found
        nursery.cancel_scope.cancel()


async def test_a_connection_is_kept_for_further_requests() -> None:
    async with site() as server, await server.connect() as stream:
        for _ in range(3):
            await stream.send_all(GET)
            assert (await answer_of(stream)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with site() as server:
        answers = await server.ask(
            GET + GET.replace(b" / ", b" /broken ") + GET.replace(b"x\r\n", b"x\r\nconnection: close\r\n")
        )
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"500", b"200"]


async def test_a_client_that_asks_for_leave_gets_it() -> None:
    async with site() as server, await server.connect() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await answer_of(stream) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"{}")
        assert (await answer_of(stream)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_malformed_request_is_answered_with_400_and_the_connection_closed() -> None:
    async with site() as server:
        answer = await server.ask(b"nonsense\r\n\r\n" + b"x" * 100_000)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b'"code":"malformed_request"' in answer
        assert b"connection: close" in answer


async def test_no_bytes_of_a_client_end_the_server() -> None:
    chooser = random.Random(5)
    seeds = [GET, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
    async with site() as server:

        async def attack(data: bytes) -> None:
            async with await server.connect() as stream:
                with suppress(trio.BrokenResourceError), trio.fail_after(DEADLINE_S):
                    await stream.send_all(data)
                    if chooser.random() < 0.5:
                        await stream.send_eof()
                        await stream.receive_some()

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    data = bytearray(chooser.choice(seeds) * 2)
                    for _ in range(chooser.randrange(6)):
                        data[chooser.randrange(len(data))] = chooser.randrange(256)
                    nursery.start_soon(attack, bytes(data))
        async with await server.connect() as stream:
            await stream.send_all(GET)
            assert (await answer_of(stream)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with site(Limits(idle_s=0.1)) as server, await server.connect() as stream:
        assert await rest_of(stream) == b""


async def test_a_request_that_trickles_in_is_cut_off() -> None:
    async with site(Limits(request_s=0.2)) as server, await server.connect() as stream:
        with trio.fail_after(DEADLINE_S), pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"P")
                await trio.sleep(0.01)  # the pace of the slow client, not a wait


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with site(Limits(answer_s=0.2)) as server, await server.connect() as stream:
        await stream.send_all(GET.replace(b" / ", b" /large "))
        await server.until_entered()
        server.stop.set()
        with trio.fail_after(3):  # less than the grace: it was the deadline of the answer
            await server.ended.wait()


async def test_one_connection_too_many_is_told_so() -> None:
    async with site(Limits(connections=2)) as server:
        async with await server.connect() as one, await server.connect() as two:
            for stream in (one, two):
                await stream.send_all(GET)
                assert b"200 OK" in await answer_of(stream)
            refused = await server.ask(b"")
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"too many connections" in refused
        async with await server.connect() as again:
            await again.send_all(GET)
            assert await answer_of(again)


async def test_a_stop_finishes_what_was_begun_and_closes_what_was_idle() -> None:
    async with site() as server:
        async with await server.connect() as idle, await server.connect() as busy:
            await idle.send_all(GET)
            assert await answer_of(idle)
            server.entered = trio.Event()
            await busy.send_all(GET.replace(b" / ", b" /held "))
            await server.until_entered()
            server.stop.set()
            assert await rest_of(idle) == b""
            server.leave.set()
            answer = await rest_of(busy)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in answer
        with trio.fail_after(DEADLINE_S):
            await server.ended.wait()


async def test_a_stop_does_not_wait_longer_than_its_grace() -> None:
    async with site(grace_s=0.2) as server, await server.connect() as stream:
        await stream.send_all(GET.replace(b" / ", b" /held "))
        await server.until_entered()
        server.stop.set()
        with trio.fail_after(DEADLINE_S):
            await server.ended.wait()
        assert await rest_of(stream) == b""
