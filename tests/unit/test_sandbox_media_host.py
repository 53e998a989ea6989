"""The media host without a network: hashes in addresses, ranges, what it refuses."""

import hashlib
import itertools
import os
from pathlib import Path

import pytest

from bridge.sandbox import media_files
from bridge.sandbox.http import Pieces, Request, Response
from bridge.sandbox.media_files import FileTooLarge, MediaFiles, NoSuchFile, WrongHash, token_of
from bridge.sandbox.media_host import MediaHost, Transfer

BODY = bytes(range(200))


@pytest.fixture
def host(tmp_path: Path) -> MediaHost:
    return MediaHost(MediaFiles(tmp_path))


def _pieces(*pieces: bytes) -> Pieces:
    left = list(pieces)

    async def next_piece() -> bytes:
        return left.pop(0) if left else b""

    return next_piece


def _kept(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def _upload(host: MediaHost, body: bytes = BODY, token: str | None = None) -> Response:
    target = f"/mms/image/{token or token_of(hashlib.sha256(body).digest())}?auth=a"
    return await host.upload(Request("POST", target, {}), _pieces(body[:7], body[7:]))


def _path() -> str:
    return f"/v/t62.7118-24/{hashlib.sha256(BODY).hexdigest()}?ccb=1"


async def _get(host: MediaHost, asked: str | None = None, more: str = "") -> tuple[int, bytes]:
    headers = {} if asked is None else {"range": asked}
    response = await host.answer(Request("GET", _path() + more, headers))
    if response.file is None:
        return response.status, b""
    part = response.file
    return response.status, part.path.read_bytes()[part.start : part.start + part.size]


async def test_what_was_uploaded_is_given_out(host: MediaHost) -> None:
    seen: list[Transfer] = []
    host.watchers.append(seen.append)
    assert (await _upload(host)).status == 200
    assert await _get(host, more=f"&hash={token_of(hashlib.sha256(BODY).digest())}") == (200, BODY)
    assert [(t.direction, t.size, t.status) for t in seen] == [("upload", 200, 200), ("download", 200, 200)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-9", (206, BODY[:10])),
        ("bytes=190-", (206, BODY[190:])),
        ("bytes=-5", (206, BODY[-5:])),
        ("bytes=100-999", (206, BODY[100:])),
        ("bytes=200-", (416, b"")),
        ("bytes=-", (200, BODY)),
        ("lines=1-2", (200, BODY)),
    ],
)
async def test_a_part_is_given_out_where_one_is_asked_for(
    host: MediaHost, asked: str, expected: tuple[int, bytes]
) -> None:
    await _upload(host)
    assert await _get(host, asked) == expected


async def test_an_upload_with_another_hash_than_its_address_is_refused_and_not_kept(host: MediaHost) -> None:
    with pytest.raises(WrongHash):
        await _upload(host, token=token_of(bytes(32)))
    with pytest.raises(NoSuchFile):
        await _get(host)


async def test_a_download_that_names_another_hash_is_refused(host: MediaHost) -> None:
    await _upload(host)
    with pytest.raises(NoSuchFile):
        await _get(host, more=f"&hash={token_of(bytes(32))}")


async def test_a_file_that_is_too_large_is_refused_and_not_kept(
    host: MediaHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(media_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(FileTooLarge):
        await _upload(host)
    assert _kept(tmp_path) == []


@pytest.mark.parametrize("path", ["/v/x", "/v/t62.7118-24/../sandbox.db", "/v/t62.7118-24/" + "z" * 64])
async def test_paths_that_are_no_files_lead_nowhere(host: MediaHost, path: str) -> None:
    with pytest.raises(NoSuchFile):
        await host.answer(Request("GET", path, {}))


async def test_a_file_is_gone_once_it_was_deleted(host: MediaHost) -> None:
    await _upload(host)
    token = token_of(hashlib.sha256(BODY).digest())
    assert (await host.answer(Request("DELETE", f"/mms/md-msg-hist/{token}", {}))).status == 200
    with pytest.raises(NoSuchFile):
        await _get(host)
    with pytest.raises(NoSuchFile):
        await host.answer(Request("DELETE", "/elsewhere", {}))


async def test_a_refused_upload_is_read_to_its_end(tmp_path: Path) -> None:
    host = MediaHost(MediaFiles(tmp_path), lambda direction: 500 if direction == "upload" else None)
    pieces = _pieces(BODY)
    response = await host.upload(Request("POST", f"/mms/image/{token_of(bytes(32))}", {}), pieces)
    assert (response.status, await pieces()) == (500, b"")
    assert _kept(tmp_path) == []


async def test_the_oldest_files_go_when_there_are_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_files, "MAX_FOLDER_BYTES", 1000)
    files = MediaFiles(tmp_path)
    paths = []
    for index in range(10):
        added = files.add_now(bytes(150 + index), "image")
        paths.append(added.direct_path)
        os.utime(files.find(added.direct_path), (index, index))
    assert sum(len(files.find(path).read_bytes()) for path in paths if _there(files, path)) <= 1000
    assert [_there(files, path) for path in paths[-3:]] == [True, True, True]
    assert not _there(files, paths[0])


def _there(files: MediaFiles, path: str) -> bool:
    try:
        files.find(path)
    except NoSuchFile:
        return False
    return True


def test_what_a_killed_sandbox_left_half_written_is_removed(tmp_path: Path) -> None:
    files = MediaFiles(tmp_path)
    left = files.begin()
    left.write(b"half")
    left.done()
    assert left.path.exists()
    MediaFiles(tmp_path)
    assert _kept(tmp_path) == []


def test_a_content_that_is_made_up_is_the_same_again_and_as_long_as_asked() -> None:
    size = 2_500_001
    content, other = media_files.made_up(size).read(), media_files.made_up(size, seed=1).read()
    assert (len(content), len(set(content))) == (size, 256)
    assert media_files.made_up(size).read() == content != other
    with media_files.made_up(size) as again:
        pieces = list(iter(lambda: again.read(1 << 20), b""))
    assert b"".join(pieces) == content


def test_what_a_phone_seals_is_on_the_disk_piece_by_piece_and_uploads_do_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    files, size = MediaFiles(tmp_path), 13_000_000
    files.add_now(media_files.made_up(size), "document")
    places = [0, *synced, size]
    assert max(after - before for before, after in itertools.pairwise(places)) < 6 << 20
    synced.clear()
    upload = files.begin()
    upload.write(bytes(size))
    upload.forget()
    assert synced == []
