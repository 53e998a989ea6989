"""Keys and the audit trail over the wire: make, limit, revoke, and who did what."""

from typing import Any

import pytest
import trio

from bridge.api.context import Limits
from bridge.store.errors import StoreUnavailable
from tests.support.api import Api, eventually, running_api

OTHER = "b" * 32


async def make(api: Api, **body: Any) -> dict[str, Any]:
    made = await api.client.post("/keys", json={"name": "crm", "role": "operator"} | body)
    assert made.status_code == 201, made.text
    return dict(made.json())


def as_key(secret: str) -> dict[str, str]:
    return {"X-Api-Key": secret}


async def test_a_key_is_made_shown_once_used_and_revoked() -> None:
    async with running_api() as api:
        made = await make(api, role="viewer")
        assert made["hint"] == made["secret"][:8] and made["created_by"] == "key_" + "0" * 26
        assert (await api.client.get("/instances", headers=as_key(made["secret"]))).status_code == 200
        listed = (await api.client.get("/keys")).json()
        assert [key["name"] for key in listed["keys"]] == ["test", "crm"]
        assert made["secret"] not in str(listed)
        revoked = await api.client.delete(f"/keys/{made['key_id']}")
        assert revoked.json() == {"status": "revoked", "key_id": made["key_id"]}
        assert (await api.client.get("/instances", headers=as_key(made["secret"]))).status_code == 401
        assert (await api.client.delete(f"/keys/{made['key_id']}")).json()["code"] == "unknown_key"


async def test_a_key_is_told_whose_it_is_and_what_it_may_do() -> None:
    async with running_api() as api:
        key = api.add()
        made = await make(api, role="sender", instances=[key])
        own = (await api.client.get("/keys/self", headers=as_key(made["secret"]))).json()
        assert own == {
            **{name: made[name] for name in ("key_id", "name", "role", "instances", "expires_at")},
            "may": ["read", "send"],
        }
        assert (await api.client.get("/keys/self")).json()["may"] == ["read", "send", "manage", "admin"]
        assert (await api.client.get("/keys/self", headers=as_key("wrong"))).status_code == 401
    async with running_api(auth_on=False) as api, api.stranger() as stranger:
        own = (await stranger.get("/keys/self")).json()
        assert (own["role"], own["may"]) == (None, ["read", "send", "manage", "admin"])


