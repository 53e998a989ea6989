"""The calls on instances: the original's paths, fields and status codes, and ours beside them."""

import base64
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import trio

from tests.support.api import Api, eventually, running_api
from tests.support.directory import QrCode
from tests.support.memory import now

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
UNKNOWN = "0" * 32


async def created(api: Api) -> str:
    return str((await api.client.post("/instance/create")).json()["instance_key"])


# --- create -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b"  "])
async def test_create_takes_an_empty_body_and_answers_like_the_original(body: bytes) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", content=body)
        assert answer.status_code == 200
        assert answer.json()["status"] == "instance_created"
        assert answer.json()["message"]
        assert answer.json()["state"] == "created"
        assert list(api.store.rows) == [answer.json()["instance_key"]]


async def test_create_stores_what_the_caller_wants_to_find_it_by() -> None:
    async with running_api() as api:
        body = {"name": "Sales", "external_id": "crm-7", "metadata": {"team": ["a", 1, None]}}
        key = (await api.client.post("/instance/create", json=body)).json()["instance_key"]
        shown = (await api.client.get(f"/instance/{key}")).json()
    assert {name: shown[name] for name in body} == body


async def test_create_with_a_webhook_shows_its_secret_once() -> None:
    async with running_api() as api:
        webhook = {"url": "https://example.com/hook", "events": ["message.received"], "secret": SECRET}
        given = (await api.client.post("/instance/create", json={"webhook": webhook})).json()
        drawn = (
            await api.client.post("/instance/create", json={"webhook": {"url": "https://a.b", "events": ["*"]}})
        ).json()
    assert given["webhook"]["secret"] == SECRET
    assert api.store.webhooks[given["webhook"]["id"]] == (
        given["instance_key"],
        "https://example.com/hook",
        ("message.received",),
        b"s" * 32,
    )
    key, _, events, secret = api.store.webhooks[drawn["webhook"]["id"]]
    assert (key, events) == (drawn["instance_key"], ())
    assert drawn["webhook"]["secret"] == "whsec_" + base64.b64encode(secret).decode()
    assert len(secret) == 32


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"webhook": {"url": "http://example.com", "secret": "whsec_short"}}, "webhook.secret"),
        ({"webhook": {"url": "http://example.com", "secret": "not base64!"}}, "webhook.secret"),
        ({"webhook": {"url": "http://example.com", "events": ["Message Received"]}}, "webhook.events[0]"),
    ],
)
async def test_create_writes_nothing_when_a_field_is_wrong(body: dict[str, object], field: str) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", json=body)
        assert answer.status_code == 400
        assert answer.json()["details"] == {"field": field}
        assert not api.store.rows
        assert not api.store.webhooks


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com", "http://", "http://[::1", "http://user:pass@example.com", "http://a b", "http://10.1.2.3/"],
)
async def test_create_refuses_a_url_that_webhooks_must_not_go_to_and_says_why(url: str) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", json={"webhook": {"url": url}})
        assert (answer.status_code, answer.json()["code"]) == (422, "url_refused")
        assert answer.json()["details"] == {"field": "webhook.url"}
        assert not api.store.rows
        assert not api.store.webhooks


