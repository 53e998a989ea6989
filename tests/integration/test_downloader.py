"""The processes that fetch files, from a media host over TLS behind a proxy: what comes, what not, and what is left."""

# ruff: noqa: ASYNC240
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from bridge.engine.downloader.__main__ import NICENESS
from bridge.engine.downloader.place import MEDIA_HOST
from bridge.engine.downloader.pool import LARGE_BYTES, Downloader, NotGiven
from bridge.engine.transfer import DownloadFailed, DownloadTooLarge
from bridge.engine.wire import SandboxTrust
from tests.support import mediahost
from tests.support.proc import has_ended, kilobytes
from tests.support.stack import until

MB = 1024 * 1024
CONTENT = os.urandom(3 * MB + 5)
SEALED, SAID = mediahost.sealed(CONTENT)
GROWTH_MB = 32


@asynccontextmanager
async def running(trust: SandboxTrust, **options: Any) -> AsyncIterator[Downloader]:
    downloader, stop = Downloader(trust, **options), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(downloader.run, stop=stop))
        try:
            yield downloader
        finally:
            stop.set()
    assert downloader.detail() == {"pids": [], "fetching": 0}


@asynccontextmanager
async def rig(tmp_path: Path, **answers: mediahost.Answer) -> AsyncIterator[tuple[mediahost.MediaHost, Downloader]]:
    async with mediahost.media_host(tmp_path, **answers) as host, running(host.trust) as downloader:
        yield host, downloader


async def fetch(downloader: Downloader, path: Path, target: str = "/file", **more: Any) -> bytes:
    options = {"size_bytes": len(CONTENT), "limit_bytes": len(CONTENT)} | more
    at = options.pop("at", None) or mediahost.place(SAID, target)
    await downloader.fetch(at, path, **options)
    return read(path)


def read(path: Path) -> bytes:
    return path.read_bytes()


def pid_of(downloader: Downloader) -> int:
    pids = downloader.detail()["pids"]
    assert isinstance(pids, list)
    assert len(pids) == 1
    return int(pids[0])


async def test_a_file_of_every_kind_comes_by_the_proxy_with_the_librarys_headers(tmp_path: Path) -> None:
    kinds = ("image", "video", "audio", "document", "sticker")
    forms = {kind: mediahost.sealed(CONTENT + kind.encode(), kind) for kind in kinds}
    async with rig(tmp_path, **{kind: mediahost.ok(form) for kind, (form, _) in forms.items()}) as (host, downloader):
        for kind, (_, said) in forms.items():
            at = mediahost.place(said, f"/{kind}", kind)
            content = await fetch(downloader, tmp_path / kind, at=at, limit_bytes=4 * MB)
            assert content == CONTENT + kind.encode()
            assert (tmp_path / kind).stat().st_mode & 0o777 == 0o600
        assert {target for target, _ in host.connects} == {f"{MEDIA_HOST}:443"}
        target, headers = host.asked[0]
        assert (target, headers["host"]) == ("/image", MEDIA_HOST)
        assert (headers["origin"], headers["referer"]) == ("https://web.whatsapp.com", "https://web.whatsapp.com/")
        assert headers["user-agent"].startswith("Go-http-client")


async def test_a_file_that_is_not_sealed_comes_the_same_way(tmp_path: Path) -> None:
    at = replace(mediahost.place(SAID), sealed_sha256=b"", media_key=b"")
    async with rig(tmp_path, file=mediahost.ok(CONTENT)) as (_, downloader):
        assert await fetch(downloader, tmp_path / "f", at=at) == CONTENT
        with pytest.raises(DownloadFailed, match="hash of unencrypted media"):
            await fetch(downloader, tmp_path / "g", at=replace(at, sha256=bytes(32)))
        assert not (tmp_path / "g").exists()


async def test_it_runs_behind_everybody_else_and_ends_when_there_is_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET", "for nobody")
    async with mediahost.media_host(tmp_path, file=mediahost.ok(SEALED)) as host:
        async with running(host.trust, idle_s=600) as downloader:
            assert downloader.detail()["pids"] == [], "none before there is a file"
            await fetch(downloader, tmp_path / "a")
            pid = pid_of(downloader)
            assert os.getpriority(os.PRIO_PROCESS, pid) == NICENESS == 19
            await fetch(downloader, tmp_path / "b")
            assert pid_of(downloader) == pid, "the next file needs no process of its own"
            assert b"BRIDGE" not in read(Path(f"/proc/{pid}/environ"))
        assert has_ended(pid), "it ends with the bridge"
        async with running(host.trust, idle_s=0.01) as downloader:
            await fetch(downloader, tmp_path / "c")
            await until(partial(_rests, downloader))


