"""Keys and health over the wire: what needs a key, what does not, and what Kubernetes is told."""

import pytest

from bridge.store.errors import StoreUnavailable
from tests.support.api import API_KEY, running_api

PROBES = ("/livez", "/readyz", "/startupz", "/health", "/version")
KEY = "0" * 32
CALLS = (
    ("POST", "/instance/create"),
    ("POST", "/instance/connect"),
    ("GET", "/instances"),
    ("GET", f"/instance/{KEY}"),
    ("GET", f"/instance/{KEY}/qr"),
    ("GET", f"/instance/{KEY}/status"),
    ("POST", f"/instance/{KEY}/disconnect"),
    ("POST", f"/instance/{KEY}/restart"),
    ("DELETE", f"/instance/{KEY}"),
    ("POST", "/message/send"),
)


async def test_every_call_but_the_probes_needs_a_key() -> None:
    async with running_api() as api, api.stranger() as stranger:
        for method, path in CALLS:
            for headers in ({}, {"X-Api-Key": "wrong"}):
                answer = await stranger.request(method, path, headers=headers)
                assert answer.status_code == 401, path
                assert answer.json()["code"] == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
        for path in PROBES:
            assert (await stranger.get(path)).status_code == 200
        assert not api.store.rows


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {API_KEY}"}, {"X-Api-Key": API_KEY}, {"apikey": API_KEY}, {"token": API_KEY}],
)
async def test_a_key_is_taken_from_any_of_the_headers(headers: dict[str, str]) -> None:
    async with running_api() as api, api.stranger() as client:
        assert (await client.get("/instances", headers=headers)).status_code == 200


async def test_a_key_in_the_url_opens_nothing() -> None:
    async with running_api() as api, api.stranger() as stranger:
        for name in ("token", "apikey", "api_key", "key", "access_token"):
            assert (await stranger.get("/instances", params={name: API_KEY})).status_code == 401


async def test_a_viewer_can_look_and_not_touch() -> None:
    async with running_api() as api:
        api.store.add_key("viewer-key", role="viewer")
        headers = {"X-Api-Key": "viewer-key"}
        assert (await api.client.get("/instances", headers=headers)).status_code == 200
        for method, path in (("POST", "/instance/create"), ("POST", "/message/send"), ("GET", f"/instance/{KEY}/qr")):
            answer = await api.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_with_auth_off_no_key_is_needed() -> None:
    async with (
        running_api(auth_on=False) as api,
        api.stranger() as stranger,
    ):
        assert (await stranger.post("/instance/create")).status_code == 200
        foreign = await stranger.post("/instance/create", headers={"Sec-Fetch-Site": "cross-site"})
        assert foreign.status_code == 403


# --- probes -----------------------------------------------------------------------------------------------------------


async def test_liveness_and_startup_follow_the_process() -> None:
    async with running_api() as api:
        assert (await api.client.get("/livez")).json() == {"status": "alive"}
        api.probes.is_started = False
        assert (await api.client.get("/startupz")).status_code == 503
        api.probes.is_started = True
        assert (await api.client.get("/startupz")).json() == {"status": "started"}
        api.probes.alive = False
        assert (await api.client.get("/livez")).status_code == 503


async def test_readiness_fails_while_draining_or_without_store_and_liveness_does_not() -> None:
    async with running_api() as api:
        assert (await api.client.get("/readyz")).status_code == 200
        api.probes.is_ready = False
        answer = await api.client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert answer.json()["checks"] == {"store": False, "draining": True}
        assert (await api.client.get("/livez")).status_code == 200


async def test_a_numbers_trouble_never_fails_readiness() -> None:
    async with running_api() as api:
        for state in ("logged_out", "failed", "conflict", "restricted"):
            api.add(state=state)
        assert (await api.client.get("/readyz")).status_code == 200
        health = (await api.client.get("/health")).json()
    assert health["status"] == "ok"
    assert health["instances"] == {
        "total": 4,
        "by_state": {"logged_out": 1, "failed": 1, "conflict": 1, "restricted": 1},
    }


async def test_health_says_what_is_wrong_when_the_store_is_down() -> None:
    async with running_api() as api:
        api.store.broken = StoreUnavailable()
        answer = await api.client.get("/health")
    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["reason"]) == ("degraded", "store_unavailable")


async def test_the_process_tree_is_shown_whole_to_a_key_and_without_its_names_to_strangers() -> None:
    async with running_api() as api, api.stranger() as stranger:
        tree = (await api.client.get("/readyz?verbose")).json()["tree"]
        public = (await stranger.get("/readyz?verbose=1")).json()["tree"]
        assert "tree" not in (await stranger.get("/readyz")).json()
    assert (tree["name"], tree["kind"], tree["state"], tree["since_s"]) == ("root", "supervisor", "running", 1.5)
    child = tree["children"][0]
    assert (child["name"], child["state"], child["restarts"]) == (f"instance {'a' * 32}", "parked", 8)
    assert (child["last_error"], child["detail"]) == ("EngineDown: secret", {"state": "failed"})
    hidden = public["children"][0]
    assert (hidden["state"], hidden["last_error"], hidden["detail"]) == ("parked", "EngineDown", {})
    assert "a" * 32 not in hidden["name"]


async def test_the_version_names_the_program() -> None:
    async with running_api() as api:
        assert (await api.client.get("/version")).json()["name"] == "whatsapp-bridge"
        assert (await api.client.head("/version")).status_code == 200