async def test_metadata_that_is_nested_too_deep_is_refused() -> None:
    async with running_api() as api:
        raw = b'{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}"
        answer = await api.client.post("/instance/create", content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert not api.store.rows


@pytest.mark.parametrize("body", [{"proxy": {"url": "http://p"}}, {"settings": {"reject_calls": True}}])
async def test_create_refuses_what_it_would_have_to_ignore(body: dict[str, object]) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", json=body)
        assert (answer.status_code, answer.json()["code"]) == (501, "not_implemented")
        assert not api.store.rows


async def test_a_repeated_create_makes_one_instance_and_one_endpoint() -> None:
    async with running_api() as api:
        body = {"name": "a", "webhook": {"url": "http://example.com", "secret": SECRET}}
        answers = [
            await api.client.post("/instance/create", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(2)
        ]
        first, again = [answer.json() for answer in answers]
        assert first.pop("api_key") and first == again  # a key is shown once
        changed = await api.client.post("/instance/create", json={"name": "b"}, headers={"Idempotency-Key": "k1"})
        assert changed.status_code == 422
        assert len(api.store.rows) == len(api.store.webhooks) == 1


# --- connect, disconnect, restart, delete -----------------------------------------------------------------------------


async def test_connect_answers_like_the_original() -> None:
    async with running_api() as api:
        fresh, paired = await created(api), api.add(jid="4915112345678:1@s.whatsapp.net", state="paused")
        first = await api.client.post("/instance/connect", json={"instance_key": fresh})
        second = await api.client.post("/instance/connect", json={"instance_key": paired})
    assert first.status_code == second.status_code == 200
    assert first.json()["status"] == "qr_generated"
    assert first.json()["instance_key"] == fresh
    assert fresh in first.json()["message"]
    assert first.json()["state"] == "awaiting_pairing"
    assert second.json()["status"] == "already_logged_in"


async def test_disconnect_keeps_the_session_and_restart_starts_it() -> None:
    async with running_api() as api:
        key = api.add(jid="4915112345678:1@s.whatsapp.net", state="online")
        answer = await api.client.post(f"/instance/{key}/disconnect")
        assert (answer.status_code, answer.json()["status"]) == (200, "disconnected")
        assert (answer.json()["instance_key"], answer.json()["state"]) == (key, "paused")
        status = (await api.client.get(f"/instance/{key}/status")).json()
        assert (status["connected"], status["logged_in"]) == (False, True)
        again = await api.client.post(f"/instance/{key}/restart", json={})
        assert (again.status_code, again.json()["status"]) == (200, "restarting")


async def test_delete_removes_it_and_a_second_delete_finds_nothing() -> None:
    async with running_api() as api:
        key = await created(api)
        assert (await api.client.delete(f"/instance/{key}?purge=false")).status_code == 501
        answer = await api.client.delete(f"/instance/{key}?logout=true&purge=true")
        assert (answer.status_code, answer.json()["status"], answer.json()["instance_key"]) == (200, "deleted", key)
        assert (await api.client.delete(f"/instance/{key}")).status_code == 404
        assert not api.store.rows


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_status_has_the_originals_four_fields_and_ours() -> None:
    async with running_api() as api:
        online = api.add(jid="4915112345678:1@s.whatsapp.net", state="online", last_event_at=now())
        status = (await api.client.get(f"/instance/{online}/status")).json()
        assert status["instance_key"] == online
        assert (status["connected"], status["logged_in"], status["phone_number"]) == (True, True, "4915112345678")
        assert {"state", "reason", "since", "next_retry_at", "needs", "last_event_at"} <= set(status)
        assert status["since"].endswith("Z")
        unpaired = (await api.client.get(f"/instance/{await created(api)}/status")).json()
        assert (unpaired["connected"], unpaired["logged_in"], unpaired["phone_number"]) == (False, False, "")


async def test_a_logged_out_instance_is_neither_connected_nor_logged_in() -> None:
    async with running_api() as api:
        key = api.add(jid="4915112345678:1@s.whatsapp.net", state="logged_out", needs="scan_qr")
        shown = (await api.client.get(f"/instance/{key}")).json()
    assert (shown["connected"], shown["logged_in"], shown["needs"]) == (False, False, "scan_qr")


async def test_the_list_has_the_originals_shape_and_all_instances() -> None:
    async with running_api() as api:
        keys = {api.add() for _ in range(120)}
        listed = (await api.client.get("/instances")).json()
    assert listed["count"] == len(listed["instances"]) == 120
    assert {row["instance_key"] for row in listed["instances"]} == keys
    assert {"instance_key", "connected", "logged_in", "phone_number"} <= set(listed["instances"][0])
    assert listed["next_cursor"] is None


async def test_the_list_pages_and_filters() -> None:
    async with running_api() as api:
        keys = {api.add(state="online") for _ in range(5)} | {api.add(state="failed", external_id="x")}
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await api.client.get("/instances", params={"limit": 4, "cursor": cursor})).json()
            seen += [row["instance_key"] for row in page["instances"]]
            cursor = page["next_cursor"]
        failed = (await api.client.get("/instances?state=failed&external_id=x")).json()
        assert len(seen) == 6
        assert set(seen) == keys
        assert failed["count"] == 1


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=nan", "limit=9999", "state=sleeping", "external_id=%00"]
)
async def test_a_wrong_query_is_refused_by_name(query: str) -> None:
    async with running_api() as api:
        answer = await api.client.get(f"/instances?{query}")
    assert answer.status_code == 400
    assert answer.json()["details"] == {"field": query.partition("=")[0]}


