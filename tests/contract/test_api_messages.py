"""Sending a text: the original's call, our reference to the message, and every way to be refused."""

import pytest
import trio
import trio.testing

from bridge.domain.sends import SendOptions
from bridge.instances.errors import Busy, CommandInProgress, NotConnected, SendUnknown
from bridge.store.errors import IdempotencyMismatch, StoreUnavailable
from tests.support.api import Api, running_api

JID = "4915112345678@s.whatsapp.net"


def body(api: Api, **fields: object) -> dict[str, object]:
    return {"instance_key": api.add(), "phone": "+49 151 12345678", "message": "hello", **fields}


async def test_a_text_is_sent_and_answered_like_the_original() -> None:
    async with running_api() as api:
        given = body(api, reply_to="3EB0ABC")
        answer = await api.client.post("/message/send", json=given)
    assert answer.status_code == 200
    assert answer.json()["status"] == "sent"
    assert answer.json()["message_id"] == "3EB001"
    assert answer.json()["to"] == JID
    assert answer.json()["sent_at"].endswith("Z")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    (asked,) = api.directory.sent
    assert (asked.key, asked.kind, asked.to) == (given["instance_key"], "text", JID)
    assert asked.body == {"text": "hello", "reply_to": "3EB0ABC"}
    assert (asked.idempotency_key, asked.options) == (None, SendOptions())


@pytest.mark.parametrize("text", ["a", "😀\n" * 10, "\u202e<b>&amp;", "x" * 65_536])
async def test_the_text_arrives_unchanged(text: str) -> None:
    async with running_api() as api:
        assert (await api.client.post("/message/send", json=body(api, message=text))).status_code == 200
        assert api.directory.sent[0].body == {"text": text}


async def test_to_is_the_same_as_phone() -> None:
    async with running_api() as api:
        given = body(api, to=JID)
        assert (await api.client.post("/message/send", json=given)).status_code == 200
        del given["phone"]
        assert (await api.client.post("/message/send", json=given)).status_code == 200
        differing = await api.client.post("/message/send", json={**given, "phone": "4915100000000"})
        assert (differing.status_code, differing.json()["code"]) == (400, "invalid_field")
        assert [sent.to for sent in api.directory.sent] == [JID, JID]


async def test_mode_queue_answers_202() -> None:
    async with running_api() as api:
        answer = await api.client.post("/message/send", json=body(api, mode="queue"))
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert "sent_at" not in answer.json()
    assert answer.json()["queued_at"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"phone": "call me"}, 400, "invalid_recipient", "phone"),
        ({"phone": "0151 234567"}, 400, "invalid_recipient", "phone"),
        ({"phone": None}, 400, "invalid_field", "phone"),
        ({"phone": None, "to": "x@example.com"}, 400, "invalid_recipient", "to"),
        ({"phone": 4915112345678}, 400, "invalid_field", "phone"),
        ({"message": None}, 400, "invalid_field", "message"),
        ({"message": ""}, 400, "invalid_field", "message"),
        ({"message": {"text": "x"}}, 400, "invalid_field", "message"),
        ({"message": "x" * 65_537}, 400, "invalid_field", "message"),
        ({"mode": "later"}, 400, "invalid_field", "mode"),
        ({"reply_to": 1}, 400, "invalid_field", "reply_to"),
        ({"send_at": "2020-01-01T00:00:00Z"}, 400, "invalid_field", "send_at"),
        ({"send_at": "2026-01-01T00:00:00"}, 400, "invalid_field", "send_at"),
        ({"mentions": ["me"]}, 400, "invalid_recipient", "mentions"),
        ({"link_preview": True}, 400, "invalid_field", "link_preview"),
        ({"delay_ms": 30_001}, 400, "invalid_field", "delay_ms"),
        ({"ttl_s": 0}, 400, "invalid_field", "ttl_s"),
        ({"instance_key": 5}, 400, "invalid_field", "instance_key"),
    ],
)
async def test_a_wrong_field_is_refused_by_name_and_nothing_is_sent(
    fields: dict[str, object], status: int, code: str, field: str
) -> None:
    async with running_api() as api:
        answer = await api.client.post("/message/send", json=body(api, **fields))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["details"]["field"] == field
        assert not api.directory.sent


async def test_a_missing_message_is_named() -> None:
    async with running_api() as api:
        answer = await api.client.post("/message/send", json={"instance_key": api.add(), "phone": "4915112345678"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "message"})


async def test_the_idempotency_key_and_a_hash_of_the_meaning_reach_the_directory() -> None:
    async with running_api() as api:
        given = body(api)
        headers = {"Idempotency-Key": "order-7"}
        await api.client.post("/message/send", json=given, headers=headers)
        await api.client.post("/message/send", json={**given, "phone": JID}, headers=headers)
        await api.client.post("/message/send", json={**given, "message": "other"}, headers=headers)
        first, same, other = api.directory.sent
        bad = await api.client.post("/message/send", json=given, headers={"Idempotency-Key": "x" * 256})
    assert first.idempotency_key == "order-7"
    assert first.request_hash == same.request_hash != other.request_hash
    assert len(first.request_hash) == 32
    assert bad.status_code == 400


@pytest.mark.parametrize(
    ("failure", "status", "retryable"),
    [
        (NotConnected(), 400, True),
        (CommandInProgress(), 409, True),
        (IdempotencyMismatch(), 422, False),
        (Busy(retry_after_s=2.2), 429, True),
        (StoreUnavailable(), 503, True),
        (SendUnknown(command="cmd_1"), 504, False),
    ],
)
async def test_the_directorys_refusals_keep_their_status(failure: Exception, status: int, retryable: bool) -> None:
    async with running_api() as api:
        api.directory.failure = failure
        answer = await api.client.post("/message/send", json=body(api))
    assert answer.status_code == status
    assert answer.json()["retryable"] is retryable
    assert answer.json()["error"]
    assert ("retry-after" in answer.headers) is (status in {429, 503})
    if status == 429:
        assert answer.headers["retry-after"] == "3"
    if status == 504:
        assert answer.json()["details"]["certain"] is False


@pytest.mark.parametrize(("outcome", "status"), [("unknown", 504), ("failed", 502), ("delivered", 200)])
async def test_only_a_message_that_whatsapp_took_is_answered_with_200(outcome: str, status: int) -> None:
    async with running_api() as api:
        api.directory.outcome = outcome
        answer = await api.client.post("/message/send", json=body(api))
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["details"]["command_id"] == "cmd_01"
        assert answer.json()["details"]["status"] == outcome


async def test_a_send_goes_on_when_its_client_goes_away() -> None:
    async with running_api() as api:
        key = api.add()
        api.directory.hold = trio.Event()
        raw = b'{"phone":"4915112345678","message":"promised"}'
        head = f"POST /message/send HTTP/1.1\r\nHost: x\r\nX-Instance-Key: {key}\r\n"
        head += f"Apikey: {api.client.headers['X-Api-Key']}\r\nContent-Length: {len(raw)}\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
            await stream.send_all(head.encode() + raw)
            with trio.fail_after(5):
                await api.directory.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        api.directory.hold.set()
        with trio.fail_after(5):
            await api.directory.finished.wait()
        assert [sent.body["text"] for sent in api.directory.sent] == ["promised"]
