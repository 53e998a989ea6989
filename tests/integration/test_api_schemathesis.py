"""schemathesis against the API on a real server and a real store: what the document promises holds for any input.

What needs a WhatsApp is in tests/e2e/test_schemathesis.py, against a real instance and the sandbox; `LEFT_OUT` says
which calls are not here, and a test shows that each call is in one of the two.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from bridge import meters
from bridge.api import pull
from bridge.api.app import all_routes, create_app
from bridge.api.auth import Gate
from bridge.api.context import ApiContext, Limits
from bridge.api.openapi import KEY, path_of
from bridge.domain.ids import CommandId, InstanceKey, NodeId
from bridge.domain.questions import MarkRead
from bridge.ids import new_key_id
from bridge.keyform import make_key
from bridge.media.library import Keeping
from bridge.media.service import MediaConfig, MediaService
from bridge.store.errors import CommandClosed
from bridge.store.rows import InstanceRow, NewKey
from bridge.store.store import Store
from tests.integration.test_store_keys import digest
from tests.support.api import FormOnly, Probes, serving
from tests.support.directory import MemoryDirectory, Progress, QrCode, Watch
from tests.support.explore import ASKS_WHATSAPP, DEFECTS, explore
from tests.support.memory import MemoryStore, now

LEFT_OUT = {
    "^/(contact|profile|presence|chat|phone|group|call)": "asks WhatsApp: there is none here",
    "/webhooks/{webhook}/test$": "posts to an endpoint: there is none here",
}
"""The paths that are not called here, and why."""


@dataclass
class Over(Watch):
    """A pairing that is over at each look."""

    def look(self) -> Progress:
        return Progress("created", "pairing_timeout", over=True)


@dataclass
class Directory(MemoryDirectory):
    """Instances without a WhatsApp, which are in the store all the same."""

    rows: Store | None = None

    async def create(
        self,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        *,
        key: InstanceKey | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> InstanceRow:
        row = await super().create(name, external_id, metadata, key=key, settings=settings)
        assert self.rows is not None
        return await self.rows.instances.create(row.key, name, external_id, metadata, settings=settings)

    async def cancel(self, key: InstanceKey, command: CommandId) -> None:
        await self._work()
        raise CommandClosed(command=command)  # nothing waits here


def crashes() -> Counter[str]:
    """Return which requests ended in a defect of ours, and how often."""
    return Counter(
        {
            " ".join((sample.labels["method"], sample.labels["route"], sample.labels["status"])): int(sample.value)
            for metric in meters.HTTP_REQUESTS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["status"] in DEFECTS
        }
    )


async def test_schemathesis_finds_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(pull, "STREAM_MAX_S", 0.1)  # a stream ends, as it does after an hour
    secret = make_key()
    await store.keys.add(NewKey(new_key_id(), "test", "admin", digest(secret)))
    directory = Directory(MemoryStore(), rows=store, watch=Over([]), answers={MarkRead: None})
    directory.qr_code = QrCode("2@code," + "x" * 200, 1, now())
    await directory.create("front desk", None, {}, key=InstanceKey(KEY))
    config = MediaConfig(tmp_path / "media", Keeping(max_bytes=1_000_000, days=30))
    media = MediaService(store.media, config, lambda: "http://bridge")
    media.begin(b"s" * 32)
    app = create_app(ApiContext(store, directory, Probes(), NodeId("node_test"), FormOnly(), media=media))
    before = crashes()
    async with serving(app, drain_s=1) as (_, bound, _stop):
        known = await made(bound.url, secret)
        await explore(bound.url, secret, tmp_path, without="|".join(LEFT_OUT), known=known)
    assert not crashes() - before
    assert directory.calls > 5  # it came through to the inside


async def made(url: str, secret: str) -> dict[str, str]:
    """Return what there is, made by the API: the names are those of `tests.support.explore_hooks`."""
    async with httpx2.AsyncClient(base_url=url, headers={"X-Api-Key": secret}, trust_env=False) as client:
        file = (await client.post(f"/media/{KEY}?filename=a.txt", content=b"some text")).json()
        hook = (await client.post("/webhooks", json={"url": "https://example.com/hook", "instance_key": "*"})).json()
    _, date, name = file["media_path"].split("/")
    return {
        "GET /media/{key}/{id} id": file["media_id"],
        "GET /media/{key}/{date}/{file} date": date,
        "GET /media/{key}/{date}/{file} file": name,
        "media_id": file["media_id"],
        "asset": "app.js",
        "POST /webhooks/{webhook}/replay webhook": hook["id"],
        "PATCH /webhooks/{webhook} webhook": hook["id"],
        "GET /webhooks/{webhook}/deliveries webhook": hook["id"],
    }


def test_every_call_is_explored_here_or_against_a_whatsapp() -> None:
    store = MemoryStore()
    context = ApiContext(store, MemoryDirectory(store), Probes(), NodeId("node_test"), FormOnly())
    paths = {path_of(route) for route in all_routes(context, Gate(store.keys, Limits()))}
    left = {path for path in paths if re.search("|".join(LEFT_OUT), path)}
    assert left and not {path for path in left if not re.search(ASKS_WHATSAPP, path)}
    assert len(paths - left) > 50
