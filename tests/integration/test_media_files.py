"""The stores of files, each the same way: a local folder, and an S3-compatible server in a process of its own."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.media.bucket import Bucket
from bridge.media.errors import MediaStoreFailed, MediaTooLarge
from bridge.media.files import Files, LocalFiles, spool_of
from bridge.media.s3 import ObjectFiles
from bridge.media.spool import Spool, Spooled
from tests.support.s3 import running_s3

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SIZE = 9 * 1024 * 1024 + 17
"""More than one part of an upload."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_s3() as found:
        yield found


@pytest.fixture(params=["local", "s3"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Files, Spool]:
    spool = spool_of(tmp_path)
    spool.clear()
    if request.param == "local":
        return LocalFiles(tmp_path / "objects"), spool
    return ObjectFiles(request.getfixturevalue("bucket"), spool), spool


async def spooled(spool: Spool, data: bytes) -> Spooled:
    async with spool.draft(len(data)) as draft:
        for start in range(0, len(data), 700_001):
            await draft.write(data[start : start + 700_001])
        done = await draft.complete()
        kept = done.path.with_suffix(".kept")
        done.path.rename(kept)
    return Spooled(kept, done.sha256, done.size_bytes, done.head)


async def read(files: Files, name: str, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in files.read(name, start, stop)])


async def test_a_file_is_kept_once_read_in_parts_lent_found_and_removed(stores: tuple[Files, Spool]) -> None:
    files, spool = stores
    data = os.urandom(SIZE)
    first, second = await spooled(spool, data), await spooled(spool, data)
    name = hashlib.sha256(data).hexdigest()
    assert first.sha256.hex() == name
    await files.put(name, first.path)
    await files.put(name, second.path)
    assert not first.path.exists()
    assert not second.path.exists()
    assert await read(files, name, 0, SIZE) == data
    assert await read(files, name, 5, 6) == data[5:6]
    assert await read(files, name, SIZE - 3, SIZE) == data[-3:]
    async with files.borrow(name) as path:
        assert path.read_bytes() == data
    found = [file for batch in [batch async for batch in files.found()] for file in batch if file.sha256 == name]
    assert [file.size_bytes for file in found] == [SIZE]
    await files.delete(name)
    await files.delete(name)
    with pytest.raises(FileNotFoundError):
        await read(files, name, 0, 1)
    with pytest.raises(FileNotFoundError):
        async with files.borrow(name):
            pass
    assert os.listdir(spool.folder) == []  # noqa: PTH208


async def test_a_store_that_does_not_answer_is_told_apart_from_a_file_that_is_missing(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.clear()
    files = ObjectFiles(Bucket("s3://nowhere", "http://127.0.0.1:9", access_key="a", secret_key="b"), spool)
    with pytest.raises(MediaStoreFailed):
        await read(files, "0" * 64, 0, 1)


async def test_what_grows_too_large_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.clear()
    with pytest.raises(MediaTooLarge):
        async with spool.draft(1_000_000) as draft:
            await draft.write(bytes(600_000))
            assert len(os.listdir(spool.folder)) == 1  # noqa: PTH208
            await draft.write(bytes(600_000))
    assert os.listdir(spool.folder) == []  # noqa: PTH208


async def test_the_spool_begins_empty(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.clear()
    (spool.folder / "left").write_bytes(b"by a bridge that was killed")
    spool.clear()
    assert os.listdir(spool.folder) == []  # noqa: PTH208


def test_a_bucket_does_not_show_its_keys() -> None:
    assert "hidden" not in repr(Bucket("s3://b", access_key="hidden", secret_key="hidden"))
