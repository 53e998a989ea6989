"""schemathesis against the whole product: what asks WhatsApp, of an instance that is online, and what posts."""

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.explore import ASKS_WHATSAPP, DEFECTS, explore
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.engine

NUMBER, CONTACT = "4915100000001", "4915100000002"

GROUP_CALLS = (
    *("GET /group/{key}/{id}", "PATCH /group/{key}/{id}", "POST /group/{key}/{id}/participants"),
    *("GET /group/{key}/{id}/invite", "POST /group/{key}/{id}/invite"),
    "GET /group/{key}/{id}/requests",
)
"""What is asked about a group that there is; it is left under other ids alone, so that the others have it."""


async def answers(stack: Stack) -> Counter[tuple[str, str]]:
    """Return how often each route was answered with each status."""
    families = text_string_to_metric_families((await stack.api.get("/metrics")).text)
    samples = [one for family in families for one in family.samples if one.name == "bridge_http_requests_total"]
    found: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        found[sample.labels["route"], sample.labels["status"]] += int(sample.value)
    return found


async def test_what_asks_whatsapp_keeps_what_the_document_promises(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data", BRIDGE_WEBHOOK_ALLOW="127.0.0.0/8") as stack:
        for number, name in ((NUMBER, "Front desk"), (CONTACT, "Ann")):
            await stack.sandbox.create_phone(number, name)
        key = await stack.pair(NUMBER)
        await stack.call("PATCH", f"/profile/{key}", name="Front desk")  # without one it could not show its presence
        uploaded = await stack.api.post(f"/media/{key}?filename=a.txt", content=b"some text")
        sent = await stack.call("POST", "/message/send", instance_key=key, to=CONTACT, message="hello")
        body = {"subject": "Orders", "participants": [CONTACT]}
        group = (await stack.call("POST", f"/group/{key}", **body))["group_id"]
        hook = await stack.call("POST", "/webhooks", url=f"{stack.ready['receiver']}/webhook", instance_key=key)
        known = {
            **dict.fromkeys(("key", "instance_key"), key),
            **dict.fromkeys(("to", "phone", "chat", "from", "from_chat"), CONTACT),
            **{f"{call} id": CONTACT for call in ("GET /contact/{key}/{id}", "PUT /contact/{key}/{id}/block")},
            **{f"{call} id": group for call in GROUP_CALLS},
            "GET /message/{key}/{id} id": sent["message_id"],
            "message_id": sent["message_id"],
            "media_id": uploaded.json()["media_id"],
            "webhook": hook["id"],
        }
        await explore(stack.ready["api"], stack.ready["api_key"], tmp_path, only=ASKS_WHATSAPP, known=known)
        told = await answers(stack)
        assert (await stack.status(key))["state"] == "online"
    assert sum(count for (_, status), count in told.items() if status == "200") > 100, told  # it came through
    assert not [one for one in told if one[1] in DEFECTS], told
