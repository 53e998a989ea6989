"""Endpoints by call: the API over the real store, the real dispatcher and a receiver on a socket."""

import json
from functools import partial
from typing import Any, cast

import pytest
import trio
from standardwebhooks import Webhook

from bridge.store.store import Store
from bridge.vault import MAGIC, Vault
from tests.support.bridge import Bridge, add_key, bridge_on
from tests.support.hooks import MAIN_KEY, SECRET, Hook, Reply, endpoint, hook, owned, rows, run, text_event


async def made(bridge: Bridge, receiver: Hook, **fields: object) -> Any:
    return await bridge.call("POST", "/webhooks", {"url": receiver.url, "instance_key": "*", **fields}, expect=201)


async def test_an_endpoint_is_made_shown_changed_and_removed(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        headers = {"Authorization": "Bearer of a proxy"}
        fresh = await made(bridge, receiver, events=["message.received"], headers=headers, ordering="instance")
        assert fresh["secret"].startswith("whsec_")
        assert fresh["secret"].endswith(fresh["secret_hint"].removeprefix("…"))
        assert (fresh["state"], fresh["lag_events"], fresh["oldest_undelivered_at"]) == ("active", 0, None)
        assert fresh["headers"] == ["Authorization"]
        path = f"/webhooks/{fresh['id']}"
        shown = await bridge.call("GET", path)
        assert shown == {name: value for name, value in fresh.items() if name != "secret"}
        assert (await bridge.call("GET", "/webhooks"))["webhooks"] == [shown]
        wanted = {"events": ["*"], "headers": {}, "ordering": "none", "timeout_s": 3, "max_age_h": 100}
        changed = await bridge.call("PATCH", path, wanted | {"instance_key": bridge.instance.key})
        assert changed == shown | wanted | {"headers": [], "instance_key": bridge.instance.key}
        assert (await bridge.call("PATCH", path, {"instance_key": "*"}))["instance_key"] == "*"
        assert (await bridge.call("PATCH", path, {}))["timeout_s"] == 3
        await bridge.call("DELETE", path)
        for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/resume"), ("POST", f"{path}/test")):
            assert (await bridge.call(method, where, expect=404))["code"] == "unknown_webhook"


async def test_a_secret_is_shown_once_and_stored_encrypted(store: Store) -> None:
    given = "whsec_" + "c2VjcmV0" * 5
    async with hook() as receiver, bridge_on(store) as bridge:
        fresh = await made(bridge, receiver, secret=given, headers={"X-Token": "tok-123456"})
        assert fresh["secret"] == given
        [(secret, headers)] = await rows(store, "select secret, headers from bridge.endpoint")
        assert bytes(cast("bytes", secret)).startswith(MAGIC) and b"secret" not in bytes(cast("bytes", secret))
        assert b"tok-123456" not in bytes(cast("bytes", headers))
        everything = json.dumps(
            [await bridge.call("GET", "/webhooks"), await bridge.call("GET", f"/webhooks/{fresh['id']}")]
        )
        assert given not in everything and "tok-123456" not in everything


async def test_a_repeated_create_makes_one_and_does_not_show_the_secret_again(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        body = {"url": receiver.url, "instance_key": "*"}
        first = await bridge.call("POST", "/webhooks", body, expect=201, **{"Idempotency-Key": "k"})
        again = await bridge.call("POST", "/webhooks", body, expect=201, **{"Idempotency-Key": "k"})
        assert "secret" in first and "secret" not in again
        assert again["id"] == first["id"]
        changed = body | {"timeout_s": 3}
        refused = await bridge.call("POST", "/webhooks", changed, expect=422, **{"Idempotency-Key": "k"})
        assert refused["code"] == "idempotency_mismatch"


async def test_endpoints_are_listed_in_pages_and_by_instance(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        other = await owned(store)
        wanted = ["*", bridge.instance.key, other.key, "*", bridge.instance.key]
        ids = [(await made(bridge, receiver, instance_key=key))["id"] for key in wanted]
        seen, cursor = [], ""
        while cursor is not None:
            page = await bridge.call("GET", f"/webhooks?limit=2&cursor={cursor}")
            seen += [one["id"] for one in page["webhooks"]]
            cursor = page["next_cursor"]
        assert seen == ids
        mine = await bridge.call("GET", f"/webhooks?instance_key={other.key}")
        assert [one["id"] for one in mine["webhooks"]] == [ids[0], ids[2], ids[3]]
        assert (await bridge.call("GET", "/webhooks?cursor=nonsense", expect=400))["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"url": "http://10.0.0.1/"}, 422, "url_refused"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, 422, "url_refused"),
        ({"url": "http://0x0a000001/"}, 422, "url_refused"),
        ({"url": "ftp://example.com/"}, 422, "url_refused"),
        ({"url": "https://user:secret@127.0.0.1/"}, 422, "url_refused"),
        ({"url": "https://no-such-name.invalid/"}, 422, "url_refused"),
        ({"headers": {"Connection": "close"}}, 422, "header_refused"),
        ({"headers": {"webhook-id": "evt_1"}}, 422, "header_refused"),
        ({"headers": {"X-A": "a\nb"}}, 422, "header_refused"),
        ({"instance_key": "f" * 32}, 404, "unknown_instance"),
        ({"instance_key": "front desk"}, 400, "invalid_field"),
        ({"timeout_s": 31}, 400, "invalid_field"),
        ({"max_age_h": 169}, 400, "invalid_field"),
        ({"ordering": "random"}, 400, "invalid_field"),
        ({"events": ["Message Received"]}, 400, "invalid_field"),
        ({"payload": "wuzapi"}, 501, "not_implemented"),
    ],
)
async def test_what_could_never_be_delivered_is_refused_and_changes_nothing(
    store: Store, change: dict[str, object], status: int, code: str
) -> None:
    async with bridge_on(store) as bridge:
        url = {"url": "https://later.test/", "instance_key": "*"}  # allowed by name, so it need not resolve yet
        kept = await bridge.call("POST", "/webhooks", url, expect=201)
        for method, path, body in (("POST", "/webhooks", url | change), ("PATCH", f"/webhooks/{kept['id']}", change)):
            answer = await bridge.call(method, path, body, expect=status)
            assert answer["code"] == code
        listed = (await bridge.call("GET", "/webhooks"))["webhooks"]
        assert listed == [{name: value for name, value in kept.items() if name != "secret"}]


async def test_a_create_names_its_instance_and_a_secret_of_the_right_form(store: Store) -> None:
    async with bridge_on(store) as bridge:
        url = {"url": "https://later.test/"}
        assert (await bridge.call("POST", "/webhooks", url, expect=400))["details"] == {"field": "instance_key"}
        body = url | {"instance_key": "*", "secret": "whsec_short"}
        assert (await bridge.call("POST", "/webhooks", body, expect=400))["details"] == {"field": "secret"}
        by_header = await bridge.call("POST", "/webhooks", url, expect=201, **{"X-Instance-Key": bridge.instance.key})
        assert by_header["instance_key"] == bridge.instance.key


async def test_only_who_may_manage_changes_endpoints(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = (await made(bridge, receiver))["id"]
        bridge.client.headers["X-Api-Key"] = "a viewer's key"
        await bridge.call("GET", f"/webhooks/{id}")
        for method, path in (
            ("POST", "/webhooks"),
            ("PATCH", f"/webhooks/{id}"),
            ("DELETE", f"/webhooks/{id}"),
            *(("POST", f"/webhooks/{id}/{call}") for call in ("rotate-secret", "test", "pause", "resume")),
        ):
            assert (await bridge.call(method, path, expect=403))["code"] == "forbidden"


async def test_events_arrive_with_the_owners_headers_and_both_secrets_during_a_rotation(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        fresh = await made(bridge, receiver, headers={"X-Tenant": "7"})
        rotated = await bridge.call("POST", f"/webhooks/{fresh['id']}/rotate-secret")
        assert rotated["secret"] != fresh["secret"] and rotated["old_secret_until"] is not None
        await bridge.instance.append(text_event())
        await receiver.until(lambda: len(receiver.received) == 1)
        [request] = receiver.received
        assert request.headers["x-tenant"] == "7"
        for secret in (fresh["secret"], rotated["secret"]):
            Webhook(secret).verify(request.body, dict(request.headers))
        await run(store, "update bridge.endpoint set old_secret_until = now() - interval '1 second'")
        await bridge.instance.append(text_event())
        await receiver.until(lambda: len(receiver.received) == 2)
        assert " " not in receiver.received[1].headers["webhook-signature"]


async def test_a_change_of_headers_holds_for_the_next_event(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        fresh = await made(bridge, receiver, headers={"X-Tenant": "7"})
        for number, headers in enumerate(({"X-Tenant": "7"}, {"X-Tenant": "8"}, {}), start=1):
            await bridge.call("PATCH", f"/webhooks/{fresh['id']}", {"headers": headers})
            await bridge.instance.append(text_event())
            await receiver.until(lambda number=number: len(receiver.received) == number)
            assert receiver.received[-1].headers.get("x-tenant") == headers.get("X-Tenant")


async def test_a_test_posts_one_signed_event_that_is_stored_nowhere(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        receiver.script = lambda _: Reply(200, body=b"fine")
        fresh = await made(bridge, receiver)
        result = await bridge.call("POST", f"/webhooks/{fresh['id']}/test")
        assert result == {
            "delivered": True,
            "status": 200,
            "duration_ms": result["duration_ms"],
            "error": None,
            "answer": "fine",
        }
        Webhook(fresh["secret"]).verify(receiver.received[0].body, dict(receiver.received[0].headers))
        assert json.loads(receiver.received[0].body)["type"] == "webhook.test"
        receiver.script = lambda _: Reply(500, body=b"broken")
        result = await bridge.call("POST", f"/webhooks/{fresh['id']}/test")
        assert (result["delivered"], result["status"], result["error"]) == (False, 500, "HTTP 500: broken")
        assert await rows(store, "select from bridge.event") == await rows(store, "select from bridge.delivery") == []


async def test_a_paused_endpoint_shows_its_lag_and_gets_everything_when_it_is_resumed(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = (await made(bridge, receiver))["id"]
        paused = await bridge.call("POST", f"/webhooks/{id}/pause", {"reason": "deployment"})
        assert (paused["state"], paused["reason"]) == ("paused", "deployment")
        for chat in ("a", "b", "a"):
            await bridge.instance.append(text_event(chat))
        shown = await bridge.call("GET", f"/webhooks/{id}")
        assert shown["lag_events"] == 3 and shown["oldest_undelivered_at"] is not None
        assert receiver.received == []
        resumed = await bridge.call("POST", f"/webhooks/{id}/resume")
        assert (resumed["state"], resumed["reason"]) == ("active", None)
        await receiver.until(lambda: len(receiver.received) == 3)


async def test_the_last_error_is_shown_and_a_resume_does_not_wait_for_the_backoff(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = (await made(bridge, receiver))["id"]
        receiver.script = lambda _: Reply(503, body=b"in deployment")
        await bridge.instance.append(text_event())
        shown = await bridge.failed(id)
        assert shown["last_error"] == "HTTP 503: in deployment" and shown["last_error_at"] is not None
        await run(store, "update bridge.lane set next_at = now() + interval '1 hour'")
        receiver.script = lambda _: Reply(204)
        await bridge.call("POST", f"/webhooks/{id}/resume")
        await receiver.until(lambda: len(receiver.received) == 2)
        [attempt] = await rows(store, "select number, status, error, answer from bridge.attempt")
        assert attempt == (1, 503, "HTTP 503: in deployment", "in deployment")


async def test_secrets_from_before_there_was_a_main_key_are_encrypted_at_the_next_start(
    store: Store, database_url: str
) -> None:
    old, new = b"o" * 32, b"n" * 32
    id = await endpoint(store, "http://127.0.0.1:9/")
    await run(
        store, "update bridge.endpoint set secret = %s, old_secret = %s, old_secret_until = now()", SECRET, SECRET
    )

    async def started(*keys: bytes) -> tuple[bytes, str]:
        later, stop = Store(database_url, vault=Vault(keys[0], keys[1:])), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(later.run, stop=stop))
            [(stored,)] = await rows(later, "select secret from bridge.endpoint where old_secret is not null")
            row = await later.endpoints.get(id)
            stop.set()
        assert row is not None
        return bytes(cast("bytes", stored)), row.secret_hint

    plain_hint = (await started(MAIN_KEY))[1]
    for keys in ((old, MAIN_KEY), (new, old), (new,)):
        stored, hint = await started(*keys)
        assert Vault(keys[0]).current(stored) and hint == plain_hint != ""
    stored, hint = await started(old)
    assert Vault(new).current(stored) and hint == ""  # a wrong key destroys nothing


async def test_an_endpoint_whose_secret_cannot_be_read_gets_nothing_unsigned(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        id = (await made(bridge, receiver))["id"]
        await run(store, "update bridge.endpoint set secret = %s", Vault(b"x" * 32).seal(SECRET, "elsewhere"))
        await bridge.instance.append(text_event())
        shown = await bridge.failed(id)
        assert "main key" in shown["last_error"] and shown["secret_hint"] == ""
        assert receiver.received == []
        await bridge.call("POST", f"/webhooks/{id}/rotate-secret")
        await bridge.call("POST", f"/webhooks/{id}/resume")
        await receiver.until(lambda: len(receiver.received) == 1)


async def test_a_key_of_one_instance_sees_and_changes_the_endpoints_of_that_one_only(store: Store) -> None:
    async with hook() as receiver, bridge_on(store) as bridge:
        other = await owned(store)
        ids = {key: (await made(bridge, receiver, instance_key=key))["id"] for key in ("*", other.key)}
        await add_key(store, "a tenant's key", role="operator", instances=[bridge.instance.key])
        bridge.client.headers["X-Api-Key"] = "a tenant's key"
        mine = await bridge.call("POST", "/webhooks", {"url": receiver.url}, expect=201)
        assert mine["instance_key"] == bridge.instance.key
        assert [one["id"] for one in (await bridge.call("GET", "/webhooks"))["webhooks"]] == [mine["id"]]
        for key, id in ids.items():
            await bridge.call("GET", f"/webhooks/{id}", expect=404)
            await bridge.call("DELETE", f"/webhooks/{id}", expect=404)
            for method, path in (("POST", "/webhooks"), ("PATCH", f"/webhooks/{mine['id']}")):
                body = {"url": receiver.url, "instance_key": key}
                assert (await bridge.call(method, path, body, expect=400 if key == other.key else 403))["code"] in {
                    "forbidden",
                    "instance_mismatch",
                }
