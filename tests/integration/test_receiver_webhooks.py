"""Webhooks over real HTTP into a real PostgreSQL: stored once, byte by byte, before the answer, or not at all."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import trio

from receiver.envelope import Index
from receiver.errors import NotStored
from receiver.http import MAX_BODY_BYTES
from receiver.writer import Incoming
from tests.support.receiver import DEADLINE_S, Running, body_of, serving, signed, until


@pytest.fixture
async def receiver(empty_database_url: str) -> AsyncIterator[Running]:
    async with serving(empty_database_url) as running:
        await running.until_ready()
        yield running


@pytest.fixture
def database(empty_database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the test's own."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        yield connection


def rows(database: psycopg.Connection) -> list[tuple[object, ...]]:
    return database.execute("select webhook_id, body from receiver.event order by cursor").fetchall()


async def until_somebody_waits_for_a_lock(url: str) -> None:
    async def waits() -> bool:
        await trio.lowlevel.checkpoint()
        with psycopg.connect(url) as other:
            return other.execute("select from pg_locks where not granted").fetchone() is not None

    await until(waits)


@pytest.mark.parametrize("path", ["/", "/webhook"])
async def test_a_verified_webhook_is_stored_with_its_exact_bytes(
    receiver: Running, database: psycopg.Connection, path: str
) -> None:
    body = body_of(1) + " \r\n "
    answer = await receiver.post(1, body=body, path=path)
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    assert rows(database) == [("evt_1", body.encode())]


async def test_a_redelivered_webhook_is_stored_once(receiver: Running, database: psycopg.Connection) -> None:
    answers = [await receiver.post(1, headers=signed("evt_1", body_of(1), attempt=attempt)) for attempt in (1, 2, 3)]
    assert [answer.json()["status"] for answer in answers] == ["stored", "duplicate", "duplicate"]
    assert database.execute("select attempt from receiver.event").fetchall() == [(1,)]


async def test_of_twenty_equal_webhooks_at_once_one_is_stored(receiver: Running, database: psycopg.Connection) -> None:
    said: list[str] = []

    async def post() -> None:
        said.append((await receiver.post(1)).json()["status"])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(post)
    assert sorted(said) == ["duplicate"] * 19 + ["stored"]
    assert len(rows(database)) == 1


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        # made when the test runs: by then the signatures of the collection would be stale
        (401, "bad_webhook_header", dict),
        (401, "bad_signature", lambda: signed("evt_1", body_of(2))),
        (401, "bad_signature", lambda: signed("evt_1", body_of(1), secret="whsec_" + "f" * 40)),
        (401, "stale_timestamp", lambda: signed("evt_1", body_of(1), at=datetime.now(UTC) - timedelta(minutes=6))),
    ],
)
async def test_what_is_not_verified_is_not_stored(
    receiver: Running, database: psycopg.Connection, status: int, code: str, headers: Callable[[], dict[str, str]]
) -> None:
    answer = await receiver.post(1, headers=headers())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"error", "code", "retryable"}
    assert rows(database) == []


async def test_a_signed_body_that_is_no_json_object_is_not_stored(
    receiver: Running, database: psycopg.Connection
) -> None:
    answer = await receiver.post(1, body="[1]")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert rows(database) == []


async def test_a_body_over_the_limit_is_not_stored_announced_or_not(
    receiver: Running, database: psycopg.Connection
) -> None:
    body = '{"x":"' + "a" * MAX_BODY_BYTES + '"}'
    announced = await receiver.post(1, body=body)
    assert (announced.status_code, announced.json()["code"]) == (413, "body_too_large")
    head = "".join(f"{name}: {value}\r\n" for name, value in signed("evt_1", body).items())
    with trio.fail_after(DEADLINE_S):
        async with await receiver.connect() as stream:
            await stream.send_all(f"POST / HTTP/1.1\r\nhost: x\r\n{head}transfer-encoding: chunked\r\n\r\n".encode())
            await stream.send_all(f"{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
            chunked = b"".join([piece async for piece in stream])
    assert chunked.startswith(b"HTTP/1.1 413 ")
    assert rows(database) == []


async def test_nobody_is_answered_before_the_commit_and_those_who_wait_share_the_next(
    receiver: Running, database: psycopg.Connection, empty_database_url: str
) -> None:
    stored: list[bool] = []

    async def store(number: int) -> None:
        stored.append(await receiver.store.store(Incoming(f"evt_{number}", 1, Index(None, None, number, None), b"{}")))

    async with trio.open_nursery() as nursery:
        with database.transaction():
            database.execute("lock table receiver.event in exclusive mode")
            before = receiver.store.counts()["batches"]
            nursery.start_soon(store, 0)
            await until_somebody_waits_for_a_lock(empty_database_url)
            for number in range(1, 50):
                nursery.start_soon(store, number)
            await trio.testing.wait_all_tasks_blocked()
            assert stored == []
    assert stored == [True] * 50
    assert receiver.store.counts()["batches"] == before + 2
    assert rows(database)[0][0] == "evt_0"


async def test_cursors_wait_for_the_commit_of_another_receiver_on_the_same_database(
    receiver: Running, database: psycopg.Connection, empty_database_url: str
) -> None:
    """Else a reader could pass a cursor whose row is committed later, and never see it."""
    async with serving(empty_database_url) as second:
        await second.until_ready()
        async with trio.open_nursery() as nursery:
            with database.transaction():  # the second receiver, between its insert and its commit
                database.execute("select pg_advisory_xact_lock(hashtextextended('receiver.event', 0))")
                nursery.start_soon(receiver.post, 1)
                nursery.start_soon(second.post, 2)
                await until_somebody_waits_for_a_lock(empty_database_url)
                assert rows(database) == []
    assert sorted(str(row[0]) for row in rows(database)) == ["evt_1", "evt_2"]


async def test_a_row_that_the_database_refuses_does_not_take_its_batch_with_it(
    receiver: Running, database: psycopg.Connection, empty_database_url: str
) -> None:
    outcomes: dict[str, object] = {}

    async def store(webhook_id: str, kind: str) -> None:
        await trio.lowlevel.checkpoint()
        try:
            outcomes[webhook_id] = await receiver.store.store(
                Incoming(webhook_id, 1, Index(None, kind, None, None), b"{}")
            )
        except NotStored as error:
            outcomes[webhook_id] = type(error)

    async with trio.open_nursery() as nursery:
        with database.transaction():
            database.execute("lock table receiver.event in exclusive mode")
            nursery.start_soon(store, "evt_0", "x")
            await until_somebody_waits_for_a_lock(empty_database_url)
            for webhook_id, kind in (("evt_1", "x"), ("evt_2", "no\0text"), ("evt_3", "x")):
                nursery.start_soon(store, webhook_id, kind)
            await trio.testing.wait_all_tasks_blocked()
    assert outcomes == {"evt_0": True, "evt_1": True, "evt_2": NotStored, "evt_3": True}


async def test_events_are_paged_by_cursor_and_filtered(receiver: Running) -> None:
    for number in range(1, 7):
        await receiver.post(number, body=body_of(number, chat=f"{number % 2}@g.us", instance="ab"[number // 4] * 32))
    seen: list[object] = []
    after: object = 0
    while True:
        answer = (await receiver.client.get("/events", params={"after": str(after), "limit": 2})).json()
        if not answer["events"]:
            assert answer["next_after"] == after
            break
        assert answer["next_after"] == answer["events"][-1]["cursor"]
        seen += [event["seq"] for event in answer["events"]]
        after = answer["next_after"]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [event["seq"] for event in await receiver.events(chat="1@g.us")] == [1, 3, 5]
    assert [event["seq"] for event in await receiver.events(instance="b" * 32, limit=2)] == [4, 5]
    assert [event["seq"] for event in await receiver.events(type="message.received", chat="0@g.us")] == [2, 4, 6]
    assert await receiver.events(type="message.sent") == []


async def test_an_event_is_shown_with_its_body_as_json(receiver: Running) -> None:
    await receiver.post(1, headers=signed("evt_1", body_of(1), attempt=4))
    [event] = await receiver.events()
    body = event["body"]
    assert isinstance(body, dict)
    assert body["data"]["text"] == "grüß dich  \U0001f44b"
    received_at = datetime.fromisoformat(str(event.pop("received_at")))
    assert abs((datetime.now(UTC) - received_at).total_seconds()) < 60
    assert event == {
        "cursor": 1, "webhook_id": "evt_1", "attempt": 4, "instance": "a" * 32, "type": "message.received", "seq": 1,
        "chat": "491701@s.whatsapp.net", "body": body,
    }  # fmt: skip


async def test_a_page_of_large_bodies_is_cut_but_never_empty(receiver: Running) -> None:
    filler = "a" * (MAX_BODY_BYTES - 100)
    for number in range(4):
        assert (await receiver.post(number, body=f'{{"seq":{number},"x":"{filler}"}}')).status_code == 200
    first = await receiver.events()
    rest = await receiver.events(after=str(first[-1]["cursor"]))
    assert [event["seq"] for event in first + rest] == [0, 1, 2, 3]
    assert len(first) < 4


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=x",
        "limit=0",
        "limit=1001",
        "limit=",
        "foo=1",
        "after=1&after=2",
        "chat=%00",
        "chat=%ff",
        "=",
        "a&b",
    ],
)
async def test_a_query_that_is_not_understood_is_refused(receiver: Running, query: str) -> None:
    answer = await receiver.client.get(f"/events?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_query")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/events", 405, "method_not_allowed"),
        ("GET", "/webhook", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
async def test_every_error_is_json(receiver: Running, method: str, path: str, status: int, code: str) -> None:
    answer = await receiver.client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert (status == 405) == ("allow" in answer.headers)


async def test_health_counts_what_was_stored_and_refused(receiver: Running) -> None:
    await receiver.post(1)
    await receiver.post(1)
    await receiver.post(2, headers={})
    health = (await receiver.client.get("/health")).json()
    assert (health["status"], health["database"]) == ("ok", "ok")
    counts = health["since_start"]
    assert (counts["stored"], counts["duplicates"], counts["refused"]) == (1, 1, {"bad_webhook_header": 1})


async def test_a_receiver_that_stops_is_not_ready(receiver: Running) -> None:
    with trio.fail_after(DEADLINE_S):
        async with await receiver.connect() as stream:
            await stream.send_all(b"GET /readyz HTTP/1.1\r\n")  # begun: the drain waits for it
            assert (await receiver.client.get("/livez")).status_code == 200
            receiver.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"host: x\r\n\r\n")
            answer = b"".join([piece async for piece in stream])
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in answer
