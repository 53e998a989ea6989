"""What holds files back, and when downloads are tried again: without a file server, an engine or a real clock."""

import ctypes
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api.edge import AHEAD_BYTES, Inflow
from bridge.api.ranges import Unsatisfiable, wanted
from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey, MediaId
from bridge.domain.media import GONE_ATTEMPTS, WAITS_S
from bridge.engine.errors import EngineError
from bridge.engine.host.transfers import BadAnswer, NoTurn, Transfers, Turns
from bridge.engine.wire import TOO_LARGE
from bridge.media.downloads import AT_ONCE, PER_INSTANCE, Downloads
from bridge.media.links import Links
from bridge.media.shown import Showing
from bridge.store.media import MediaRow

KEY = InstanceKey("a" * 32)
NOW = datetime.now(UTC)


def row(number: int, key: InstanceKey = KEY) -> MediaRow:
    return MediaRow(
        id=MediaId(f"med_{number}"), instance_key=key, path=f"{key}/d/{number}", direction="in", kind="image",
        status="pending", reason=None, mime_type="image/jpeg", filename="", size_bytes=1, sha256=None, facts={},
        event={"chat_id": "c"}, source=b"s", attempts=0, gone=0, next_at=NOW, created_at=NOW, expires_at=NOW,
    )  # fmt: skip


@dataclass
class Rows:
    """The rows of downloads, under Trio's clock."""

    rows: dict[MediaId, MediaRow]
    due_at: dict[MediaId, float] = field(default_factory=dict)
    owed: set[MediaId] = field(default_factory=set)

    async def unannounced(self, under_way: Mapping[MediaId, object], limit: int) -> list[MediaRow]:
        return [self.rows[id] for id in sorted(self.owed) if id not in under_way][:limit]

    async def due(
        self, instances: list[InstanceKey], under_way: Mapping[MediaId, object], limit: int
    ) -> list[MediaRow]:
        now = trio.current_time()
        return [
            found
            for found in self.rows.values()
            if found.status == "pending" and self.due_at.get(found.id, 0) <= now and found.instance_key in instances
            and found.id not in under_way
        ][:limit]  # fmt: skip

    async def next_due_s(self) -> float | None:
        waiting = [at for id, at in self.due_at.items() if self.rows[id].status == "pending"]
        return min(waiting) - trio.current_time() if waiting else None

    async def get(self, _: InstanceKey, id: MediaId) -> MediaRow:
        return self.rows[id]

    async def postpone(self, id: MediaId, *, after_s: float, gone: int, reason: str) -> None:
        self.due_at[id] = trio.current_time() + after_s
        self.rows[id] = replace(self.rows[id], attempts=self.rows[id].attempts + 1, gone=gone, reason=reason)

    async def give_up(self, id: MediaId, *, status: str, reason: str) -> None:
        found = self.rows[id]
        self.rows[id] = replace(found, attempts=found.attempts + 1, status=status, reason=reason)
        self.owed.add(id)

    async def announce(self, id: MediaId, status: str) -> None:
        self.owed.discard(id)


@dataclass
class Engine:
    """An engine whose downloads fail, or last for ever."""

    error: str | None
    tries: list[float] = field(default_factory=list)
    under_way: list[InstanceKey] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    is_online: bool = True

    def online(self) -> list[InstanceKey]:
        return [KEY, InstanceKey("b" * 32)] if self.is_online else []

    async def download(self, key: InstanceKey, source: bytes, path: Path, *, size_bytes: int, limit_bytes: int) -> None:
        self.tries.append(trio.current_time())
        self.under_way.append(key)
        if self.error is None:
            await trio.sleep_forever()
        raise EngineError(self.error)

    async def emit(self, key: InstanceKey, event: Event) -> None:
        self.events.append(event)


class Shelf:
    """The library, as far as a download that fails needs it."""

    def __init__(self, rows: Rows, folder: Path) -> None:
        from bridge.media.library import Keeping
        from bridge.media.spool import Spool

        self.rows, self.spool, self.keeping = rows, Spool(folder), Keeping()


