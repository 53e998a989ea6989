"""The API on the real store: what its handlers read and write without the directory."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx2

from bridge.api.app import create_app
from bridge.api.context import ApiContext
from bridge.api.directory import Directory
from bridge.domain.ids import NodeId
from bridge.ids import new_instance_key, new_key_id
from bridge.store.rows import NewKey
from bridge.store.store import Store
from tests.support.api import API_KEY, DEADLINE_S, FormOnly, Probes, serving


class StoredInstances:
    """The part of the directory that makes rows; it has no actors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, name: str | None, external_id: str | None, metadata: Any, **key: Any) -> Any:
        return await self._store.instances.create(key.get("key") or new_instance_key(), name, external_id, metadata)


@asynccontextmanager
async def client_of(store: Store) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the API on `store`; the client has a key that is in it."""
    await add_key(store, API_KEY)
    directory = cast("Directory", StoredInstances(store))
    context = ApiContext(store, directory, Probes(), NodeId("node_test"), FormOnly())
    async with (
        serving(create_app(context), drain_s=1) as (_, bound, _stop),
        httpx2.AsyncClient(
            base_url=bound.url, headers={"X-Api-Key": API_KEY}, trust_env=False, verify=False, timeout=DEADLINE_S
        ) as client,
    ):
        yield client


async def add_key(store: Store, key: str, *, role: str = "admin", expires_at: datetime | None = None) -> None:
    await store.keys.add(NewKey(new_key_id(), "test", role, hashlib.sha256(key.encode()).digest(), expires_at))


async def test_keys_of_the_store_open_what_their_role_allows(store: Store) -> None:
    await add_key(store, "viewer", role="viewer")
    await add_key(store, "old", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    async with client_of(store) as client:
        statuses = {
            key: (
                (await client.get("/instances", headers={"X-Api-Key": key})).status_code,
                (await client.post("/instance/create", headers={"X-Api-Key": key})).status_code,
            )
            for key in (API_KEY, "viewer", "old", "unknown")
        }
    assert statuses == {API_KEY: (200, 200), "viewer": (200, 403), "old": (401, 401), "unknown": (401, 401)}


async def test_an_instance_and_its_endpoint_are_found_again(store: Store) -> None:
    async with client_of(store) as client:
        body = {
            "name": "Größe 😀",
            "external_id": "x-1",
            "metadata": {"deep": {"list": [1, 2.5, None, True, "ü"]}},
            "webhook": {"url": "https://example.com/hook", "events": ["message.received"]},
        }
        created = (await client.post("/instance/create", json=body, headers={"Idempotency-Key": "k"})).json()
        repeated = (await client.post("/instance/create", json=body, headers={"Idempotency-Key": "k"})).json()
        changed = await client.post("/instance/create", json={"name": "b"}, headers={"Idempotency-Key": "k"})
        shown = (await client.get(f"/instance/{created['instance_key']}")).json()
        listed = (await client.get("/instances?external_id=x-1")).json()
    assert created["instance_key"] == repeated["instance_key"]
    assert changed.status_code == 422
    assert {name: shown[name] for name in ("name", "external_id", "metadata")} == {
        name: body[name] for name in ("name", "external_id", "metadata")
    }
    assert listed["instances"] == [shown]
    assert [endpoint.url for endpoint in await store.endpoints.list()] == ["https://example.com/hook"]


async def test_the_list_pages_over_the_store_and_refuses_a_strange_cursor(store: Store) -> None:
    async with client_of(store) as client:
        keys = [(await client.post("/instance/create")).json()["instance_key"] for _ in range(5)]
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get("/instances", params={"limit": 2, "cursor": cursor})).json()
            seen += [row["instance_key"] for row in page["instances"]]
            cursor = page["next_cursor"]
        strange = await client.get("/instances?cursor=%FF%20nonsense")
        health = (await client.get("/health")).json()
    assert seen == keys
    assert (strange.status_code, strange.json()["code"]) == (400, "invalid_cursor")
    assert health["instances"] == {"total": 5, "by_state": {"created": 5}}