# --- the QR code ------------------------------------------------------------------------------------------------------


async def test_the_qr_code_is_a_png_of_256_pixels_and_reading_it_does_not_consume_it() -> None:
    async with running_api() as api:
        key = await created(api)
        await api.client.post("/instance/connect", json={"instance_key": key})
        first, second = [await api.client.get(f"/instance/{key}/qr") for _ in range(2)]
    assert first.status_code == 200
    assert first.headers["content-type"] == "image/png"
    assert first.headers["cache-control"] == "no-store"
    assert first.content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(first.content[16:20]) == int.from_bytes(first.content[20:24]) == 256
    assert first.content == second.content


async def test_the_qr_code_comes_in_other_forms() -> None:
    async with running_api() as api:
        key = api.add()
        api.directory.qr_code = QrCode("2@abc", 2, now() + timedelta(seconds=20))
        shown = (await api.client.get(f"/instance/{key}/qr?format=json")).json()
        assert (shown["code"], shown["attempt"]) == ("2@abc", 2)
        assert base64.b64decode(shown["png_base64"]) == (await api.client.get(f"/instance/{key}/qr?format=png")).content
        assert shown["expires_at"]
        svg = await api.client.get(f"/instance/{key}/qr?format=svg")
        assert (svg.headers["content-type"], svg.text[:4]) == ("image/svg+xml", "<svg")
        text = await api.client.get(f"/instance/{key}/qr?format=txt")
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        assert "▄" in text.text
        large = await api.client.get(f"/instance/{key}/qr?size=512")
        assert int.from_bytes(large.content[16:20]) == 512
        wrong = await api.client.get(f"/instance/{key}/qr?format=gif")
        assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "format"})


async def test_a_paired_instance_says_that_there_is_nothing_to_scan() -> None:
    async with running_api() as api:
        key = api.add(jid="4915112345678:1@s.whatsapp.net")
        answer = await api.client.get(f"/instance/{key}/qr")
    assert (answer.status_code, answer.json()["status"]) == (200, "connected")
    assert answer.json()["message"]


async def test_no_code_in_time_is_408_and_can_be_asked_again() -> None:
    async with running_api() as api:
        answer = await api.client.get(f"/instance/{api.add()}/qr?wait_s=0.05")
    assert answer.status_code == 408
    assert answer.json()["error"]
    assert answer.json()["retryable"] is True


# --- naming the instance ----------------------------------------------------------------------------------------------


async def test_an_instance_may_be_named_in_body_path_or_header_as_long_as_they_agree() -> None:
    async with running_api() as api:
        key, other = await created(api), await created(api)
        by_header = await api.client.post("/instance/connect", headers={"X-Instance-Key": key})
        assert by_header.json()["instance_key"] == key
        agreeing = await api.client.post(
            f"/instance/{key}/disconnect", json={"instance_key": key}, headers={"X-Instance-Key": key}
        )
        assert agreeing.status_code == 200
        for attempt in (
            api.client.post("/instance/connect", json={"instance_key": key}, headers={"X-Instance-Key": other}),
            api.client.post(f"/instance/{key}/disconnect", json={"instance_key": other}),
            api.client.get(f"/instance/{key}", headers={"X-Instance-Key": other}),
            api.client.delete(f"/instance/{key}", headers={"X-Instance-Key": other}),
        ):
            answer = await attempt
            assert (answer.status_code, answer.json()["code"]) == (400, "instance_mismatch")
        unnamed = await api.client.post("/instance/connect", json={})
        assert (unnamed.status_code, unnamed.json()["code"]) == (400, "instance_missing")


