"""The websocket's end against wsproto's client side, and against plain bytes where that refuses to misbehave."""

import pytest
import trio
import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from bridge.sandbox.websocket import WebSocket, WebSocketClosed, switching_protocols


class Client:
    """The other end of a websocket."""

    def __init__(self, **options: int) -> None:
        near, self.stream = trio.testing.memory_stream_pair()
        self.protocol = Connection(ConnectionType.CLIENT)
        self.server = WebSocket(near, **options)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def event(self) -> Event:
        while True:
            for event in self.protocol.events():
                return event
            self.protocol.receive_data(bytes(await self.stream.receive_some(65536)) or None)

    async def message(self) -> bytes:
        parts = []
        while True:
            event = await self.event()
            assert isinstance(event, BytesMessage)
            parts.append(bytes(event.data))
            if event.message_finished:
                return b"".join(parts)


def test_the_upgrade_is_accepted_as_in_the_example_of_rfc_6455() -> None:
    response = switching_protocols("dGhlIHNhbXBsZSBub25jZQ==")
    assert response.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
async def test_messages_of_every_length_pass_both_ways(size: int) -> None:
    client, data = Client(), bytes(index & 0xFF for index in range(size))
    with trio.fail_after(10):
        await client.send(BytesMessage(data=data))
        assert await client.server.recv() == data
        await client.server.send(data)
        assert await client.message() == data


async def test_fragments_make_one_message_and_a_ping_between_them_is_answered() -> None:
    client = Client()
    await client.send(BytesMessage(data=b"one ", message_finished=False))
    await client.send(Ping(payload=b"there?"))
    await client.send(BytesMessage(data=b"message"))
    with trio.fail_after(5):
        assert await client.server.recv() == b"one message"
        answer = await client.event()
    assert isinstance(answer, Pong)
    assert bytes(answer.payload) == b"there?"


async def test_what_was_read_behind_the_upgrade_is_not_lost() -> None:
    near, _far = trio.testing.memory_stream_pair()
    early = Connection(ConnectionType.CLIENT).send(BytesMessage(data=b"early"))
    with trio.fail_after(5):
        assert await WebSocket(near, early).recv() == b"early"


async def test_a_message_beyond_the_bound_closes_the_connection() -> None:
    client = Client(max_message_bytes=1000)
    await client.send(BytesMessage(data=bytes(600), message_finished=False))
    await client.send(BytesMessage(data=bytes(600)))
    with trio.fail_after(5):
        with pytest.raises(WebSocketClosed) as closed:
            await client.server.recv()
        goodbye = await client.event()
    assert closed.value.reason == 1009
    assert isinstance(goodbye, CloseConnection)
    assert goodbye.code == 1009


async def test_text_is_not_spoken_here() -> None:
    client = Client()
    await client.send(TextMessage(data="hello"))
    with trio.fail_after(5), pytest.raises(WebSocketClosed) as closed:
        await client.server.recv()
    assert closed.value.reason == 1003


async def test_a_frame_without_a_mask_is_a_protocol_error() -> None:
    client = Client()
    await client.stream.send_all(b"\x82\x01x")
    with trio.fail_after(5), pytest.raises(WebSocketClosed) as closed:
        await client.server.recv()
    assert closed.value.reason == 1002


async def test_a_goodbye_is_answered_and_tells_its_status() -> None:
    client = Client()
    await client.send(CloseConnection(code=1001))
    with trio.fail_after(5):
        with pytest.raises(WebSocketClosed) as closed:
            await client.server.recv()
        assert isinstance(await client.event(), CloseConnection)
    assert closed.value.reason == 1001
    with pytest.raises(WebSocketClosed):
        await client.server.send(b"too late")


async def test_a_connection_that_breaks_ends_as_closed() -> None:
    client = Client()
    await trio.aclose_forcefully(client.stream)
    with trio.fail_after(5), pytest.raises(WebSocketClosed) as closed:
        await client.server.recv()
    assert closed.value.reason == 1006


async def test_closing_twice_is_harmless_and_ends_a_waiting_receiver() -> None:
    client = Client()
    ended = trio.Event()

    async def receive() -> None:
        with pytest.raises(WebSocketClosed):
            await client.server.recv()
        ended.set()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await client.server.close()
            await client.server.close()
            await ended.wait()


async def test_closing_does_not_wait_for_a_client_that_reads_nothing(autojump_clock: trio.testing.MockClock) -> None:
    near, _far = trio.testing.lockstep_stream_pair()
    with trio.fail_after(5):
        await WebSocket(near).close()


async def test_messages_of_several_senders_do_not_mix() -> None:
    client = Client()
    parts = [bytes((number,)) * 5000 for number in range(20)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(client.server.send, part)
        assert {await client.message() for _ in parts} == set(parts)


async def test_messages_sent_together_are_one_write() -> None:
    near, far = trio.testing.memory_stream_pair()
    writes, deliver = 0, near.send_stream.send_all_hook
    assert deliver is not None

    async def count() -> None:
        nonlocal writes
        writes += 1
        await deliver()

    near.send_stream.send_all_hook = count
    await WebSocket(near).send_all([b"one", b"two", bytes(300)])
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(bytes(await far.receive_some(65536)))
    assert [bytes(event.data) for event in client.events() if isinstance(event, BytesMessage)] == [
        b"one",
        b"two",
        bytes(300),
    ]
    assert writes == 1


async def test_a_client_that_sends_without_a_break_does_not_keep_others_waiting() -> None:
    client = Client()
    frames = [client.protocol.send(BytesMessage(data=bytes((number,)))) for number in range(3)]
    await client.stream.send_all(b"".join(frames))
    for number in range(3):
        with trio.testing.assert_checkpoints():
            assert await client.server.recv() == bytes((number,))
