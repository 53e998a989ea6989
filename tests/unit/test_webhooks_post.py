"""One attempt, on real sockets: whatever a receiver does, it is an answer and never an error, and it ends in time."""

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.domain.ids import EndpointId, EventId, InstanceKey
from bridge.domain.lanes import Answer
from bridge.net.guard import Guard
from bridge.store.deliveries import Destination, Pending
from bridge.webhooks.link import ANSWER_MAX_BYTES, FRAMED_MAX_BYTES, HEAD_MAX_BYTES
from bridge.webhooks.post import IDLE_MAX_S, Poster, retry_after_s
from tests.support.hooks import SECRET, Received, Reply, hook

PENDING = Pending(EventId("evt_1"), InstanceKey("a" * 32), 0, 0.0, None, '{"text":"grüß dich"}')
LOOPBACK = Guard(["127.0.0.0/8"])


async def once(url: str, timeout_s: float = 5.0) -> Answer:
    """Make one attempt with a poster of its own."""
    poster = Poster(LOOPBACK)
    answer = await poster.post(to(url, timeout_s), PENDING)
    await poster.tidy(everything=True)
    return answer


def to(url: str, timeout_s: float = 5.0) -> Destination:
    return Destination(EndpointId("whk_1"), url, (SECRET,), timeout_s, 60.0)