@pytest.mark.parametrize("key", [UNKNOWN, "nonsense", "A" * 32, "%00", "%2e%2e%2f", "x" * 1_000])
async def test_an_unknown_instance_is_404_everywhere(key: str) -> None:
    async with running_api() as api:
        for method, path in (
            ("GET", f"/instance/{key}"),
            ("GET", f"/instance/{key}/status"),
            ("GET", f"/instance/{key}/qr"),
            ("POST", f"/instance/{key}/disconnect"),
            ("POST", f"/instance/{key}/restart"),
            ("DELETE", f"/instance/{key}"),
        ):
            answer = await api.client.request(method, path)
            assert answer.status_code == 404, path
            assert answer.json()["code"] in {"unknown_instance", "not_found"}
        body = {"instance_key": key, "phone": "4915112345678", "message": "x"}
        assert (await api.client.post("/instance/connect", json={"instance_key": key})).status_code == 404
        assert (await api.client.post("/message/send", json=body)).status_code == 404
        assert not api.directory.sent


# --- a client that goes away ------------------------------------------------------------------------------------------


async def test_what_was_begun_is_finished_when_the_client_goes_away() -> None:
    async with running_api() as api:
        api.directory.hold = trio.Event()
        request = f"POST /instance/create HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.client.headers['X-Api-Key']}\r\n"
        body = b'{"name":"promised","webhook":{"url":"http://example.com"}}'
        async with await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
            await stream.send_all(f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            with trio.fail_after(5):
                await api.directory.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        api.directory.hold.set()
        with trio.fail_after(5):
            await api.directory.finished.wait()
        await eventually(lambda: bool(api.store.webhooks))
        assert [row.name for row in api.store.rows.values()] == ["promised"]


async def test_a_pacing_profile_is_chosen_at_the_creation_changed_taken_away_and_shown() -> None:
    async with running_api() as api:
        body = {"settings": {"pacing_profile": "warm_up"}}
        key = (await api.client.post("/instance/create", json=body)).json()["instance_key"]
        assert (await api.client.get(f"/instance/{key}")).json()["settings"] == {"pacing_profile": "warm_up"}
        changed = await api.client.patch(f"/instance/{key}", json={"settings": {"pacing_profile": "steady"}})
        assert changed.json()["settings"] == {"pacing_profile": "steady"}
        wrong = await api.client.patch(f"/instance/{key}", json={"settings": {"pacing_profile": "fast"}})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_field")
        assert api.store.rows[key].settings == {"pacing_profile": "steady"}


async def test_a_repeated_create_with_other_settings_is_another_request() -> None:
    async with running_api() as api:
        header = {"Idempotency-Key": "k1"}
        await api.client.post("/instance/create", json={}, headers=header)
        other = {"settings": {"pacing_profile": "steady"}}
        assert (await api.client.post("/instance/create", json=other, headers=header)).status_code == 422


@pytest.mark.parametrize(("until_s", "shown"), [(3600, True), (-1, False)])
async def test_status_shows_a_restriction_while_it_lasts(until_s: float, shown: bool) -> None:
    async with running_api() as api:
        key = (await api.client.post("/instance/create", json={})).json()["instance_key"]
        until = time.time() + until_s
        restriction = {"kind": "new_chats_limited", "since": until - 9999, "until": until, "strikes": 1}
        api.store.rows[key] = replace(api.store.rows[key], restriction=restriction)
        seen = (await api.client.get(f"/instance/{key}/status")).json()["restriction"]
        assert (seen is not None) == shown
        assert not shown or (seen["kind"] == "new_chats_limited" and seen["until"] > seen["since"])
