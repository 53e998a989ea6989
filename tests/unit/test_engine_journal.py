"""The engine's journal: who may hold it, what a torn tail does, when it gets smaller."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.engine import journal
from bridge.engine.journal import Journal, JournalLocked

KEY = "a" * 32


def segments(directory: Path) -> list[Path]:
    return sorted(directory.joinpath(KEY).glob("*.log"))


def fill(target: Journal, first: int, count: int, size: int = 10) -> None:
    for seq in range(first, first + count):
        target.append(seq, float(seq), 17, bytes([seq % 256]) * size)


def test_what_is_not_acknowledged_is_left_for_the_next_process(tmp_path: Path) -> None:
    first = Journal(tmp_path, KEY)
    fill(first, 1, 3)
    first.trim(2)
    first.close()
    second = Journal(tmp_path, KEY)
    assert [record.seq for record, _ in second.left] == [1, 2, 3], "trimming is by whole segments"
    assert all(record.replayed for record, _ in second.left)
    assert second.first_seq == 4
    second.close()


def test_an_acknowledged_journal_is_cut_to_zero(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY)
    fill(held, 1, 5)
    held.trim(5)
    assert [path.stat().st_size for path in segments(tmp_path)] == [0]
    fill(held, 6, 1)
    held.close()
    assert [record.seq for record in journal.read_left(tmp_path, KEY)] == [6]


def test_a_journal_that_is_never_acknowledged_in_full_still_gives_room_back(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY, segment_bytes=1000)
    for seq in range(1, 400):
        fill(held, seq, 1, size=100)
        held.trim(seq - 1)
        assert len(segments(tmp_path)) <= 3
    held.close()
    assert journal.read_left(tmp_path, KEY)[-1].seq == 399


@pytest.mark.parametrize("torn", [b"x", b"\0" * 26, b"\xff" * 500])
def test_a_torn_tail_hides_nothing_that_was_whole(tmp_path: Path, torn: bytes) -> None:
    held = Journal(tmp_path, KEY)
    fill(held, 1, 2)
    held.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(torn)
    again = Journal(tmp_path, KEY)
    fill(again, again.first_seq, 1)
    again.close()
    assert [record.seq for record in journal.read_left(tmp_path, KEY)] == [1, 2, 3]


def test_a_changed_byte_ends_its_segment(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY)
    fill(held, 1, 3)
    held.close()
    data = bytearray(segments(tmp_path)[0].read_bytes())
    data[-1] ^= 1
    segments(tmp_path)[0].write_bytes(data)
    assert [record.seq for record in journal.read_left(tmp_path, KEY)] == [1, 2]


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY)
    for attempt in (
        lambda: Journal(tmp_path, KEY),
        lambda: journal.read_left(tmp_path, KEY),
        lambda: journal.clear(tmp_path, KEY, 10),
        lambda: journal.forget(tmp_path, KEY),
    ):
        with pytest.raises(JournalLocked):
            attempt()
    held.close()
    assert journal.read_left(tmp_path, KEY) == []


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bridge.engine.journal import Journal\n"
        f"j = Journal(Path({str(tmp_path)!r}), {KEY!r}); j.append(1, 1.0, 17, b'left'); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(JournalLocked):
            journal.read_left(tmp_path, KEY)
        owner.kill()
        owner.wait()
    assert [record.payload for record in journal.read_left(tmp_path, KEY)] == [b"left"]


def test_clearing_keeps_what_came_after(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY, segment_bytes=50)
    fill(held, 1, 6, size=60)
    held.close()
    journal.clear(tmp_path, KEY, 4)
    assert [record.seq for record in journal.read_left(tmp_path, KEY)] == [5, 6]


def test_forgetting_leaves_nothing(tmp_path: Path) -> None:
    held = Journal(tmp_path, KEY)
    fill(held, 1, 2)
    held.close()
    journal.forget(tmp_path, KEY)
    assert list(tmp_path.iterdir()) == []
    journal.forget(tmp_path, KEY)


@pytest.mark.parametrize("key", ["..", "", "a/b", "a" * 65, "ä"])
def test_a_key_that_is_no_name_of_a_folder_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="can't name a journal"):
        Journal(tmp_path, key)
