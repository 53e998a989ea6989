"""The main job, end to end, as a user sees it: the real engine, PostgreSQL and HTTP, with the sandbox as WhatsApp."""

import json
from pathlib import Path

import pytest
import trio

from tests.support.stack import Stack, nodes, running_stack, until

PHONE, CONTACT = "4915100000001", "4915100000002"

pytestmark = pytest.mark.engine


async def test_pair_send_receive_deliver_and_end_in_order(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        status = await stack.status(key)
        assert (status["connected"], status["logged_in"], status["phone_number"]) == (True, True, PHONE)

        sent = await stack.call("POST", "/message/send", instance_key=key, phone=CONTACT, message="see you at 10")
        assert sent["status"] == "sent"
        inbox = await stack.sandbox.messages(CONTACT)
        assert [(text.text, text.message_id) for text in inbox] == [("see you at 10", sent["message_id"])]

        await stack.sandbox.send(CONTACT, PHONE, "thank you")

        async def arrived() -> bool:
            return "thank you" in await stack.received_texts()

        await until(arrived)
        event = (await stack.received(type="message.received"))[-1]["body"]
        assert event["instance"] == key
        assert event["event"] == "message_received"
        assert event["data"]["sender"]["phone"] == CONTACT
        assert event["me"]["phone"] == PHONE

        events = [event["body"] for event in await stack.received(instance=key)]
        assert sorted(event["seq"] for event in events) == list(range(1, len(events) + 1))

        tree = (await stack.call("GET", "/readyz?verbose"))["tree"]
        names = [node["name"] for node in nodes(tree)]
        assert [n for n in names if n in ("store", "engines", "instances", "webhooks", "janitor", "http")] == [
            "store", "engines", "instances", "webhooks", "janitor", "http",
        ]  # fmt: skip
        assert f"instance {key}" in names

        await assert_metrics_tell_of_it(stack)
        await assert_bad_input_changes_nothing(stack, key)
        log = stack.log() + "".join(path.read_text() for path in (tmp_path / "data" / "log").iterdir())
        for secret in secrets_of(tmp_path / "data", stack.ready["api_key"]):
            assert secret not in log

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(assert_not_ready_soon, stack)
            assert stack.process is not None
            stack.process.terminate()
        assert await stack.stop() == 0
        assert trio.current_time() - began < 15
        assert json.loads(stack.stdout)["ready"] is True
        assert stack.stdout.count(b"\n") == 1


async def assert_not_ready_soon(stack: Stack) -> None:
    """See readiness end while the listener is still there."""

    async def not_ready() -> bool:
        return (await stack.api.get("/readyz")).status_code == 503

    await until(not_ready, 5, every_s=0.02)


async def assert_metrics_tell_of_it(stack: Stack) -> None:
    lines = (await stack.api.get("/metrics")).text.splitlines()
    told = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert told['bridge_instances{state="online"}'] == told['bridge_engine_sessions{kind="shared"}'] == 1
    assert told['bridge_events_total{type="message.received"}'] == 1
    assert told['bridge_send_seconds_count{outcome="sent"}'] == 1
    assert told['bridge_deliveries_total{result="delivered"}'] > 1
    assert told['bridge_http_requests_total{method="POST",route="/message/send",status="200"}'] == 1
    assert told["bridge_event_loop_lag_seconds_count"] > 1 and told["bridge_store_up"] == told["bridge_ready"] == 1


async def assert_bad_input_changes_nothing(stack: Stack, key: str) -> None:
    """Send what cannot be carried out: each has its status and a JSON error, and no event comes of it."""
    before = await stack.received()
    known = {"instance_key": key, "phone": CONTACT, "message": "hi"}
    calls = [
        (404, "unknown_instance", {"json": known | {"instance_key": "0" * 32}}),
        (422, "unknown_recipient", {"json": known | {"phone": "4915199999999"}}),
        (400, "malformed_json", {"content": b'{"instance_key": '}),
        (400, "invalid_field", {"json": known | {"message": 5}}),
        (400, "invalid_field", {"json": {"instance_key": key, "phone": CONTACT}}),
        (400, "invalid_recipient", {"json": known | {"phone": "my friend"}}),
        (413, "body_too_large", {"content": b"x" * 5_000_000}),
    ]
    for status, code, request in calls:
        answer = await stack.api.post("/message/send", **request)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert isinstance(answer.json()["error"], str)
    answer = await stack.receiver.post(f"{stack.ready['api']}/message/send", json=known)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert (await stack.api.get("/no/such/route")).json()["code"] == "not_found"
    assert await stack.received() == before


def secrets_of(data_dir: Path, api_key: str) -> list[str]:
    """Return what must never be in a log."""
    files = [path for path in (*data_dir.glob("*secret*"), *data_dir.rglob("*password*")) if path.is_file()]
    assert files
    return [api_key, *(path.read_text().strip() for path in files)]


async def test_a_bridge_that_is_killed_comes_back_with_its_sessions_its_key_and_its_events(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        paused = await stack.pair("4915100000003")
        await stack.call("POST", f"/instance/{paused}/disconnect")
        before = stack.ready["api_key"]
        await stack.kill()
        await stack.start()
        assert stack.ready["api_key"] == before
        await stack.until_online(key)
        assert (await stack.status(paused))["state"] == "paused"
        await stack.sandbox.send(CONTACT, PHONE, "still there?")

        async def arrived() -> bool:
            return "still there?" in await stack.received_texts()

        await until(arrived)
