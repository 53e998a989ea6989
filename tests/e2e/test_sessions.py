"""The life of a session as a user sees it: paired by a code, deaf and recycled, logged out and paired anew."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack, running_stack, until

PHONE, CONTACT = "4915100000001", "4915100000002"
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"

pytestmark = pytest.mark.engine


async def test_a_session_is_paired_by_code_knows_people_survives_deafness_and_is_logged_out(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data", BRIDGE_SELF_CHECK_S="2", BRIDGE_HISTORY="on") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        past = [{"chat": CONTACT, "text": "long ago", "at": 1_600_000_000}]
        (message_id,) = await stack.sandbox.add_history(PHONE, past)
        key = await paired_by_code(stack)
        await told_of_the_past(stack, message_id)
        await people_and_profile(stack, key)
        await deaf_and_recycled(stack, key)
        await logged_out_and_paired_anew(stack, key)


async def paired_by_code(stack: Stack) -> str:
    key: str = (await stack.call("POST", "/instance/create"))["instance_key"]
    shown = await stack.call("POST", f"/instance/{key}/pair-code", phone=f"+{PHONE}")
    code = shown["pairing_code"]
    assert (len(code), code[4]) == (9, "-")
    status = await stack.status(key)
    assert (status["state"], status["needs"], status["reason"]) == ("awaiting_pairing", "enter_code", "code_issued")
    async with stack.api.stream("GET", f"/instance/{key}/qr/stream") as stream:
        told = stream.aiter_lines()
        assert [line async for line in first(told, "event: ", 2)] == ["event: qr", "event: code"]
        linked = await stack.sandbox.enter_code(PHONE, code)
        assert "event: paired" in [line async for line in told if line.startswith("event: ")]
    await stack.until_online(key)
    assert linked.jid == f"{PHONE}:1@s.whatsapp.net"
    assert (await stack.status(key))["needs"] == "none"
    event = await event_of(stack, type="connection.pair_code")
    assert (event["data"]["pairing_code"], event["data"]["expires_at"]) == (code, shown["expires_at"])
    again = await stack.api.post(f"/instance/{key}/pair-code", json={"phone": PHONE})
    assert (again.status_code, again.json()["code"]) == (409, "already_connected")
    return key


async def first(lines: AsyncIterator[str], prefix: str, count: int) -> AsyncIterator[str]:
    """Yield the first lines with that beginning."""
    async for line in lines:
        if line.startswith(prefix):
            yield line
            count -= 1
        if not count:
            return


async def told_of_the_past(stack: Stack, message_id: str) -> None:
    async def is_told() -> list[dict[str, Any]]:
        events = await stack.received(type="history.batch")
        return [event["body"] for event in events if "messages" in event["body"]["data"]]

    await until(is_told)
    (event,) = await is_told()
    assert (event["event"], event["flags"]["history"]) == ("history_sync", True)
    assert [(one["message_id"], one["text"]) for one in event["data"]["messages"]] == [(message_id, "long ago")]
    assert event["data"]["chat"]["name"] == "Ann"


async def people_and_profile(stack: Stack, key: str) -> None:
    """Contacts, blocking, the own profile and presence, as both sides see them."""
    ann = await stack.sandbox.phone(CONTACT)
    await stack.sandbox.change_profile(CONTACT, about="At the sea", picture=base64.b64encode(JPEG).decode())
    await stack.sandbox.send(CONTACT, PHONE, "hello")

    async def is_known() -> list[dict[str, Any]]:
        return list((await stack.call("GET", f"/contact/{key}?q=An"))["contacts"])

    await until(is_known)
    (contact,) = await is_known()
    assert (contact["phone"], contact["lid"], contact["push_name"]) == (CONTACT, ann.lid, "Ann")
    assert (await stack.call("GET", f"/contact/{key}?q=%25"))["contacts"] == []
    for who in (CONTACT, ann.lid):
        shown = await stack.call("GET", f"/contact/{key}/{who}?avatar=full")
        assert (shown["phone"], shown["lid"], shown["about"]) == (CONTACT, ann.lid, "At the sea")
        assert shown["avatar_url"].endswith(shown["avatar_id"])
    assert (await stack.api.get(f"/contact/{key}/499999999999")).json()["code"] == "unknown_contact"

    await stack.call("PUT", f"/contact/{key}/{CONTACT}/block", blocked=True)
    assert (await stack.sandbox.profile(PHONE)).blocked == [ann.lid]
    await stack.api.put(f"/contact/{key}/{CONTACT}/block", json={"blocked": False})
    assert (await stack.sandbox.profile(PHONE)).blocked == []

    privacy = {"last_seen": "none", "read_receipts": "all"}
    changed = await stack.call("PATCH", f"/profile/{key}", name="Front desk", about="open", privacy=privacy)
    assert (changed["about"], changed["privacy"]["last_seen"], changed["avatar_url"]) == ("open", "none", None)
    own = await stack.sandbox.profile(PHONE)
    assert (own.name, own.about, own.privacy["last"]) == ("Front desk", "open", "none")

    await stack.call("PATCH", f"/instance/{key}", external_id="crm-7", metadata={"team": "blue"})
    await stack.sandbox.send(CONTACT, PHONE, "which team?")

    async def is_labelled() -> bool:
        bodies = [event["body"] for event in await stack.received(type="message.received")]
        return any((one["external_id"], one["metadata"]) == ("crm-7", {"team": "blue"}) for one in bodies)

    await until(is_labelled)

    await stack.call("POST", "/presence", instance_key=key, state="available")
    await stack.call("POST", "/chat/presence", instance_key=key, chat=CONTACT, state="recording")

    async def is_seen() -> bool:
        seen = await stack.sandbox.moments(CONTACT)
        return any((one.kind, one.state, one.sender) == ("typing", "recording", PHONE) for one in seen)

    await until(is_seen)


async def deaf_and_recycled(stack: Stack, key: str) -> None:
    assert (await stack.status(key))["keepalive_age_s"] < 10  # it is asked every 2 s
    await stack.sandbox.fault("half_open", PHONE)

    async def is_stale() -> bool:
        return bool((await stack.status(key))["state"] == "stale")

    await until(is_stale)
    assert (await stack.status(key))["reason"] == "self_check_unanswered"

    async def is_recycled() -> bool:
        events = await stack.received(type="connection.update", instance=key)
        return any(event["body"]["data"]["reason"] == "recycled: self_check_unanswered" for event in events)

    await until(is_recycled)
    await stack.sandbox.end_faults()
    await stack.until_online(key, timeout_s=120)
    entries = (await stack.call("GET", f"/instance/{key}/log?level=warning"))["entries"]
    assert "self_check_unanswered" in [entry["detail"]["reason"] for entry in entries]
    await stack.sandbox.send(CONTACT, PHONE, "do you hear me?")

    async def is_heard() -> bool:
        return "do you hear me?" in await stack.received_texts()

    await until(is_heard)


async def logged_out_and_paired_anew(stack: Stack, key: str) -> None:
    assert (await stack.call("POST", f"/instance/{key}/logout"))["state"] == "logged_out"
    assert (await stack.sandbox.phone(PHONE)).devices == ()
    refused = await stack.api.post(f"/instance/{key}/logout")
    assert (refused.status_code, refused.json()["code"]) == (400, "not_connected")
    await stack.call("POST", "/instance/connect", instance_key=key)
    qr = await stack.call("GET", f"/instance/{key}/qr?format=json")
    await stack.sandbox.scan(PHONE, qr["code"])
    await stack.until_online(key)


async def event_of(stack: Stack, **filters: str) -> dict[str, Any]:
    """Return the body of the first such event, once the receiver has one."""

    async def arrived() -> list[dict[str, Any]]:
        return await stack.received(**filters)

    await until(arrived)
    body: dict[str, Any] = (await arrived())[0]["body"]
    return body
