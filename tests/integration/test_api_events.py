"""Events pulled instead of pushed: pages by cursor, and streams that go on where their reader was."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import h11
import pytest
import trio
import trio.testing

from bridge.api import pull
from bridge.store.events import Ingest
from bridge.store.feed import SPAN, Filter
from bridge.store.store import Store
from tests.support.api import API_KEY
from tests.support.bridge import Bridge, add_key, bridge_on
from tests.support.hooks import DEADLINE_S, Owned, owned, rows, sent_event, text_event


def seqs(page: Any) -> list[int]:
    return [event["seq"] for event in page["events"]]


class Stream:
    """A stream of server-sent events that a test reads message by message, over a socket of its own."""

    def __init__(self, socket: trio.SocketStream) -> None:
        self._socket = socket
        self._http = h11.Connection(h11.CLIENT)
        self._text = b""

    async def ask(self, path: str, headers: dict[str, str]) -> None:
        fields = {"Host": "bridge", "X-Api-Key": API_KEY, **headers}
        request = h11.Request(method="GET", target=path, headers=list(fields.items()))
        await self._socket.send_all((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        answer = await self._event()
        assert isinstance(answer, h11.Response) and answer.status_code == 200
        assert dict(answer.headers)[b"content-type"] == b"text/event-stream"

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._socket.receive_some(65_536)))
        return event

    async def message(self) -> dict[str, str]:
        """Return the fields of the next message, comments under the empty name; raise `EOFError` at the end."""
        with trio.fail_after(DEADLINE_S):
            while b"\n\n" not in self._text:
                event = await self._event()
                if not isinstance(event, h11.Data):
                    raise EOFError
                self._text += bytes(event.data)
        message, _, self._text = self._text.partition(b"\n\n")
        parts = (line.partition(":") for line in message.decode().split("\n"))
        return {name: value.strip() for name, _, value in parts}

    async def events(self, count: int) -> list[tuple[str, Any]]:
        found = []
        while len(found) < count:
            fields = await self.message()
            if "data" in fields:
                found.append((fields["id"], json.loads(fields["data"])))
        return found


@asynccontextmanager
async def streaming(bridge: Bridge, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with await trio.open_tcp_stream("127.0.0.1", bridge.client.base_url.port or 0) as socket:
        stream = Stream(socket)
        await stream.ask(f"/events/stream{query}", {"X-Api-Key": bridge.client.headers["X-Api-Key"], **headers})
        yield stream


async def test_pages_go_through_everything_once_in_the_order_of_the_commits(store: Store) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        for number in range(12):
            await (other if number % 3 else bridge.instance).append(text_event(f"chat {number}"))
        seen: list[Any] = []
        after = 0
        while (page := await bridge.call("GET", f"/events?after={after}&limit=5"))["events"]:
            seen += page["events"]
            after = page["next_after"]
        assert [event["data"]["chat_id"] for event in seen] == [f"chat {number}" for number in range(12)]
        [(body,)] = await rows(store, "select body from bridge.event where id = %s", seen[0]["id"])
        answer = await bridge.client.get("/events?limit=1")
        assert str(body) in answer.text  # byte for byte
        assert page == {"events": [], "next_after": after}


async def test_a_reader_picks_instances_and_types_and_starts_where_it_wants(store: Store) -> None:
    async with bridge_on(store) as bridge:
        mine, other, third = bridge.instance, await owned(store), await owned(store)
        for instance in (mine, other, third):
            await instance.append(text_event(), sent_event(), text_event())
        both = await bridge.call("GET", f"/events?instance_key={mine.key},{third.key}&types=message.received")
        assert [event["instance"] for event in both["events"]] == [mine.key] * 2 + [third.key] * 2
        assert both == await bridge.call(
            "GET", f"/events?instance_key={mine.key}&instance_key={third.key}&types=message.received"
        )
        assert seqs(await bridge.call("GET", f"/events?instance_key={other.key}&after_seq=1")) == [2, 3]
        assert seqs(await bridge.call("GET", f"/events?instance_key={other.key}&after_seq=0")) == [1, 2, 3]
        latest = await bridge.call("GET", "/events?after=latest")
        assert latest["events"] == []
        await mine.append(text_event())
        assert seqs(await bridge.call("GET", f"/events?after={latest['next_after']}")) == [4]
        assert seqs(await bridge.call("GET", "/events", **{"X-Instance-Key": mine.key})) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "query",
    ["after=x", "after=-1", "after=1e3", "after_seq=1", "limit=0", "limit=1001", "wait_s=61", "instance_key=abc"],
)
async def test_a_wrong_parameter_is_named(store: Store, query: str) -> None:
    async with bridge_on(store) as bridge:
        for path in ("/events", "/events/stream"):
            if path.endswith("stream") and query.startswith(("limit", "wait_s")):
                continue
            answer = await bridge.call("GET", f"{path}?{query}", expect=400)
            assert (answer["code"], answer["details"]["field"]) == ("invalid_field", query.partition("=")[0])


async def test_a_long_poll_answers_with_the_next_event_or_after_its_time(store: Store) -> None:
    async with bridge_on(store) as bridge:
        answers: list[Any] = []

        async def poll(query: str) -> None:
            answers.append(await bridge.call("GET", f"/events?{query}"))

        other = await owned(store)
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poll, f"wait_s=30&instance_key={bridge.instance.key}")
                await trio.testing.wait_all_tasks_blocked(0.1)
                await other.append(text_event())
                await bridge.instance.append(text_event("awaited"))
            assert answers[0]["events"][0]["data"]["chat_id"] == "awaited"
            await poll(f"wait_s=0.1&after={answers[0]['next_after']}")
            assert answers[1]["events"] == []
            bridge.stopping.set()
            await poll(f"wait_s=30&after={answers[0]['next_after']}")  # a stop is not waited out


async def test_what_is_not_for_a_reader_is_passed_over_in_bounded_steps(store: Store) -> None:
    instance = await owned(store)
    await instance.append(*(text_event() for _ in range(5)))
    other = await owned(store)
    await other.append(text_event())
    batch = await store.feed.read(0, Filter(frozenset({other.key})), limit=10)
    assert len(batch.entries) == 1 and not batch.more
    nobody = await store.feed.read(0, Filter(frozenset()), limit=10)
    assert (nobody.entries, nobody.after) == ((), batch.after)
    assert SPAN <= 2_000  # rows that one query may look at


async def test_a_page_is_bounded_in_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(*(text_event(text="x" * 1_000) for _ in range(6)))
        monkeypatch.setattr(pull, "PAGE_BYTES", 3_500)
        page = await bridge.call("GET", "/events")
        assert seqs(page) == [1, 2]
        assert seqs(await bridge.call("GET", f"/events?after={page['next_after']}")) == [3, 4]


async def test_a_stream_gives_what_there_was_and_then_what_comes_and_is_resumed_by_its_id(store: Store) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        await bridge.instance.append(text_event("1"), text_event("2"))
        async with streaming(bridge) as stream:
            first = await stream.events(2)
            await other.append(text_event("3"))
            third = (await stream.events(1))[0]
        assert [event["data"]["chat_id"] for _, event in [*first, third]] == ["1", "2", "3"]
        await bridge.instance.append(text_event("4"))
        await other.append(text_event("5"))
        async with streaming(bridge, "?after=0", **{"Last-Event-ID": first[1][0]}) as stream:
            rest = await stream.events(3)
        assert [event["data"]["chat_id"] for _, event in rest] == ["3", "4", "5"]
        assert {event["instance"] for _, event in rest} == {bridge.instance.key, other.key}


async def test_a_reader_that_falls_behind_gets_everything(store: Store) -> None:
    async with bridge_on(store) as bridge:
        async with streaming(bridge, f"?instance_key={bridge.instance.key}") as stream:
            await stream.message()
            total = 0
            for _ in range(20):  # far more than the sockets between us hold
                total += len(await bridge.instance.append(*(text_event(text="x" * 5_000) for _ in range(50))))
            found = await stream.events(total)
        assert [event["seq"] for _, event in found] == list(range(1, total + 1))


async def test_a_silent_stream_says_that_it_is_there_and_how_far_it_has_come(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.05)
    async with bridge_on(store) as bridge:
        other = await owned(store)
        async with streaming(bridge, f"?instance_key={bridge.instance.key}") as stream:
            await stream.message()
            assert await stream.message() == {"": "still here"}
            await other.append(text_event())
            with trio.fail_after(DEADLINE_S):
                while "id" not in (fields := await stream.message()):
                    pass
            assert (fields[""], int(fields["id"])) == ("still here", await store.feed.head())


async def test_a_stream_ends_when_the_bridge_stops_and_when_its_reader_goes(store: Store) -> None:
    async with bridge_on(store) as bridge:
        async with streaming(bridge):
            pass
        async with streaming(bridge) as stream:
            await stream.message()
            bridge.stopping.set()
            with pytest.raises(EOFError):
                while True:
                    await stream.message()


async def test_a_key_of_one_instance_reads_the_events_of_that_one(store: Store) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        await other.append(text_event())
        await bridge.instance.append(text_event())
        await add_key(store, "a tenant's key", role="viewer", instances=[bridge.instance.key])
        bridge.client.headers["X-Api-Key"] = "a tenant's key"
        page = await bridge.call("GET", "/events")
        assert [event["instance"] for event in page["events"]] == [bridge.instance.key]
        assert (await bridge.call("GET", f"/events?instance_key={other.key}", expect=403))["code"] == "forbidden"
        async with streaming(bridge, "?instance_key=*") as stream:
            assert (await stream.events(1))[0][1]["instance"] == bridge.instance.key


async def test_no_reader_of_the_feed_misses_an_event_while_two_writers_commit(store: Store) -> None:
    """The second writer stands for another bridge: its transactions overlap with ours, and end in any order."""
    first, second = await owned(store), await owned(store)
    other, stop, done = Ingest(store.pool), trio.Event(), trio.Event()
    second = replace(second, store=_Writing(other))  # type: ignore[arg-type]
    found: list[int] = []

    async def write(instance: Owned, number: int) -> None:
        for _ in range(15):
            await instance.append(*(text_event(f"chat {number}") for _ in range(1 + number % 3)))

    async def read() -> None:
        after = 0
        while True:
            ended = done.is_set()
            batch = await store.feed.read(after, Filter(), limit=7)
            found.extend(entry.position for entry in batch.entries)
            after = batch.after
            if ended and not batch.entries:
                return

    with trio.fail_after(60):
        async with trio.open_nursery() as outer:
            await outer.start(partial(other.run, stop=stop))
            outer.start_soon(read)
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(write, (first, second)[number % 2], number)
            done.set()
            stop.set()
    stored = [row[0] for row in await rows(store, "select position from bridge.event order by position")]
    assert found == stored and len(stored) == 15 * (1 + 2 + 3) * 2


class _Writing:
    """A store of which only the writer is used."""

    def __init__(self, events: Ingest) -> None:
        self.events = events


async def test_a_position_is_given_only_after_the_one_before_it_is_committed(store: Store) -> None:
    """While a writer holds the turn another one waits, even for another instance: else a reader could pass it by."""
    instance = await owned(store)
    async with store.pool.transaction() as conn:
        await conn.execute("select pg_advisory_xact_lock(7318349394477056)")
        with trio.move_on_after(0.3) as waiting:
            await instance.append(text_event())
        assert waiting.cancelled_caught
    with trio.fail_after(DEADLINE_S):
        while await store.feed.head() == 0:  # noqa: ASYNC110 -- a condition in PostgreSQL
            await trio.sleep(0.02)
