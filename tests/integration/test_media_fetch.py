"""Fetching a URL that a caller names, from a real server on this machine that misbehaves as told."""

import pytest
import trio

from bridge.media.errors import MediaFetchTimeout, MediaTooLarge, MediaUnreachable
from bridge.media.fetch import REDIRECTS_MAX, Fetched, Fetcher
from bridge.net.guard import Guard, UrlRefused
from tests.support.fileserver import Answer, response, server


async def fetch(
    url: str, allow: tuple[str, ...], *, limit: int = 100_000, timeout_s: float = 10
) -> tuple[Fetched, bytes]:
    got = bytearray()

    async def write(piece: bytes) -> None:
        got.extend(piece)

    fetched = await Fetcher(Guard(allow), timeout_s=timeout_s).fetch(url, write, limit)
    return fetched, bytes(got)


async def test_a_file_is_fetched_with_what_is_said_about_it() -> None:
    answers: dict[str, Answer | bytes] = {"/a/caf%C3%A9.jpg?x=1": response(body=b"data", content_type="image/png")}
    async with server(answers) as (port, asked):
        fetched, got = await fetch(f"http://127.0.0.1:{port}/a/caf%C3%A9.jpg?x=1#part", (f"127.0.0.1:{port}",))
    assert (fetched, got) == (Fetched("image/png", "café.jpg"), b"data")
    assert asked == ["/a/caf%C3%A9.jpg?x=1"]


async def test_a_chunked_answer_is_a_file_too() -> None:
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with server({"/f": response(body=body, transfer_encoding="chunked")}) as (port, _):
        assert (await fetch(f"http://127.0.0.1:{port}/f", (f"127.0.0.1:{port}",)))[1] == b"abcde"


async def test_the_inside_is_not_reached_not_even_by_a_name() -> None:
    async with server({"/f": response(body=b"secret")}) as (port, asked):
        for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"):
            with pytest.raises(UrlRefused):
                await fetch(f"http://{host}:{port}/f", ())
        with pytest.raises(UrlRefused):
            await fetch("file:///etc/passwd", ())
    assert asked == []


async def test_a_redirect_is_followed_as_far_as_it_leads_to_the_outside() -> None:
    async with server({"/secret": response(body=b"secret")}) as (inside, asked_inside):
        answers: dict[str, Answer | bytes] = {
            "/a": response(302, location="b"),
            "/b": response(307, location="/c"),
            "/c": response(body=b"found"),
            "/in": response(302, location=f"http://127.0.0.1:{inside}/secret"),
            "/file": response(302, location="file:///etc/passwd"),
            "/round": response(302, location="/round"),
        }
        async with server(answers) as (port, asked):
            allow = (f"127.0.0.1:{port}",)
            assert (await fetch(f"http://127.0.0.1:{port}/a", allow))[1] == b"found"
            for path in ("in", "file"):
                with pytest.raises(UrlRefused):
                    await fetch(f"http://127.0.0.1:{port}/{path}", allow)
            with pytest.raises(MediaUnreachable, match="redirects"):
                await fetch(f"http://127.0.0.1:{port}/round", allow)
        assert asked_inside == []
        assert asked.count("/round") == REDIRECTS_MAX + 1


async def test_a_name_is_resolved_once_and_the_address_that_was_checked_is_the_one() -> None:
    """A name that means something else at the second look would get past a check that connects by name."""

    class Changing(Guard):
        looked = 0

        async def addresses(self, target):  # type: ignore[no-untyped-def]
            self.looked += 1
            await trio.lowlevel.checkpoint()
            return ("127.0.0.1",)

    async with server({"/f": response(body=b"data")}) as (port, _):
        guard, got = Changing(), bytearray()

        async def write(piece: bytes) -> None:
            got.extend(piece)

        await Fetcher(guard, timeout_s=5).fetch(f"http://files.invalid:{port}/f", write, 100)
    assert (guard.looked, bytes(got)) == (1, b"data")


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_large_is_not_read_to_its_end(announced: bool) -> None:
    sent = 0

    async def endless(stream: trio.SocketStream, _: str) -> None:
        nonlocal sent
        await stream.send_all(response(**({"content_length": "99999999999"} if announced else {})))
        while True:
            await stream.send_all(bytes(10_000))
            sent += 10_000

    async with server({"/f": endless}) as (port, _):
        with pytest.raises(MediaTooLarge):
            got = bytearray()

            async def write(piece: bytes) -> None:
                got.extend(piece)
                if len(got) > 50_000:
                    raise MediaTooLarge

            await Fetcher(Guard((f"127.0.0.1:{port}",)), timeout_s=10).fetch(
                f"http://127.0.0.1:{port}/f", write, 50_000
            )
    assert len(got) < 200_000


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    async def slow(stream: trio.SocketStream, _: str) -> None:
        await stream.send_all(response())
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.02)

    async with server({"/f": slow}) as (port, _):
        with pytest.raises(MediaFetchTimeout):
            await fetch(f"http://127.0.0.1:{port}/f", (f"127.0.0.1:{port}",), timeout_s=0.5)


@pytest.mark.parametrize(
    "answer",
    [
        response(404, body=b"no"),
        response(204),
        response(200, b""),
        response(200, b"\x1f\x8b", content_encoding="gzip"),
        response(200, b"short", content_length="100"),
        b"\x00\x01\x02 no HTTP\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_no_file_is_refused(answer: bytes) -> None:
    async with server({"/f": answer}) as (port, _):
        with pytest.raises(MediaUnreachable):
            await fetch(f"http://127.0.0.1:{port}/f", (f"127.0.0.1:{port}",))


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(MediaUnreachable):
        await fetch("http://127.0.0.1:9/f", ("127.0.0.1:9",))