async def endless(body: bytes, stream: trio.abc.SendStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send_all(body)


async def test_what_is_larger_than_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    lied = mediahost.ok(b"", 900 * MB)
    async with rig(tmp_path, file=mediahost.ok(SEALED), said=lied, endless=partial(endless, SEALED)) as (_, downloader):
        assert await fetch(downloader, tmp_path / "f", limit_bytes=len(CONTENT)) == CONTENT
        for target, limit in (("/file", len(CONTENT) - 1), ("/said", 64 * MB), ("/endless", 64 * MB)):
            with pytest.raises(DownloadTooLarge):
                await fetch(downloader, tmp_path / "g", target, limit_bytes=limit, size_bytes=1)
            assert not (tmp_path / "g").exists(), target


async def test_what_the_host_does_not_give_is_left_to_the_engine_and_no_redirect_is_followed(tmp_path: Path) -> None:
    away = b"HTTP/1.1 302 x\r\nLocation: https://mmg.whatsapp.net/file\r\nContent-Length: 0\r\n\r\n"
    refusals = {f"r{code}": f"HTTP/1.1 {code} x\r\nContent-Length: 0\r\n\r\n".encode() for code in (403, 404, 410)}
    async with rig(tmp_path, file=mediahost.ok(SEALED), away=away, **refusals) as (host, downloader):
        for target, code in (("/away", 302), ("/r403", 403), ("/r404", 404), ("/r410", 410)):
            with pytest.raises(NotGiven, match=f"download failed with status code {code}"):
                await fetch(downloader, tmp_path / "f", target)
            assert not (tmp_path / "f").exists()
        assert [target for target, _ in host.asked] == ["/away", "/r403", "/r404", "/r410"]


async def test_a_download_that_begins_and_does_not_end_well_leaves_nothing(tmp_path: Path) -> None:
    wrong = SEALED[:-1] + bytes([SEALED[-1] ^ 1])
    answers: dict[str, mediahost.Answer] = {
        "trouble": b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n",
        "short": mediahost.ok(SEALED[: 2 * MB], len(SEALED)),
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + SEALED[: 2**19],
        "wrong": mediahost.ok(wrong),
        "file": mediahost.ok(SEALED),
    }
    async with rig(tmp_path, **answers) as (_, downloader):
        for target, reason in (
            ("/trouble", "status code 503"),
            ("/short", "broke off"),
            ("/chunk", "broke off"),
            ("/wrong", "hash of media ciphertext"),
        ):
            with pytest.raises(DownloadFailed, match=reason):
                await fetch(downloader, tmp_path / "f", target)
            assert not (tmp_path / "f").exists(), target
        with pytest.raises(DownloadFailed, match="cannot be written"):
            await fetch(downloader, tmp_path / "none" / "f")
        (tmp_path / "there").write_bytes(b"mine")
        with pytest.raises(DownloadFailed, match="cannot be written"):
            await fetch(downloader, tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == b"mine"


async def test_who_cannot_show_a_certificate_of_our_authority_gets_nowhere(tmp_path: Path) -> None:
    async with (
        mediahost.media_host(tmp_path / "other") as other,
        mediahost.media_host(tmp_path, file=mediahost.ok(SEALED)) as host,
        running(SandboxTrust(host.trust.proxy, "", other.trust.ca_file)) as downloader,
    ):
        with pytest.raises(NotGiven, match="certificate"):
            await fetch(downloader, tmp_path / "f")
        assert host.asked == []


async def test_a_proxy_gets_its_password_and_nothing_goes_past_one_that_refuses_or_is_away(tmp_path: Path) -> None:
    async with mediahost.media_host(tmp_path, file=mediahost.ok(SEALED)) as host:
        async with running(host.with_password("me:p%40ss")) as downloader:
            assert await fetch(downloader, tmp_path / "f") == CONTENT
            assert host.connects[0][1]["proxy-authorization"] == "Basic bWU6cEBzcw=="  # me:p@ss
            host.tunnel = b"HTTP/1.1 407 no\r\nContent-Length: 0\r\n\r\n"
            with pytest.raises(NotGiven, match="407"):
                await fetch(downloader, tmp_path / "g")
            assert len(host.asked) == 1
        async with running(host.by("http://127.0.0.1:1")) as downloader:
            with pytest.raises(NotGiven, match="not reached"):
                await fetch(downloader, tmp_path / "g")


async def stuck(begun: trio.Event, stream: trio.abc.SendStream) -> None:
    """Give a part of the file, then nothing."""
    await stream.send_all(mediahost.ok(SEALED)[: 2 * MB])
    begun.set()
    await trio.sleep_forever()


async def test_a_process_that_is_killed_in_the_middle_costs_its_own_file_alone(tmp_path: Path) -> None:
    begun = trio.Event()
    answers: Mapping[str, Any] = {"stuck": partial(stuck, begun), "file": mediahost.ok(SEALED)}
    async with rig(tmp_path, **answers) as (_, downloader), trio.open_nursery() as nursery:

        async def fails() -> None:
            with pytest.raises(DownloadFailed, match="its process ended"):
                await fetch(downloader, tmp_path / "f", "/stuck")

        nursery.start_soon(fails)
        await begun.wait()
        killed = pid_of(downloader)
        assert await fetch(downloader, tmp_path / "g") == CONTENT, "another file comes beside it"
        os.kill(killed, 9)
        idle = (set(downloader.detail()["pids"]) - {killed}).pop()  # type: ignore[call-overload]
        os.kill(idle, 9)
        await until(partial(_is_gone, idle))
        assert await fetch(downloader, tmp_path / "h") == CONTENT, "an idle one that is gone costs none"


async def test_what_hangs_or_is_not_wanted_any_more_is_ended_with_its_process(tmp_path: Path) -> None:
    begun = trio.Event()
    async with rig(tmp_path, stuck=partial(stuck, begun)) as (_, downloader):
        with pytest.raises(DownloadFailed, match="more than"):
            await fetch(downloader, tmp_path / "f", "/stuck", timeout_s=2.0)
        (tmp_path / "f").unlink(missing_ok=True)
        assert downloader.detail() == {"pids": [], "fetching": 0}
        begun = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, downloader, tmp_path / "f", "/stuck")
            await until(partial(_works, downloader))
            nursery.cancel_scope.cancel()
        assert downloader.detail() == {"pids": [], "fetching": 0}


async def _works(downloader: Downloader) -> bool:
    return downloader.detail()["fetching"] == 1


async def _rests(downloader: Downloader) -> bool:
    return downloader.detail()["pids"] == []


async def _is_gone(pid: int) -> bool:
    return has_ended(pid)


async def test_large_files_take_turns_and_small_ones_pass_them(tmp_path: Path) -> None:
    answers: Mapping[str, Any] = {"stuck": partial(stuck, trio.Event()), "file": mediahost.ok(SEALED)}
    async with rig(tmp_path, **answers) as (_, downloader), trio.open_nursery() as nursery:
        for number in range(4):
            large = partial(fetch, size_bytes=LARGE_BYTES)
            nursery.start_soon(large, downloader, tmp_path / f"large{number}", "/stuck")
        await trio.testing.wait_all_tasks_blocked()
        assert downloader.detail()["fetching"] == 2
        assert await fetch(downloader, tmp_path / "small") == CONTENT
        with pytest.raises(DownloadFailed, match="more than"):
            await fetch(downloader, tmp_path / "late", size_bytes=LARGE_BYTES, timeout_s=0.01)
        nursery.cancel_scope.cancel()


async def test_a_file_of_100_mb_takes_no_more_memory_than_a_small_one(tmp_path: Path, measured: Any) -> None:
    content = os.urandom(MB) * 100
    form, said = mediahost.sealed(content)
    async with rig(tmp_path, file=mediahost.ok(SEALED), large=mediahost.ok(form)) as (_, downloader):
        await fetch(downloader, tmp_path / "f")
        pid = pid_of(downloader)
        before = kilobytes(pid, "VmHWM")
        at = mediahost.place(said, "/large")
        await downloader.fetch(at, tmp_path / "g", size_bytes=len(content), limit_bytes=len(content))
        grown = (kilobytes(pid, "VmHWM") - before) / 1024
        assert (tmp_path / "g").stat().st_size == len(content)
        measured(f"a file of 100 MB: {before / 1024:.0f} MB, and {grown:.1f} MB more at the most")
        assert grown < GROWTH_MB
