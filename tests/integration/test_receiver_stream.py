"""Who follows the events gets each of them, also when slow, back again or filtering; who may not see them does not."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from receiver import stream
from receiver.http import MAX_BODY_BYTES
from receiver.server import Limits
from tests.support.receiver import DEADLINE_S, Running, body_of, serving, until

KEY = "a key of the tests"


@pytest.fixture
async def receiver(empty_database_url: str) -> AsyncIterator[Running]:
    async with serving(empty_database_url) as running:
        await running.until_ready()
        yield running


class Follower:
    """A client that reads server-sent events piece by piece."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._text = b""

    async def block(self) -> str:
        """Return what comes up to the next empty line, the head of the answer first."""
        with trio.fail_after(DEADLINE_S):
            while (match := re.search(rb"\r?\n\r?\n", self._text)) is None:
                piece = await self._stream.receive_some()
                assert piece, "the stream has ended"
                self._text += piece
        found, self._text = self._text[: match.start()], self._text[match.end() :]
        return found.decode()

    async def next(self) -> dict[str, Any]:
        """Return the next event, whose cursor is its id."""
        while "data: " not in (block := await self.block()):
            pass
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event: dict[str, Any] = json.loads(fields["data"])
        assert (fields["id"], fields["event"]) == (str(event["cursor"]), "webhook")
        return event

    async def seqs(self, count: int) -> list[int]:
        return [(await self.next())["seq"] for _ in range(count)]

    async def ended(self) -> None:
        with trio.fail_after(DEADLINE_S):
            async for _ in self._stream:
                pass


