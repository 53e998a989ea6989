"""The feed over a WebSocket: order, acknowledgements that outlive both sides, the window, and every way to end."""

import json
from typing import Any

import pytest
import trio
from wsproto.events import CloseConnection, RejectConnection, RejectData, TextMessage

from bridge.api import pull, sockets
from bridge.api.sockets import WINDOW_EVENTS, Window
from bridge.store.store import Store
from tests.support.api import API_KEY, eventually, running_api
from tests.support.bridge import add_key, bridge_on
from tests.support.hooks import DEADLINE_S, owned, rows, text_event
from tests.support.sockets import ask, listening, port_of


async def refused(port: int, query: str, key: str | None, **headers: str) -> tuple[int, Any]:
    """Return status and body of an answer that comes instead of the upgrade."""
    client, answer = await ask(port, query, key, **headers)
    async with client.stream:
        assert isinstance(answer, RejectConnection), answer
        assert any(name == b"x-request-id" for name, _ in answer.headers)
        body = b""
        while isinstance(part := await client.next(), RejectData):
            body += part.data
            if part.body_finished:
                break
        return answer.status_code, json.loads(body)


async def stored(store: Store, position: int) -> None:
    """Wait until the consumer's cursor is there."""
    with trio.fail_after(DEADLINE_S):
        while (await rows(store, "select position from bridge.consumer"))[0][0] != position:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_events_come_in_order_and_what_was_acknowledged_comes_no_more(store: Store) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        await bridge.instance.append(text_event("1"), text_event("2"))
        async with listening(bridge, "?consumer=crm") as client:
            first = await client.frame()
            [(body,)] = await rows(store, "select body from bridge.event where id = %s", first["event"]["id"])
            assert json.loads(str(body)) == first["event"]
            found = await client.chats(1)
            await other.append(text_event("3"))
            found += await client.chats(1)
            assert [chat for _, chat in found] == ["2", "3"]
            await client.ack(found[0][0])
            await client.send(CloseConnection(code=1000))  # at once: the ack counts nevertheless
            assert isinstance(await client.next(), CloseConnection)
        await stored(store, found[0][0])
        async with listening(bridge, "?consumer=crm&after=0") as client:
            assert await client.chats(1) == found[1:]
        async with listening(bridge, "?consumer=other") as client:
            assert [chat for _, chat in await client.chats(3)] == ["1", "2", "3"]


async def test_a_consumer_goes_on_after_a_restart_of_the_server(store: Store) -> None:
    async with bridge_on(store) as bridge:
        instance = bridge.instance
        await instance.append(*(text_event(str(number)) for number in range(4)))
        async with listening(bridge, "?consumer=crm") as client:
            found = await client.chats(4)
            await client.ack(found[1][0])
            await stored(store, found[1][0])
            bridge.stopping.set()
            assert await client.closed() == sockets.GOING
    async with bridge_on(store) as bridge, listening(bridge, "?consumer=crm") as client:
        assert await client.chats(2) == found[2:]


async def test_a_new_consumer_begins_where_it_says_and_keeps_that(store: Store) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(text_event("before"))
        async with listening(bridge, "?consumer=crm&after=latest"):
            pass
        await bridge.instance.append(text_event("between"))
        async with listening(bridge, "?consumer=crm&after=latest") as client:
            assert [chat for _, chat in await client.chats(1)] == ["between"]
        async with listening(bridge, f"?instance_key={bridge.instance.key}&types=message.sent") as client:
            await client.silence()


async def test_a_reader_that_does_not_acknowledge_gets_a_window_and_no_more(store: Store) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(*(text_event(str(number)) for number in range(WINDOW_EVENTS + 5)))
        async with listening(bridge) as client:
            found = await client.chats(WINDOW_EVENTS)
            await client.silence()
            await client.ack(found[2][0])
            found += await client.chats(3)
            await client.silence()
            await client.ack(found[-1][0])
            found += await client.chats(2)
        assert [chat for _, chat in found] == [str(number) for number in range(WINDOW_EVENTS + 5)]


def test_a_window_is_bounded_in_bytes_and_takes_one_that_is_larger_alone() -> None:
    window = Window(0)
    assert window.takes(sockets.WINDOW_BYTES + 1)
    window.add(7, 1_500_000)
    assert window.takes(500_000) and not window.takes(500_001)
    assert not window.acknowledge(8) and not window.acknowledge(-1)
    assert window.acknowledge(7) and window.acknowledge(3) and window.acked == 7
    assert window.takes(sockets.WINDOW_BYTES + 1)


async def test_a_second_connection_of_a_consumer_takes_over(store: Store) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(text_event("1"), text_event("2"))
        await add_key(store, "another key")
        async with (
            listening(bridge, "?consumer=crm") as first,
            listening(bridge, "?consumer=crm", "another key") as apart,
        ):
            found = await first.chats(2)
            await apart.chats(2)
            async with listening(bridge, "?consumer=crm") as second:
                assert await first.closed() == sockets.TAKEN_OVER
                assert await second.chats(2) == found
                await second.ack(found[0][0])
                await apart.ack(found[1][0])  # another key's consumer of that name is another one
                await apart.silence()
        assert {row[0] for row in await rows(store, "select position from bridge.consumer")} == {
            found[0][0],
            found[1][0],
        }