async def run(rows: Rows, engine: Engine, folder: Path, seconds: float) -> None:
    showing = Showing(Links(b"s"), lambda: "http://x")
    downloads = Downloads(Shelf(rows, folder), showing, engine)  # type: ignore[arg-type]
    with trio.move_on_after(seconds):
        await downloads.run(stop=trio.Event())


async def test_a_download_is_tried_after_each_wait_and_then_told_as_failed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    rows, engine = Rows({MediaId("med_1"): row(1)}), Engine("i/o timeout")
    await run(rows, engine, tmp_path, 2 * sum(WAITS_S))
    waits = [after - before for before, after in zip(engine.tries, engine.tries[1:], strict=False)]
    assert len(waits) == len(WAITS_S)
    for waited, planned in zip(waits, WAITS_S, strict=True):
        assert planned * 0.79 <= waited <= planned * 1.21 + 0.1
    assert [event.data["media"]["status"] for event in engine.events] == ["failed"]  # type: ignore[index]
    assert rows.owed == set()


async def test_what_whatsapp_has_no_more_ends_as_expired(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    rows, engine = Rows({MediaId("med_1"): row(1)}), Engine("download failed with status code 410")
    await run(rows, engine, tmp_path, 3600)
    assert len(engine.tries) == GONE_ATTEMPTS
    assert [event.data["media"]["status"] for event in engine.events] == ["expired"]  # type: ignore[index]


async def test_an_instance_that_is_away_uses_up_no_attempt(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    rows, engine = Rows({MediaId("med_1"): row(1)}), Engine("x", is_online=False)
    await run(rows, engine, tmp_path, 3600)
    assert engine.tries == []


async def test_few_come_at_a_time_and_fewer_of_one_instance(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    other = InstanceKey("b" * 32)
    many = {found.id: found for found in [*(row(n) for n in range(20)), *(row(n, other) for n in range(20, 40))]}
    engine = Engine(None)
    await run(Rows(many), engine, tmp_path, 60)
    assert len(engine.under_way) == AT_ONCE
    assert max(engine.under_way.count(key) for key in (KEY, other)) == PER_INSTANCE


async def test_a_body_that_comes_faster_than_it_is_taken_is_held_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inflow = Inflow()
    inflow.came(AHEAD_BYTES + 1)
    with trio.move_on_after(60) as waited:
        await inflow.room()
    assert waited.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inflow.room)
        await trio.testing.wait_all_tasks_blocked()
        inflow.taken(1)
    inflow.came(AHEAD_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inflow.room)
        await trio.testing.wait_all_tasks_blocked()
        inflow.drop()


@pytest.mark.parametrize(
    ("header", "part"),
    [(None, None), ("bytes=0-0", (0, 1)), ("bytes=2-", (2, 10)), ("bytes=-3", (7, 10)), ("bytes=-99", (0, 10)),
     ("bytes=3-99", (3, 10)), ("bytes=5-2", None), ("bytes=-", None), ("bytes=1-2,4-5", None), ("x=1-2", None)],
)  # fmt: skip
def test_a_range_is_what_the_rfc_says(header: str | None, part: tuple[int, int] | None) -> None:
    assert wanted(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted(header, 10)


def test_one_large_file_at_a_time_and_small_ones_beside_it() -> None:
    turns, large = Turns(), 20_000_000
    with turns.take(large, 0):
        with pytest.raises(NoTurn), turns.take(large, 0):
            pass
        with turns.take(1, 0):
            pass
    with turns.take(large, 0):
        pass


class _Bytes(ctypes.Structure):
    _fields_ = (("ptr", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Function:
    """Stands for a function of the library that answers with a protobuf message."""

    def __init__(self, answer: bytes) -> None:
        self._held = ctypes.create_string_buffer(answer, len(answer))
        self._answer = _Bytes(ctypes.addressof(self._held), len(answer))

    def __call__(self, *_: object) -> Any:
        return ctypes.pointer(self._answer)


class _Binder:
    Bytes = _Bytes

    def __init__(self, answer: bytes) -> None:
        freed = self.freed = []

        class Code(dict[str, object]):
            Upload = None
            FreeBytesStruct = staticmethod(partial(freed.append))

        self.gocode = Code(DownloadAny=_Function(answer))


def test_a_download_goes_from_the_librarys_memory_to_the_disk(tmp_path: Path) -> None:
    from bridge.protos import neonize_pb

    content = bytes(range(256)) * 5000
    binder = _Binder(neonize_pb.DownloadReturnFunction(Binary=content).SerializeToString())
    assert Transfers(binder).download(b"c", b"m", str(tmp_path / "f"), len(content)) == b""
    assert (tmp_path / "f").read_bytes() == content
    assert len(binder.freed) == 1
    failed = _Binder(neonize_pb.DownloadReturnFunction(Error="no").SerializeToString())
    assert Transfers(failed).download(b"c", b"m", str(tmp_path / "g"), 1) == b"no"
    assert not (tmp_path / "g").exists()
    cut = _Binder(neonize_pb.DownloadReturnFunction(Binary=content).SerializeToString()[:-9])
    with pytest.raises(BadAnswer):
        Transfers(cut).download(b"c", b"m", str(tmp_path / "h"), len(content))
    assert len(cut.freed) == 1


def test_a_file_above_the_limit_is_not_written_whatever_its_message_says(tmp_path: Path) -> None:
    from bridge.protos import neonize_pb

    binder = _Binder(neonize_pb.DownloadReturnFunction(Binary=bytes(1000)).SerializeToString())
    assert Transfers(binder).download(b"c", b"m", str(tmp_path / "f"), 999) == TOO_LARGE
    assert not (tmp_path / "f").exists()
    assert len(binder.freed) == 1
    assert Transfers(binder).download(b"c", b"m", str(tmp_path / "f"), 1000) == b""


async def test_a_file_is_on_the_disk_piece_by_piece_so_that_no_commit_waits_behind_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge.engine.host.transfers import SYNC_BYTES
    from bridge.media import spool
    from bridge.protos import neonize_pb

    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    content = bytes(3 * SYNC_BYTES + 5)
    binder = _Binder(neonize_pb.DownloadReturnFunction(Binary=content).SerializeToString())
    assert Transfers(binder).download(b"c", b"m", str(tmp_path / "f"), len(content)) == b""
    assert _gaps(synced, len(content)) <= SYNC_BYTES
    synced.clear()
    async with spool.Spool(tmp_path).draft(13_000_000) as draft:
        for _ in range(13):
            await draft.write(bytes(1_000_000))
    assert _gaps(synced, 13_000_000) <= spool.SYNC_BYTES + spool.FLUSH_BYTES + 1_000_000


def _gaps(synced: list[int], size: int) -> int:
    """Return how much was at most written between two times that the disk had it all."""
    places = [0, *synced, size]
    return max(after - before for before, after in itertools.pairwise(places))


def test_every_wrapping_of_a_file_names_it_and_an_address_of_ours_is_preferred() -> None:
    from bridge.engine import content
    from bridge.protos import e2e

    document = e2e.Message(
        documentMessage=e2e.DocumentMessage(
            URL="https://host/x", directPath="/v/x", mediaKey=b"k", fileSHA256=b"h", fileLength=9, fileName="a.pdf"
        )
    )
    round_video = e2e.Message(ptvMessage=e2e.VideoMessage(URL="https://host/x", mediaKey=b"k"))
    once = e2e.FutureProofMessage(message=round_video)
    wrapped = {
        "document": e2e.Message(documentWithCaptionMessage=e2e.FutureProofMessage(message=document)),
        "video": e2e.Message(viewOnceMessageV2=once),
    }
    for kind, message in wrapped.items():
        what = content.read(content.unwrap(message))
        assert what is not None
        assert what.media is not None
        assert what.media.kind == kind
    read = content.read(content.unwrap(wrapped["document"]))
    assert read is not None
    assert read.media is not None
    source = e2e.Message.FromString(read.media.source).documentMessage
    assert (source.directPath, source.URL, source.fileName) == ("/v/x", "", "")
    assert (read.media.filename, read.media.size_bytes) == ("a.pdf", 9)
    bare = content.read(content.unwrap(wrapped["video"]))
    assert bare is not None
    assert bare.media is not None
    assert e2e.Message.FromString(bare.media.source).videoMessage.URL == "https://host/x"
    assert content.read(e2e.Message(imageMessage=e2e.ImageMessage(mimetype="image/png"))).media is None  # type: ignore[union-attr]
