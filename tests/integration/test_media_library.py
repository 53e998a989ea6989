"""Rows and files together: each file once, a download that is expected once, and nothing that is needed is removed."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.domain.ids import InstanceKey
from bridge.domain.media import media_id
from bridge.ids import new_instance_key
from bridge.media.errors import MediaGone, MediaNotFound, MediaNotRetryable, MediaPending
from bridge.media.fetch import Fetcher
from bridge.media.files import LocalFiles, spool_of
from bridge.media.library import Keeping, Library
from bridge.media.outgoing import Outgoing, Wanted
from bridge.media.prepare import Preparer
from bridge.media.spool import Spooled
from bridge.net.guard import Guard
from bridge.store.media import Expected, MediaRow
from bridge.store.store import Store
from tests.support import samples
from tests.support.fileserver import response, server

HOUR_S = 3600.0


@dataclass
class Rig:
    store: Store
    library: Library
    files: LocalFiles
    key: InstanceKey

    async def spooled(self, data: bytes) -> Spooled:
        path = self.library.spool.folder / os.urandom(8).hex()
        path.write_bytes(data)
        return await self.library.spool.measure(path, 10_000)

    async def add(self, data: bytes) -> MediaRow:
        return await self.library.add(self.key, await self.spooled(data), kind="image", mime_type="image/jpeg")

    async def content(self, row: MediaRow) -> bytes:
        return b"".join([piece async for piece in self.library.read(row, 0, row.size_bytes)])

    async def names(self) -> set[str]:
        return {file.sha256 for batch in [batch async for batch in self.files.found()] for file in batch}

    async def age(self, column: str, table: str, seconds: float) -> None:
        """Make all rows of a table older."""
        async with self.store.connection() as conn:
            await conn.execute(f"update bridge.{table} set {column} = {column} - interval '{seconds} seconds'")  # type: ignore[call-overload]

    def expected(self, occasion: str = "m1", **fields: object) -> Expected:
        row = Expected(
            id=media_id(self.key, occasion),
            instance_key=self.key,
            path=f"{self.key}/2026-01-01/1-{occasion}.jpg",
            kind="image",
            mime_type="image/jpeg",
            filename="",
            size_bytes=7,
            facts={"width": 3},
            event={"message_id": occasion},
            source=b"\0where it is",
            expires_at=4e9,
        )
        return replace(row, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def rig(store: Store, tmp_path: Path) -> Rig:
    key = new_instance_key()
    await store.instances.create(key, None, None, {})
    spool = spool_of(tmp_path)
    spool.clear()
    files = LocalFiles(tmp_path / "objects")
    return Rig(store, Library(store.media, files, spool, Keeping(max_bytes=10_000, days=30)), files, key)


async def test_the_same_file_is_kept_once_and_removed_with_its_last_use(rig: Rig) -> None:
    first, second = await rig.add(b"same"), await rig.add(b"same")
    assert first.id != second.id
    assert first.sha256 == second.sha256
    assert await rig.names() == {first.hex}
    assert await rig.content(second) == b"same"
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    assert await rig.library.clean() == {"media": 0, "media_files": 0}, "both still refer to it"
    async with rig.store.connection() as conn:
        await conn.execute("delete from bridge.media where id = %s", (first.id,))
    assert (await rig.library.clean())["media_files"] == 0
    assert await rig.content(second) == b"same"
    async with rig.store.connection() as conn:
        await conn.execute("delete from bridge.media")
    assert (await rig.library.clean())["media_files"] == 1
    assert await rig.names() == set()


async def test_what_somebody_has_just_begun_to_use_is_not_removed(rig: Rig) -> None:
    file = await rig.spooled(b"young")
    await rig.library.keep(file)
    assert (await rig.library.clean())["media_files"] == 0
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    await rig.library.keep(await rig.spooled(b"young"))
    assert (await rig.library.clean())["media_files"] == 0, "it was touched again"


async def test_whoever_begins_to_use_a_file_that_is_being_removed_waits_and_puts_it_again(rig: Rig) -> None:
    file = await rig.spooled(b"contested")
    await rig.library.keep(file)
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    again = await rig.spooled(b"contested")
    kept = trio.Event()

    async def use() -> None:
        await rig.library.keep(again)
        kept.set()

    async with trio.open_nursery() as nursery, rig.store.media.unused() as name:
        assert name == file.sha256.hex()
        nursery.start_soon(use)
        with trio.move_on_after(0.3):
            await kept.wait()
        assert not kept.is_set()
        await rig.files.delete(name)
    assert await rig.names() == {file.sha256.hex()}


async def test_media_live_as_long_as_their_retention_and_say_so_afterwards(rig: Rig) -> None:
    row = await rig.add(b"old")
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    await rig.age("expires_at", "media", 31 * 24 * HOUR_S)
    assert await rig.library.clean() == {"media": 1, "media_files": 1}
    with pytest.raises(MediaGone, match="retention"):
        await rig.library.find(rig.key, row.id)
    assert await rig.names() == set()
    await rig.age("expires_at", "media", 31 * 24 * HOUR_S)
    await rig.library.clean()
    with pytest.raises(MediaNotFound):
        await rig.library.find(rig.key, row.id)


async def test_files_that_nobody_knows_are_found_and_removed_but_no_others(rig: Rig) -> None:
    row = await rig.add(b"known")
    orphan = await rig.spooled(b"orphan")
    await rig.files.put(orphan.sha256.hex(), orphan.path)
    assert await rig.library.find_orphans() == 1
    assert (await rig.library.clean())["media_files"] == 0, "it could be on its way"
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    assert (await rig.library.clean())["media_files"] == 1
    assert await rig.names() == {row.hex}


async def test_the_media_of_a_deleted_instance_go(rig: Rig) -> None:
    await rig.add(b"hers")
    await rig.store.media.expect([rig.expected()])
    await rig.store.instances.delete(rig.key)
    await rig.age("touched_at", "media_object", 2 * HOUR_S)
    assert (await rig.library.clean())["media_files"] == 1
    await rig.store.media.expect([rig.expected("m2")])
    assert await rig.store.media.by_path(rig.expected("m2").path) is None, "no instance, no download"


async def test_a_download_that_is_expected_twice_is_one(rig: Rig) -> None:
    rows = rig.store.media
    await rows.expect([rig.expected(), rig.expected("m2")])
    await rows.postpone(rig.expected().id, after_s=60, gone=1, reason="a reason")
    await rows.expect([rig.expected(), rig.expected("m3")])
    row = await rows.get(rig.key, rig.expected().id)
    assert row is not None
    assert (row.attempts, row.gone, row.reason, row.status) == (1, 1, "a reason", "pending")
    assert (row.source, row.facts, row.event) == (b"\0where it is", {"width": 3}, {"message_id": "m1"})
    due = await rows.due([rig.key], [rig.expected("m3").id], 10)
    assert [row.id for row in due] == [rig.expected("m2").id], "one is postponed, one under way"
    assert await rows.due([], [], 10) == [], "nobody is online"
    next_due = await rows.next_due_s()
    assert next_due is not None
    assert 50 < next_due <= 60
    with pytest.raises(MediaPending):
        await rig.library.find(rig.key, row.id)


async def test_a_download_ends_once_and_its_event_is_owed_until_it_is_stored(rig: Rig) -> None:
    rows, id = rig.store.media, rig.expected().id
    await rows.expect([rig.expected()])
    file = await rig.spooled(b"arrived")
    await rig.library.keep(file)
    await rows.arrived(id, sha256=file.sha256, size_bytes=file.size_bytes, mime_type="image/png")
    await rows.give_up(id, status="failed", reason="too late")
    row = await rig.library.find(rig.key, id)
    assert (row.status, row.mime_type, await rig.content(row)) == ("available", "image/png", b"arrived")
    assert [owed.id for owed in await rows.unannounced([], 10)] == [id]
    assert await rows.unannounced([id], 10) == []
    await rows.announce(id, "failed")
    assert len(await rows.unannounced([], 10)) == 1, "that was not its status"
    await rows.announce(id, "available")
    assert await rows.unannounced([], 10) == []


async def test_a_failed_download_can_be_asked_for_again_and_a_good_one_need_not(rig: Rig) -> None:
    rows, id = rig.store.media, rig.expected().id
    await rows.expect([rig.expected()])
    await rows.give_up(id, status="expired", reason="WhatsApp has it no more")
    with pytest.raises(MediaGone, match="no more"):
        await rig.library.find(rig.key, id)
    row = await rig.library.again(rig.key, id)
    assert (row.status, row.attempts, row.gone) == ("pending", 0, 0)
    assert [due.id for due in await rows.due([rig.key], [], 10)] == [id]
    with pytest.raises(MediaNotFound):
        await rig.library.again(rig.key, "med_other")
    with pytest.raises(MediaNotFound):
        await rig.library.again(InstanceKey("f" * 32), id)
    added = await rig.add(b"there")
    with pytest.raises(MediaNotRetryable):
        await rig.library.again(rig.key, added.id)


async def test_a_file_that_has_vanished_is_gone_and_no_crash(rig: Rig) -> None:
    row = await rig.add(b"vanishing")
    await rig.files.delete(row.hex)
    with pytest.raises(FileNotFoundError):
        await rig.content(row)
    with pytest.raises(MediaGone):
        async with rig.library.borrow(row):
            pass


async def test_a_url_that_is_wanted_again_while_it_is_fetched_is_fetched_once(rig: Rig) -> None:
    """As by a call that is repeated with its Idempotency-Key while the first one is still fetching."""
    asked_for, go = trio.Event(), trio.Event()

    async def slowly(stream: trio.SocketStream, _: str) -> None:
        asked_for.set()
        await go.wait()
        await stream.send_all(response(body=samples.pdf()))

    got: list[MediaRow] = []
    async with server({"/f.pdf": slowly}) as (port, asked), trio.open_nursery() as nursery:
        guard = Guard((f"127.0.0.1:{port}",))
        outgoing = Outgoing(rig.library, Fetcher(guard, timeout_s=30), Preparer())

        async def prepare() -> None:
            got.append(await outgoing.prepare(rig.key, Wanted("document", f"http://127.0.0.1:{port}/f.pdf")))

        nursery.start_soon(prepare)
        await asked_for.wait()
        nursery.start_soon(prepare)
        await trio.testing.wait_all_tasks_blocked(0.05)
        go.set()
        with trio.fail_after(20):
            while len(got) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
    assert (asked, got[0].id) == (["/f.pdf"], got[1].id)