@asynccontextmanager
async def following(receiver: Running, query: str = "", *headers: str) -> AsyncIterator[Follower]:
    lines = [f"GET /events/stream?{query} HTTP/1.1", "host: 127.0.0.1", *headers, "", ""]
    async with await receiver.connect() as stream:
        await stream.send_all("\r\n".join(lines).encode())
        follower = Follower(stream)
        head = await follower.block()
        assert head.startswith("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), head
        yield follower


async def test_a_follower_gets_what_is_stored_from_then_on(receiver: Running) -> None:
    await receiver.post(1)
    async with following(receiver) as follower:
        await until(lambda: streams(receiver, 1))
        for number in (2, 3):
            await receiver.post(number)
        first, second = await follower.next(), await follower.next()
    assert [first["seq"], second["seq"]] == [2, 3]
    assert first == (await receiver.events(after=1))[0]


async def test_a_follower_begins_behind_a_cursor_or_with_the_newest(receiver: Running) -> None:
    for number in range(1, 6):
        await receiver.post(number, body=body_of(number, chat=f"{number % 2}@g.us"))
    async with following(receiver, "after=2") as follower:
        assert await follower.seqs(3) == [3, 4, 5]
    async with following(receiver, "last=2&chat=1@g.us") as follower:
        assert await follower.seqs(2) == [3, 5]
        await receiver.post(6, body=body_of(6, chat="0@g.us"))
        await receiver.post(7, body=body_of(7, chat="1@g.us"))
        assert await follower.seqs(1) == [7]


async def test_a_follower_that_comes_back_misses_nothing(receiver: Running) -> None:
    await receiver.post(1)
    async with following(receiver, "last=1") as follower:
        last = (await follower.next())["cursor"]
    for number in (2, 3):
        await receiver.post(number)
    async with following(receiver, "last=1", f"Last-Event-ID: {last}") as follower:
        assert await follower.seqs(2) == [2, 3]


async def test_an_event_is_one_line_however_its_body_was_written(receiver: Running) -> None:
    async with following(receiver) as follower:
        await receiver.post(1, body=body_of(1) + "\r\n\n")  # with line ends between its tokens
        event = await follower.next()
    assert event["body"]["data"]["text"] == "grüß dich  \U0001f44b"


async def test_a_follower_that_does_not_read_gets_everything_when_it_does(receiver: Running) -> None:
    """More than the sockets' buffers hold, so that the stream stands still in the middle of a write."""
    filler = "a" * (MAX_BODY_BYTES - 200)
    async with following(receiver) as follower:
        for number in range(12):
            body = f'{{"seq":{number},"type":"message.received","x":"{filler}"}}'
            assert (await receiver.post(number, body=body)).status_code == 200
        assert await follower.seqs(12) == list(range(12))


async def test_a_follower_that_never_reads_is_cut_off(empty_database_url: str) -> None:
    filler = "a" * (MAX_BODY_BYTES - 200)
    async with serving(empty_database_url, limits=Limits(answer_s=0.3)) as receiver:
        await receiver.until_ready()
        async with await receiver.connect() as deaf:
            await deaf.send_all(b"GET /events/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            await until(lambda: streams(receiver, 1))
            for number in range(12):
                await receiver.post(number, body=f'{{"seq":{number},"x":"{filler}"}}')
            await until(lambda: streams(receiver, 0))


async def streams(receiver: Running, count: int) -> bool:
    return f"\nreceiver_streams {count:.1f}\n" in (await receiver.client.get("/metrics")).text


async def test_a_follower_that_goes_away_is_forgotten_at_once(receiver: Running) -> None:
    async with following(receiver):
        await until(lambda: streams(receiver, 1))
    await until(lambda: streams(receiver, 0))


async def test_a_follower_hears_that_the_receiver_is_still_there(
    receiver: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with following(receiver) as follower:
        assert [await follower.block() for _ in range(3)] == ["retry: 2000", ": still here", ": still here"]


async def test_one_follower_too_many_is_told_so(receiver: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 1)
    async with following(receiver):
        await until(lambda: streams(receiver, 1))
        refused = await receiver.client.get("/events/stream")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")


async def test_a_stop_ends_streams_at_once(receiver: Running) -> None:
    async with following(receiver) as follower:
        await until(lambda: streams(receiver, 1))
        receiver.stop.set()
        await follower.ended()


@pytest.mark.parametrize("path", ["/events", "/events/stream", "/handlers", "/runs?handler=x"])
async def test_with_a_key_nothing_is_shown_without_it(empty_database_url: str, path: str) -> None:
    async with serving(empty_database_url, api_key=KEY.replace(" ", "-"), host="0.0.0.0") as receiver:
        await receiver.until_ready()
        refused = await receiver.client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        allowed = {"x-api-key": KEY.replace(" ", "-")}
        answer = await receiver.client.head(path, headers=allowed)
        assert answer.status_code in (200, 404)
        retry = await receiver.client.post("/runs/retry", json={"handler": "x"})
        assert retry.status_code == 401
        assert (await receiver.post(1)).status_code == 200, "webhooks have their signature"


async def test_without_a_key_a_receiver_for_others_shows_nothing_and_says_what_to_set(empty_database_url: str) -> None:
    async with serving(empty_database_url, host="0.0.0.0") as receiver:
        await receiver.until_ready()
        refused = await receiver.client.get("/events")
        assert (refused.status_code, refused.json()["code"]) == (403, "no_key_configured")
        assert "RECEIVER_API_KEY" in refused.json()["error"]


async def test_metrics_count_what_came_in_and_are_well_formed(receiver: Running) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    await receiver.post(1, body=body_of(1).replace('"seq"', '"received_at": "2026-01-01T00:00:00.000Z", "seq"'))
    await receiver.post(1)
    await receiver.post(2, headers={})
    answer = await receiver.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["receiver_webhooks_total", "stored"] == 1
    assert samples["receiver_webhooks_total", "duplicate"] == 1
    assert samples["receiver_refused_total", "bad_webhook_header"] == 1
    assert samples["receiver_event_lag_seconds_count",] == 1
    assert samples["receiver_event_lag_seconds_sum",] > 0
    assert samples["receiver_database_up",] == 1
