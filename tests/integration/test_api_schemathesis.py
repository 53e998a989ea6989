"""schemathesis against the API on a real server and a real store: what the document promises holds for any input."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from bridge import meters
from bridge.api.app import create_app
from bridge.api.context import ApiContext
from bridge.domain.ids import CommandId, InstanceKey, NodeId
from bridge.ids import new_key_id
from bridge.keyform import make_key
from bridge.media.library import Keeping
from bridge.media.service import MediaConfig, MediaService
from bridge.store.errors import CommandClosed
from bridge.store.rows import InstanceRow, NewKey
from bridge.store.store import Store
from tests.integration.test_store_keys import digest
from tests.support.api import FormOnly, Probes, serving
from tests.support.directory import MemoryDirectory
from tests.support.memory import MemoryStore

CHECKS = "status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
MORE_CHECKS = "use_after_free,unsupported_method"
"""Not ignored_auth: it spoils one of the four headers that may carry the key, and the good one still counts."""
LEFT_OUT = "/qr$|/docs$|/passkey$|/test$|/events|^/contact|^/profile|^/presence|^/chat|^/phone|^/ui"
"""Images, the page for people, what answers 501, what calls somebody, what waits, and what asks WhatsApp."""


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
    ) -> InstanceRow:
        row = await super().create(name, external_id, metadata, key=key)
        assert self.rows is not None
        return await self.rows.instances.create(row.key, name, external_id, metadata)

    async def cancel(self, key: InstanceKey, command: CommandId) -> None:
        await self._work()
        raise CommandClosed(command=command)  # nothing waits here


def crashes() -> float:
    """Return how many requests ended in a defect of ours."""
    return sum(
        sample.value
        for metric in meters.HTTP_REQUESTS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["status"] in {"500", "502", "503", "504"}
    )


async def test_schemathesis_finds_nothing(store: Store, tmp_path: Path) -> None:
    """Bounded and seeded. Refusals are no findings: a text that fits its schema need not be a recipient."""
    secret = make_key()
    await store.keys.add(NewKey(new_key_id(), "test", "admin", digest(secret)))
    directory = Directory(MemoryStore(), rows=store)
    config = MediaConfig(tmp_path / "media", Keeping(max_bytes=1_000_000, days=30))
    media = MediaService(store.media, config, lambda: "http://bridge")
    media.begin(b"s" * 32)
    app = create_app(ApiContext(store, directory, Probes(), NodeId("node_test"), FormOnly(), media=media))
    before = crashes()
    async with serving(app, drain_s=1) as (_, bound, _stop):
        with trio.fail_after(240):
            found = await trio.run_process(
                [
                    *(sys.executable, "-m", "schemathesis.cli", "run", f"{bound.url}/openapi.json"),
                    *("--header", f"X-Api-Key: {secret}", "--checks", f"{CHECKS},{MORE_CHECKS}"),
                    *("--seed", "1", "--max-examples", "4", "--phases", "examples,fuzzing"),
                    *("--exclude-path-regex", LEFT_OUT, "--no-color", "--request-timeout", "20"),
                ],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=tmp_path,
            )
    assert found.returncode == 0, found.stdout.decode()[-8000:]
    assert crashes() == before
    assert directory.calls > 5  # it came through to the inside
