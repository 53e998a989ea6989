"""A sandbox in the place of WhatsApp: what a bridge asks it, and that a database stays in one world."""

from functools import partial
from pathlib import Path

import pytest
import trio

from bridge.config import Settings
from bridge.engine.wire import SandboxTrust
from bridge.sandbox.http import Request, Response, json_response, serve
from bridge.sandbox_trust import AnotherWorld, NoSandbox, keep_apart, trust_of
from bridge.store.store import Store
from tests.support.sandbox import running_sandbox

ONE = SandboxTrust("http://127.0.0.1:1", "11" * 32, "/ca")
OTHER = SandboxTrust("http://127.0.0.1:1", "22" * 32, "/ca")


@pytest.mark.parametrize(
    ("first", "then"), [(None, ONE), (ONE, None), (ONE, OTHER)], ids=["real first", "sandbox first", "two sandboxes"]
)
async def test_a_database_stays_in_the_world_of_its_first_start(
    store: Store, first: SandboxTrust | None, then: SandboxTrust | None
) -> None:
    await keep_apart(store, first)
    await keep_apart(store, first)
    with pytest.raises(AnotherWorld):
        await keep_apart(store, then)
    await keep_apart(store, first)


def settings(url: str, data_dir: Path) -> Settings:
    return Settings(sandbox_url=url, sandbox_instead_of_whatsapp=True, data_dir=data_dir)


async def test_without_a_sandbox_nothing_is_trusted() -> None:
    assert await trust_of(Settings()) is None


async def test_a_sandbox_tells_what_its_ready_line_says(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        trust = await trust_of(settings(sandbox.ready["control"], tmp_path / "data"))
        assert trust is not None
        assert (trust.proxy, trust.root_key_hex) == (sandbox.ready["proxy"], sandbox.ready["root_key"])
        assert await trio.Path(trust.ca_file).read_text() == await trio.Path(sandbox.ready["ca_file"]).read_text()


@pytest.mark.parametrize(
    "answer",
    [
        json_response(404, {}),
        json_response(200, {"proxy": "http://127.0.0.1:1", "root_key": "11", "ca": "BEGIN CERTIFICATE"}),
        json_response(200, {"proxy": "https://127.0.0.1:1", "root_key": "11" * 32, "ca": "BEGIN CERTIFICATE"}),
        json_response(200, {"proxy": "http://127.0.0.1:1", "root_key": "11" * 32, "ca": ""}),
        Response(200, b"<html>"),
        Response(200, b" " * 100_000),
    ],
    ids=["404", "short key", "https", "no certificate", "html", "long"],
)
async def test_what_is_no_sandbox_is_refused(tmp_path: Path, answer: Response) -> None:
    async def handler(_: Request) -> Response:
        return answer

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(serve, handler=handler), 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(NoSandbox):
            await trust_of(settings(f"http://127.0.0.1:{port}", tmp_path))
        nursery.cancel_scope.cancel()


async def test_a_sandbox_that_does_not_come_up_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSandbox, match=r"127\.0\.0\.1:1"):
        await trust_of(settings("http://127.0.0.1:1", tmp_path), wait_s=0.2)
