"""Media over HTTP where something is slow or away, and who gets a file: the real store, no WhatsApp."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from bridge.api.context import Limits
from bridge.domain.ids import InstanceKey
from bridge.instances.errors import CommandInProgress
from bridge.media.bucket import Bucket
from bridge.media.library import Keeping
from bridge.media.service import MediaConfig, MediaService
from bridge.store.store import Store
from tests.support.api import API_KEY, Api, running_api
from tests.support.fileserver import response, server

PHONE = "4915112345678"


@dataclass
class Rig:
    api: Api
    key: InstanceKey
    folder: Path
    store: Store

    def left(self) -> list[str]:
        """Return the files that there are, on their way or kept."""
        return [name for _, _, names in os.walk(self.folder) for name in names]

    async def rows(self) -> int:
        async with self.store.connection() as conn:
            row = await (await conn.execute("select count(*) from bridge.media")).fetchone()
        assert row is not None
        return int(row[0])


@asynccontextmanager
async def rig(store: Store, folder: Path, limits: Limits | None = None, **config: object) -> AsyncIterator[Rig]:
    given = replace(MediaConfig(folder, Keeping(max_bytes=1_000_000, days=30)), **config)  # type: ignore[arg-type]
    media = MediaService(store.media, given, lambda: "http://bridge")
    media.begin(b"s" * 32)
    async with running_api(media=media, limits=limits) as api:
        key = api.add()
        await store.instances.create(key, None, None, {})
        yield Rig(api, key, folder, store)


async def never(stream: trio.SocketStream, _: str) -> None:
    """Begin an answer and send no more of it until the other side goes."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
    await stream.receive_some(1)


async def test_a_url_that_stalls_is_given_up_in_time_and_nothing_is_sent(store: Store, tmp_path: Path) -> None:
    async with (
        server({"/slow": never}) as (port, asked),
        rig(store, tmp_path, fetch_s=0.3, allow=(f"127.0.0.1:{port}",)) as one,
    ):
        body = {"instance_key": one.key, "phone": PHONE, "type": "file", "url": f"http://127.0.0.1:{port}/slow"}
        answer = await one.api.client.post("/message/send-media", json=body)
        assert (answer.status_code, answer.json()["code"]) == (504, "media_fetch_timeout")
        assert answer.json()["retryable"] is True
        assert (asked, one.api.directory.sent, one.left(), await one.rows()) == (["/slow"], [], [], 0)


async def test_a_send_that_is_still_running_is_not_fetched_for_again(store: Store, tmp_path: Path) -> None:
    async with (
        server({"/file": response(body=b"text")}) as (port, asked),
        rig(store, tmp_path, allow=(f"127.0.0.1:{port}",)) as one,
    ):
        body = {"instance_key": one.key, "phone": PHONE, "type": "file", "url": f"http://127.0.0.1:{port}/file"}
        one.api.directory.repeats = CommandInProgress(command="cmd_1")
        answer = await one.api.client.post("/message/send-media", json=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (409, "in_progress")
        assert (asked, one.api.directory.sent, one.left(), await one.rows()) == ([], [], [], 0)
        assert (await one.api.client.post("/message/send-media", json=body)).status_code == 200
        assert asked == ["/file"]


async def test_an_upload_that_stalls_is_answered_with_408_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    async with rig(store, tmp_path, Limits(upload_s=0.3)) as one:
        head = f"POST /media/{one.key} HTTP/1.1\r\nhost: x\r\nx-api-key: {API_KEY}\r\ncontent-length: 100\r\n\r\n"
        got = await one.api.raw(head.encode(), b"the beginning")
        assert got.startswith(b"HTTP/1.1 408 ") and b'"request_timeout"' in got and b'"retryable":true' in got, got
        assert (one.left(), await one.rows()) == ([], 0)


async def test_a_store_that_is_away_is_503_and_nothing_is_promised(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.media.s3.RETRY_S", 0)
    away = Bucket("s3://nowhere", "http://127.0.0.1:9", access_key="a", secret_key="b")
    async with rig(store, tmp_path, bucket=away) as one:
        answer = await one.api.client.post(f"/media/{one.key}", content=b"text")
        assert (answer.status_code, answer.json()["code"]) == (503, "media_store_failed")
        assert answer.json()["retryable"] is True
        assert (one.left(), await one.rows()) == ([], 0)


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_file_is_for_everybody_only_where_that_was_switched_on(
    store: Store, tmp_path: Path, *, is_open: bool
) -> None:
    (tmp_path / "secret").write_text("the main key")
    async with rig(store, tmp_path / "media", open=is_open) as one, one.api.stranger() as stranger:
        made = (await one.api.client.post(f"/media/{one.key}?filename=a.txt", content=b"a file")).json()
        for path in (f"/media/{made['media_path']}", f"/media/{one.key}/{made['media_id']}"):
            got = await stranger.get(path)
            assert (got.status_code, got.content == b"a file") == ((200, True) if is_open else (401, False)), path
        for path, method in ((f"/media/{one.key}", "POST"), (f"/media/{one.key}/{made['media_id']}/retry", "POST")):
            assert (await stranger.request(method, path, content=b"x")).status_code == 401, path
        day = made["media_path"].split("/")[1]
        for bad in (
            f"/media/{one.key}/../../secret",
            f"/media/{one.key}/{day}/../../../secret",
            f"/media/{one.key}/{day}/..%2F..%2F..%2Fsecret",
            f"/media/{one.key}/..%2f..%2fsecret",
            f"/media/{one.key}/..%5c..%5csecret",
            f"/media/{one.key}/%2e%2e/%2e%2e%2fsecret",
            f"/media/..%2f..%2f{tmp_path}/secret",
            f"/media/{tmp_path}/secret",
            f"/media/{'0' * 32}/{made['media_id']}",
            f"/media/{'0' * 32}/{day}/{made['media_path'].split('/')[2]}",
        ):
            got_raw = await one.api.raw(f"GET {bad} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            assert got_raw.split()[1] in ((b"404", b"400") if is_open else (b"404", b"400", b"401")), (bad, got_raw)
            assert b"the main key" not in got_raw