async def test_a_connection_whose_consumer_another_bridge_has_taken_moves_nothing(store: Store) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(text_event("1"))
        async with listening(bridge, "?consumer=crm") as client:
            [(cursor, _)] = await client.chats(1)
            key_id = (await rows(store, "select key_id from bridge.consumer"))[0][0]
            await store.consumers.open(key_id, "crm", 0)
            await client.ack(cursor)
            assert await client.closed() == sockets.TAKEN_OVER
        await stored(store, 0)


@pytest.mark.parametrize(
    "frame", ["", "x", "[]", '{"ack": "1"}', '{"ack": 1, "more": 2}', '{"ack": 99999999999999999999}']
)
async def test_a_bad_frame_ends_the_connection_with_a_reason(store: Store, frame: str) -> None:
    async with bridge_on(store) as bridge, listening(bridge) as client:
        await client.send(TextMessage(frame))
        code, reason = await client.closed()
        assert code == 1008 and "ack" in reason


async def test_a_flood_of_frames_does_not_keep_a_connection(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames behind the one that ends it are waited for by nobody: the server must not wait to hand them over."""
    monkeypatch.setattr(sockets, "CLOSE_S", 0.0)
    async with bridge_on(store) as bridge, listening(bridge) as client:
        await client.stream.send_all(b"".join(client.ws.send(TextMessage("x")) for _ in range(2_000)))
        await eventually(lambda: bridge.server.connections == 0)


async def test_a_peer_that_answers_pings_stays_and_one_that_does_not_is_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next ping comes only when the last one's answer was heard, so each one that comes shows that."""
    monkeypatch.setattr(sockets, "PING_S", 0.01)
    monkeypatch.setattr(sockets, "PONG_S", DEADLINE_S)
    async with bridge_on(store) as bridge, listening(bridge) as client:
        for _ in range(4):
            await client.send((await client.ping()).response())
        last = await client.ping()
        monkeypatch.setattr(sockets, "PONG_S", 0.1)  # for the next one: this one has its deadline already
        await client.send(last.response())
        await client.ping()
        assert await client.any() == CloseConnection(*sockets.SILENT)


async def test_a_connection_ends_after_its_time_and_a_silent_one_says_how_far_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        await other.append(text_event())
        head = await store.feed.head()
        monkeypatch.setattr(pull, "HEARTBEAT_S", 0.1)
        async with listening(bridge, f"?consumer=crm&instance_key={bridge.instance.key}") as client:
            assert await client.frame() == {"cursor": head}
            await client.ack(head)
            await stored(store, head)
        monkeypatch.setattr(pull, "STREAM_MAX_S", 0.1)
        async with listening(bridge) as client:
            assert await client.closed() == sockets.AN_HOUR


async def test_who_may_not_is_refused_in_json_before_the_upgrade(store: Store) -> None:
    async with bridge_on(store) as bridge:
        port, other = port_of(bridge), await owned(store)
        await other.append(text_event("other"))
        await bridge.instance.append(text_event("mine"))
        await add_key(store, "a tenant's key", role="viewer", instances=[bridge.instance.key])
        for key in (None, "wrong"):
            status, body = await refused(port, "", key)
            assert (status, body["code"]) == (401, "unauthorized")
        status, body = await refused(port, f"?key={API_KEY}&token={API_KEY}", None)
        assert status == 401
        status, body = await refused(port, f"?instance_key={other.key}", "a tenant's key")
        assert (status, body["code"]) == (403, "forbidden")
        for query in ("consumer=A", f"consumer={'a' * 65}", "after=x", "instance_key=abc"):
            status, body = await refused(port, f"?{query}", API_KEY)
            assert (status, body["details"]["field"]) == (400, query.partition("=")[0])
        async with listening(bridge, "", "a tenant's key") as client:
            assert [chat for _, chat in await client.chats(1)] == ["mine"]
            await client.silence()
        assert (await bridge.call("GET", "/events/ws", expect=426))["code"] == "upgrade_required"
        assert await rows(store, "select 1 from bridge.consumer") == []


async def test_a_key_has_a_bounded_number_of_consumers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.consumers.CONSUMERS_MAX", 2)
    async with bridge_on(store) as bridge:
        for name in ("a", "b", "a"):
            async with listening(bridge, f"?consumer={name}"):
                pass
        status, body = await refused(port_of(bridge), "?consumer=c", API_KEY)
        assert (status, body["code"]) == (409, "too_many_consumers")
        await rows(
            store, "update bridge.consumer set used_at = now() - interval '91 days' where name = 'b' returning 1"
        )
        async with listening(bridge, "?consumer=c"):
            pass


async def test_a_page_of_another_site_opens_none_where_no_key_is_asked_for() -> None:
    async with running_api(auth_on=False) as api:
        status, body = await refused(api.bound.port, "", None, Origin="https://evil.example")
        assert (status, body["code"]) == (403, "forbidden")
