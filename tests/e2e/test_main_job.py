"""The main job, end to end, as a user sees it: the real engine, PostgreSQL and HTTP, with the sandbox as WhatsApp."""

import json
from pathlib import Path

import pytest

from tests.support.stack import nodes, running_stack, until

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
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

        tree = (await stack.call("GET", "/readyz?verbose"))["tree"]
        names = [node["name"] for node in nodes(tree)]
        assert [n for n in names if n in ("store", "engines", "instances", "webhooks", "janitor", "http")] == [
            "store", "engines", "instances", "webhooks", "janitor", "http",
        ]  # fmt: skip
        assert f"instance {key}" in names

        assert await stack.stop() == 0
        assert json.loads(stack.stdout)["ready"] is True
        assert stack.stdout.count(b"\n") == 1


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
