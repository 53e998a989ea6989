"""The example handler, end to end: a contact sends "ping" over WhatsApp and is answered "pong", once."""

import socket
from pathlib import Path

import pytest

from tests.support.stack import WITH_SANDBOX, Stack, running, until

PHONE, CONTACT = "4915100000001", "4915100000002"

pytestmark = pytest.mark.engine


async def test_a_ping_is_answered_through_the_bridge_by_the_example(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "RECEIVER_HANDLERS": "receiver.examples.pong:answer",
        "PONG_API_URL": f"http://127.0.0.1:{port}",
        "PONG_API_KEY_FILE": str(tmp_path / "data" / "api-key"),
    }
    async with running(Stack(tmp_path / "data", environment, (*WITH_SANDBOX, "--port", str(port)))) as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        await stack.pair(PHONE)
        await stack.sandbox.send(CONTACT, PHONE, "Ping")
        await stack.sandbox.send(CONTACT, PHONE, "no answer to this")

        async def answered() -> bool:
            return "pong" in [text.text for text in await stack.sandbox.messages(CONTACT)]

        await until(answered)

        async def all_handled() -> bool:
            [handler] = (await stack.receiver.get("/handlers")).json()["handlers"]
            return bool(handler["pending"] == 0 and handler["results"]["ok"] >= 2)

        await until(all_handled)
        assert [text.text for text in await stack.sandbox.messages(CONTACT)] == ["pong"]