@asynccontextmanager
async def raw(answer: bytes, *, then_hang: bool = False) -> AsyncIterator[str]:
    """Answer every request with these bytes, and close."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        try:
            await stream.send_all(answer)
            if then_hang:
                await trio.sleep_forever()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


async def test_a_connection_is_kept_and_used_again() -> None:
    poster = Poster(LOOPBACK)
    async with hook() as receiver:
        for _ in range(3):
            assert await poster.post(to(receiver.url), PENDING) == Answer(204)
        assert {request.connection for request in receiver.received} == {1}
        await poster.tidy(everything=True)
        await poster.post(to(receiver.url), PENDING)
        assert receiver.received[-1].connection == 2
        await poster.tidy(everything=True)


async def test_attempts_at_once_each_have_a_connection_of_their_own() -> None:
    poster = Poster(LOOPBACK)
    gate = trio.Event()

    async def wait(request: Received) -> Reply:
        if len(receiver.received) == 4:
            gate.set()
        await gate.wait()
        return Reply()

    async with hook() as receiver:
        receiver.script = wait
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(poster.post, to(receiver.url), PENDING)
        assert {request.connection for request in receiver.received} == {1, 2, 3, 4}
        await poster.tidy(everything=True)


async def test_a_kept_connection_that_the_receiver_closed_costs_no_attempt() -> None:
    poster = Poster(LOOPBACK)

    def close_unannounced(request: Received) -> Reply:
        return Reply(close=True)

    async with hook() as receiver:
        receiver.script = close_unannounced
        for _ in range(3):
            assert await poster.post(to(receiver.url), PENDING) == Answer(204)
        assert [request.connection for request in receiver.received] == [1, 2, 3]
        await poster.tidy(everything=True)


async def test_an_idle_connection_is_closed_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    poster = Poster(LOOPBACK)
    autojump_clock.autojump_threshold = 0.05
    async with hook() as receiver:
        await poster.post(to(receiver.url, 1e6), PENDING)
        autojump_clock.jump(IDLE_MAX_S + 1)
        await poster.tidy()
        await poster.post(to(receiver.url, 1e6), PENDING)
        assert [request.connection for request in receiver.received] == [1, 2]
        await poster.tidy(everything=True)


async def test_a_changed_url_is_used_at_once() -> None:
    poster = Poster(LOOPBACK)
    async with hook() as old, hook() as new:
        await poster.post(to(old.url), PENDING)
        await poster.post(to(new.url + "?a=b"), PENDING)
        assert [request.path for request in new.received] == ["/hook?a=b"]
        await poster.tidy(everything=True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "the connection ended without an answer"),
        (b"no HTTP at all\r\n\r\n", "no HTTP/1.1: Expected HTTP/"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "no HTTP/1.1: Invalid header token"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", "ended within the answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", "ended within the answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * HEAD_MAX_BYTES, "head is larger"),
        (b"HTTP/1.1 2", "ended without an answer"),
    ],
)
async def test_an_answer_that_is_none_is_no_success(answer: bytes, expected: str) -> None:
    async with raw(answer) as url:
        found = await once(url)
    assert found.status is None and not found.timed_out and not found.ok
    assert expected in str(found.error) or "reset" in str(found.error)


async def test_an_early_hint_is_not_the_answer() -> None:
    async with raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as url:
        assert await once(url) == Answer(200)


async def test_a_connection_with_a_second_answer_is_not_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    poster = Poster(LOOPBACK)
    async with raw(answer + b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", then_hang=True) as url:
        assert [await poster.post(to(url, 2), PENDING) for _ in range(2)] == [Answer(200)] * 2
    await poster.tidy(everything=True)


async def test_a_line_break_in_a_header_reaches_nobody() -> None:
    async with hook() as receiver:
        with pytest.raises(ValueError, match="line break"):
            await Poster(LOOPBACK).post(replace(to(receiver.url), headers=(("x-a", "b\r\nx-c: d"),)), PENDING)
        assert not receiver.received


async def test_an_old_server_that_just_closes_at_the_end_is_understood() -> None:
    async with raw(b"HTTP/1.0 200 OK\r\n\r\nthanks") as url:
        assert await once(url) == Answer(200, body="thanks")


async def test_a_long_answer_is_cut_and_its_connection_not_used_again() -> None:
    def chatty(request: Received) -> Reply:
        return Reply(500, {}, b"x" * (ANSWER_MAX_BYTES * 20))

    poster = Poster(LOOPBACK)
    async with hook() as receiver:
        receiver.script = chatty
        for _ in range(2):
            answer = await poster.post(to(receiver.url), PENDING)
            assert answer.status == 500
            assert answer.error is not None and len(answer.error) < 300
        assert [request.connection for request in receiver.received] == [1, 2]


async def test_trailers_that_never_end_are_not_read() -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: "
    async with raw(answer + b"b" * (FRAMED_MAX_BYTES + 16_384), then_hang=True) as url:
        began = trio.current_time()
        assert await once(url, timeout_s=30) == Answer(200, body="x")
        assert trio.current_time() < began + 30


async def test_silence_ends_at_the_deadline() -> None:
    async with raw(b"", then_hang=True) as url:
        began = trio.current_time()
        found = await once(url, 0.2)
        assert found == Answer(None, "no answer in 0.2 s", timed_out=True)
        assert trio.current_time() - began < 2


async def test_an_answer_counts_although_its_body_never_ends() -> None:
    async with raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", then_hang=True) as url:
        assert await once(url, 0.3) == Answer(200)


async def test_nobody_there_is_said_in_a_persons_words() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    found = await once(f"http://127.0.0.1:{port}/")
    assert found == Answer(None, "Connection refused")


async def test_a_redirect_is_not_followed() -> None:
    async with hook() as other, hook() as receiver:

        def elsewhere(request: Received) -> Reply:
            return Reply(307, {"location": other.url})

        receiver.script = elsewhere
        poster = Poster(LOOPBACK)
        assert (await poster.post(to(receiver.url), PENDING)).status == 307
        assert other.received == []
        await poster.tidy(everything=True)


async def test_a_private_address_is_not_even_connected_to() -> None:
    async with hook() as receiver:
        found = await Poster(Guard()).post(to(receiver.url), PENDING)
        assert found.status is None and "not public" in str(found.error)
        assert receiver.received == []


async def test_a_cancelled_attempt_leaves_no_connection_behind() -> None:
    poster = Poster(LOOPBACK)

    async def hang(request: Received) -> None:
        await trio.sleep_forever()

    async with hook() as receiver:
        receiver.script = hang
        for number in range(1, 21):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poster.post, to(receiver.url, 30.0), PENDING)
                await receiver.until(lambda number=number: len(receiver.received) == number)
                nursery.cancel_scope.cancel()
        receiver.script = _ok
        assert await poster.post(to(receiver.url), PENDING) == Answer(204)
        assert receiver.received[-1].connection == 21
        await poster.tidy(everything=True)


def _ok(request: Received) -> Reply:
    return Reply()


def certificate(folder: Path, name: str) -> Path:
    """Make a certificate that signs itself, with its key in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_tls_is_verified_by_chain_and_by_name(tmp_path: Path) -> None:
    right, wrong = certificate(tmp_path, "localhost"), certificate(tmp_path, "elsewhere.test")
    trusting = ssl.create_default_context()
    trusting.load_verify_locations(right)
    trusting.load_verify_locations(wrong)

    async def attempt(server: Path, client: ssl.SSLContext | None) -> Answer:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server)
        poster = Poster(LOOPBACK_NAME, tls=None if client is None else lambda: client)
        async with hook(tls=context) as receiver:
            url = receiver.url.replace("127.0.0.1", "localhost")
            answer = await poster.post(to(url), PENDING)
            await poster.tidy(everything=True)
            return answer

    assert await attempt(right, trusting) == Answer(204)
    for server, client in ((right, None), (wrong, trusting)):
        answer = await attempt(server, client)
        assert answer.status is None and str(answer.error).startswith("TLS: ")


LOOPBACK_NAME = Guard(["127.0.0.0/8", "::1/128"])


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("120", 0.0) == 120
    assert retry_after_s("Tue, 14 Nov 2023 22:14:20 GMT", 1_700_000_000.0) == 60
    assert retry_after_s("Tue, 14 Nov 2023 22:14:20 GMT", 1_800_000_000.0) == 0
    for nonsense in (None, "", "soon", "-1", "1.5", "\u0661", "Tue, 99 Nov"):
        assert retry_after_s(nonsense, 0.0) is None


async def test_each_attempt_says_which_it_is() -> None:
    poster = Poster(LOOPBACK)
    async with hook() as receiver:
        await poster.post(to(receiver.url), replace(PENDING, attempts=6))
        assert receiver.received[0].attempt == 7
        await poster.tidy(everything=True)
