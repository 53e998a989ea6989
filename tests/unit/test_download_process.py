"""A process of the downloader without the process: what it keeps to when its parent is gone, and how it goes out."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.engine.downloader import __main__ as process
from bridge.engine.downloader import web
from bridge.engine.downloader.jobs import Fetched, Job
from tests.support import mediahost

SEALED, SAID = mediahost.sealed(bytes(9_000_000))


class Body:
    """A file that comes in pieces."""

    said_bytes = len(SEALED)

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, len(SEALED), web.PIECE_BYTES):
            yield SEALED[start : start + web.PIECE_BYTES]


def job(path: Path, **more: object) -> Job:
    at = mediahost.place(SAID)
    given = {"proxy": "", "ca_file": "", "limit_bytes": 10_000_000} | more
    return Job(at.host, at.target, str(path), at.info, at.media_key, at.sealed_sha256, at.sha256, **given)  # type: ignore[arg-type]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def body_of(_: Job) -> Iterator[Body]:
        yield Body()

    monkeypatch.setattr(process, "body_of", body_of)


@pytest.mark.usefixtures("served")
def test_a_process_whose_parent_is_gone_stops_in_the_middle_and_leaves_nothing(tmp_path: Path) -> None:
    looks = iter([True, True, False])
    with pytest.raises(process.Orphaned):
        process.fetch(job(tmp_path / "f"), lambda: next(looks))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("served")
def test_the_disk_has_it_piece_by_piece_and_all_of_it_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(-os.fstat(descriptor).st_size))
    assert process.fetch(job(tmp_path / "f"), lambda: True) == Fetched(9_000_000)
    assert synced[-1] == -9_000_000
    places = [0, *synced[:-1], 9_000_000]
    assert max(after - before for before, after in itertools.pairwise(places)) <= process.SYNC_BYTES + web.PIECE_BYTES


def test_a_connection_goes_to_the_proxy_and_asks_it_for_the_host(tmp_path: Path) -> None:
    direct = web._connection(job(tmp_path))
    assert (direct.host, direct.port) == (mediahost.MEDIA_HOST, 443)
    through = web._connection(job(tmp_path, proxy="http://proxy.example:3128"))
    assert (through.host, through.port) == ("proxy.example", 3128)


def test_a_job_shows_neither_keys_nor_passwords(tmp_path: Path) -> None:
    shown = repr(job(tmp_path, proxy="http://me:secret@proxy.example"))
    assert "secret" not in shown
    assert repr(SAID.media_key) not in shown