@pytest.mark.parametrize("role", ["operator", "sender", "viewer"])
async def test_only_an_admin_makes_keys_and_reads_the_trail(role: str) -> None:
    async with running_api() as api:
        secret = (await make(api, role=role))["secret"]
        for method, path in (("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/key_1"), ("GET", "/audit")):
            answer = await api.client.request(method, path, headers=as_key(secret))
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_repeated_request_makes_one_key_and_shows_its_secret_once() -> None:
    async with running_api() as api:
        body = {"name": "crm", "role": "sender", "ips": ["127.0.0.0/8"], "expires_at": "2099-01-01T00:00:00Z"}
        first, again = [await api.client.post("/keys", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == {name: value for name, value in first.json().items() if name != "secret"}
        changed = await api.client.post("/keys", json=body | {"role": "admin"}, headers={"Idempotency-Key": "k"})
        assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_mismatch")
        assert len((await api.client.get("/keys")).json()["keys"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"role": "root"}, "role"),
        ({"instances": []}, "instances"),
        ({"role": "admin", "instances": [OTHER]}, "instances"),
        ({"ips": []}, "ips"),
        ({"ips": ["10.0.0.0/8", "10.0.0.1/8"]}, "ips[1]"),
        ({"ips": ["example.com"]}, "ips[0]"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"rate_per_s": 0}, "rate_per_s"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(body: dict[str, Any], field: str) -> None:
    async with running_api() as api:
        refused = await api.client.post("/keys", json={"name": "crm", "role": "operator"} | body if body else {})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_field")
        assert refused.json()["details"]["field"] == field
        assert len(api.store.keys.rows) == 1


async def test_a_key_for_an_instance_that_there_is_not_is_refused() -> None:
    async with running_api() as api:
        body = {"name": "crm", "role": "operator", "instances": [api.add(), OTHER]}
        refused = await api.client.post("/keys", json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_instance")
        assert refused.json()["details"] == {"field": "instances[1]", "instance": OTHER}


async def test_the_last_admin_key_cannot_be_revoked() -> None:
    async with running_api() as api:
        (own,) = (await api.client.get("/keys")).json()["keys"]
        refused = await api.client.delete(f"/keys/{own['key_id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "last_admin_key")
        await make(api, role="admin")
        assert (await api.client.delete(f"/keys/{own['key_id']}")).status_code == 200


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_a_new_instance_comes_with_a_key_of_its_own() -> None:
    async with running_api() as api:
        body, again = {"name": "desk"}, {"Idempotency-Key": "k"}
        created = (await api.client.post("/instance/create", json=body, headers=again)).json()
        repeated = (await api.client.post("/instance/create", json=body, headers=again)).json()
        assert repeated["instance_key"] == created["instance_key"] and "api_key" not in repeated
        api.add()
        own = as_key(created["api_key"])
        listed = (await api.client.get("/instances", headers=own)).json()["instances"]
        assert [row["instance_key"] for row in listed] == [created["instance_key"]]
        connected = await api.client.post("/instance/connect", headers=own)
        assert connected.json()["instance_key"] == created["instance_key"]
        sent = await api.client.post("/message/send", json={"to": "4915100000001", "message": "x"}, headers=own)
        assert sent.json()["instance_key"] == created["instance_key"]


async def test_the_key_of_one_instance_opens_no_other_wherever_that_is_named() -> None:
    async with running_api() as api:
        mine, other = api.add(), api.add()
        secret = (await make(api, instances=[mine]))["secret"]
        send = {"to": "4915100000001", "message": "x"}
        for method, path, body, headers in (
            ("GET", f"/instance/{other}", None, {}),
            ("DELETE", f"/instance/{other}", None, {}),
            ("POST", "/message/send", send | {"instance_key": other}, {}),
            ("POST", "/message/send", send, {"X-Instance-Key": other}),
        ):
            answer = await api.client.request(method, path, json=body, headers=as_key(secret) | headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "instance_mismatch")
        create = await api.client.post("/instance/create", headers=as_key(secret))
        assert (create.status_code, create.json()["code"]) == (403, "forbidden")
        assert api.directory.calls == 0


async def test_a_key_of_two_instances_has_to_say_which_and_sees_no_third() -> None:
    async with running_api() as api:
        mine, other = [api.add(), api.add()], api.add()
        own = as_key((await make(api, instances=mine))["secret"])
        listed = (await api.client.get("/instances", headers=own)).json()
        assert {row["instance_key"] for row in listed["instances"]} == set(mine)
        for key, status in ((mine[0], 200), (mine[1], 200), (other, 403)):
            assert (await api.client.get(f"/instance/{key}", headers=own)).status_code == status
        unnamed = await api.client.post("/instance/connect", headers=own)
        assert unnamed.json()["code"] == "instance_missing"


async def test_a_key_is_bound_to_addresses_and_a_proxy_is_believed_only_when_it_is_trusted() -> None:
    async with running_api() as api:
        secret = (await make(api, ips=["198.51.100.0/24"]))["secret"]
        headers = as_key(secret) | {"X-Forwarded-For": "198.51.100.7"}
        refused = await api.client.get("/instances", headers=headers)
        assert (refused.status_code, refused.json()["details"]["address"]) == (403, "127.0.0.1")
    async with running_api(trusted_proxies=("127.0.0.0/8",)) as api:
        secret = (await make(api, ips=["198.51.100.0/24"]))["secret"]
        headers = as_key(secret) | {"X-Forwarded-For": "198.51.100.7"}
        assert (await api.client.get("/instances", headers=headers)).status_code == 200


async def test_too_many_calls_are_429_with_the_time_to_wait() -> None:
    async with running_api(limits=Limits(rate_per_s=0.5)) as api:
        assert (await api.client.get("/instances")).status_code == 200
        refused = await api.client.get("/instances")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.json()["retryable"] is True and refused.headers["retry-after"] == "2"
        assert (await api.client.get("/livez")).status_code == 200


# --- the audit trail --------------------------------------------------------------------------------------------------


async def trail(api: Api, **query: str) -> list[dict[str, Any]]:
    return list((await api.client.get("/audit", params=query)).json()["entries"])


async def test_the_trail_says_who_did_what_and_how_it_ended() -> None:
    async with running_api() as api:
        made = await make(api, role="operator")
        own = as_key(made["secret"]) | {"X-Request-Id": "my-1"}
        created = (await api.client.post("/instance/create", headers=own)).json()["instance_key"]
        await api.client.post("/instance/connect", json={"instance_key": OTHER}, headers=own)
        await api.client.post("/keys", headers=own)
        await api.client.get(f"/instance/{created}/qr?wait_s=0", headers=own)
        entries = await trail(api)
        seen = [(row["action"], row["status"], row["code"], row["instance_key"]) for row in entries]
        assert seen == [
            ("GET /instance/{key}/qr", 408, "no_qr_code", created),
            ("POST /keys", 403, "forbidden", None),
            ("POST /instance/connect", 404, "unknown_instance", OTHER),
            ("POST /instance/create", 200, None, created),
            ("POST /keys", 201, None, None),
        ]
        assert entries[-1]["target"] == made["key_id"]
        by_key = {"key_id": made["key_id"], "key_name": "crm", "role": "operator", "address": "127.0.0.1"}
        assert {name: entries[0][name] for name in by_key} == by_key and entries[0]["request_id"] == "my-1"
        assert made["secret"] not in str(entries)
        assert [row["action"] for row in await trail(api, instance_key=OTHER)] == ["POST /instance/connect"]
        assert len(await trail(api, key_id=made["key_id"])) == 4


async def test_reading_and_sending_leave_no_trace_unless_all_is_recorded() -> None:
    for recorded, count in (("changes", 0), ("off", 0), ("all", 2)):
        async with running_api(audit=recorded) as api:
            key = api.add(state="online")
            await api.client.get(f"/instance/{key}")
            await api.client.post("/message/send", json={"instance_key": key, "to": "4915100000001", "message": "x"})
            assert len(api.store.audit.entries) == count, recorded


async def test_the_trail_pages_from_its_end() -> None:
    async with running_api() as api:
        for _ in range(5):
            await api.client.post("/instance/create")
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await api.client.get("/audit", params={"limit": 2, "cursor": cursor})).json()
            seen += [row["id"] for row in page["entries"]]
            cursor = page["next_cursor"]
        assert len(seen) == 5 and seen == [row.id for row in reversed(api.store.audit.entries)]


@pytest.mark.parametrize(
    ("method", "path", "ended"),
    [("POST", "/instance/create", (200, None)), ("GET", "/instance/{key}/qr", (None, "caller_gone"))],
)
async def test_what_a_caller_began_and_left_is_recorded_too(
    method: str, path: str, ended: tuple[int | None, str | None]
) -> None:
    async with running_api() as api:
        key = api.add()
        api.directory.hold = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api.client.request, method, path.replace("{key}", key))
            await api.directory.begun.wait()
            nursery.cancel_scope.cancel()
        api.directory.hold.set()
        await eventually(lambda: bool(api.store.audit.entries))
        (entry,) = api.store.audit.entries
        assert (entry.action, entry.status, entry.code) == (f"{method} {path}", *ended)


async def test_an_entry_that_cannot_be_written_takes_nothing_from_the_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running_api() as api:
        api.store.audit.failure = StoreUnavailable()
        assert (await api.client.post("/instance/create")).status_code == 200
    assert "audit.not_written" in capsys.readouterr().out
