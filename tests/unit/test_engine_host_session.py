"""A session in its host: what the callback keeps, in which order it leaves, and what a slow bridge costs."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.engine import journal, wire
from bridge.engine.codes import Code
from bridge.engine.host import sessions
from bridge.engine.host.output import Output
from bridge.engine.host.sessions import BACKLOG_IN_MEMORY, WINDOW, HostSession
from bridge.engine.wire import Item

KEY = "b" * 32
SOON_S = 10.0


class Bridge:
    """The reading end of a host's output."""

    def __init__(self) -> None:
        self._read_fd, write_fd = os.pipe()
        self.output = Output(write_fd)
        self._decoder = wire.bridge_side()
        self._waiting: list[wire.FromHost] = []

    def items(self, count: int) -> list[Item]:
        """Return the next `count` records."""
        while len(self._waiting) < count:
            self._waiting += self._decoder.feed(os.read(self._read_fd, 65536))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        assert all(isinstance(item, Item) for item in taken)
        return taken  # type: ignore[return-value]

    def nothing_more(self) -> bool:
        self.output.flush(SOON_S)
        os.set_blocking(self._read_fd, False)
        try:
            self._waiting += self._decoder.feed(os.read(self._read_fd, 1 << 20))
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(self._read_fd, True)
        return not self._waiting


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
def session(tmp_path: Path, bridge: Bridge) -> Iterator[HostSession]:
    session = HostSession(KEY, 1, b"client", tmp_path, bridge.output)
    yield session
    session.close()


def test_records_leave_in_the_order_in_which_they_came(bridge: Bridge, session: HostSession) -> None:
    codes = [Code.CONNECTED, Code.MESSAGE, Code.RECEIPT, Code.DISCONNECTED] * 20
    for code in codes:
        session.record(code, b"x")
    items = bridge.items(len(codes))
    assert [item.code for item in items] == codes
    assert [item.seq for item in items] == list(range(1, len(codes) + 1))


def test_only_what_outlives_the_process_goes_through_the_journal(
    bridge: Bridge, session: HostSession, tmp_path: Path
) -> None:
    for code in (Code.CONNECTED, Code.MESSAGE, Code.PRESENCE, Code.PAIR_STATUS):
        session.record(code, b"x")
    bridge.items(4)
    session.close()
    assert [record.code for record in journal.read_left(tmp_path, KEY)] == [Code.MESSAGE, Code.PAIR_STATUS]
    session._journal = journal.Journal(tmp_path, KEY)  # for the fixture to close


def test_a_bridge_that_takes_nothing_gets_no_more_than_the_window(bridge: Bridge, session: HostSession) -> None:
    for _ in range(WINDOW * 2):
        session.record(Code.MESSAGE, b"x")
    bridge.items(WINDOW)
    assert bridge.nothing_more()
    session.progress(taken=10, acked=0)
    assert [item.seq for item in bridge.items(10)] == list(range(WINDOW + 1, WINDOW + 11))
    assert bridge.nothing_more()


def test_a_callback_returns_though_the_bridge_reads_nothing(session: HostSession) -> None:
    done = threading.Event()

    def callbacks() -> None:
        for _ in range(3000):
            session.record(Code.MESSAGE, bytes(1000))
        done.set()

    threading.Thread(target=callbacks, daemon=True).start()
    assert done.wait(SOON_S)


def test_what_waits_too_long_is_read_from_the_journal_again(bridge: Bridge, session: HostSession) -> None:
    count = BACKLOG_IN_MEMORY + WINDOW + 200
    for number in range(count):
        session.record(Code.MESSAGE, number.to_bytes(4, "big"))
    assert sum(len(record.payload) for record, _ in session._backlog) < count * 4
    arrived: list[Item] = []
    while len(arrived) < count:
        arrived += bridge.items(min(WINDOW, count - len(arrived)))
        session.progress(taken=len(arrived), acked=0)
    assert [int.from_bytes(item.payload, "big") for item in arrived] == list(range(count))


def test_presence_is_left_out_when_the_bridge_has_fallen_behind(bridge: Bridge, session: HostSession) -> None:
    for _ in range(WINDOW + BACKLOG_IN_MEMORY + 1):
        session.record(Code.MESSAGE, b"x")
    bridge.items(WINDOW)
    before = len(session._backlog)
    session.record(Code.PRESENCE, b"x")
    assert len(session._backlog) == before
    session.record(Code.MESSAGE, b"x")
    assert len(session._backlog) == before + 1


def test_an_acknowledgement_of_more_than_was_sent_trims_nothing_else(
    bridge: Bridge, session: HostSession, tmp_path: Path
) -> None:
    for _ in range(WINDOW + 1):
        session.record(Code.MESSAGE, b"x")
    bridge.items(WINDOW)
    session.progress(taken=0, acked=10**9)
    session.close()
    assert journal.read_left(tmp_path, KEY)[-1].seq == WINDOW + 1
    session._journal = journal.Journal(tmp_path, KEY)  # for the fixture to close


def test_what_an_earlier_host_left_comes_first_and_is_marked(tmp_path: Path, bridge: Bridge) -> None:
    left = journal.Journal(tmp_path, KEY)
    left.append(7, 1.5, Code.MESSAGE, b"old")
    left.close()
    session = HostSession(KEY, 1, b"client", tmp_path, bridge.output)
    session.record(Code.MESSAGE, b"new")
    old, new = bridge.items(2)
    assert (old.seq, old.at, old.payload, old.replayed) == (7, 1.5, b"old", True)
    assert (new.seq, new.payload, new.replayed) == (8, b"new", False)
    session.progress(taken=2, acked=8)
    session.close()
    assert journal.read_left(tmp_path, KEY) == []


def test_a_full_disk_is_reported_and_the_record_still_goes_out(
    bridge: Bridge, session: HostSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session._journal, "append", full)
    session.record(Code.MESSAGE, b"x")
    assert bridge.items(1)[0].payload == b"x"
    assert "No space left" in capsys.readouterr().err


def test_a_session_that_another_host_still_holds_is_not_opened(
    tmp_path: Path, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOCK_WAIT_S", 0.05)
    held = journal.Journal(tmp_path, KEY)
    with pytest.raises(sessions.StillOwned):
        HostSession(KEY, 1, b"client", tmp_path, bridge.output)
    held.close()


def test_a_call_that_ends_by_itself_is_reported(bridge: Bridge, session: HostSession) -> None:
    session.go_live()
    session.run(lambda _: "the dial failed")
    (item,) = bridge.items(1)
    assert (item.code, item.payload) == (Code.ENDED, b"the dial failed")


def test_an_ignored_message_is_reported_behind_what_may_still_be_on_its_way(
    bridge: Bridge, session: HostSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "IGNORED_AFTER_S", 0.05)
    session.note_ignored("3A 1@lid 1@lid")
    session.note_ignored("3B 1@lid 1@lid")
    session.record(Code.MESSAGE, b"late")
    items = bridge.items(3)
    assert [(item.code, item.payload) for item in items] == [
        (Code.MESSAGE, b"late"),
        (Code.IGNORED, b"3A 1@lid 1@lid"),
        (Code.IGNORED, b"3B 1@lid 1@lid"),
    ]


def test_a_callback_that_comes_after_the_end_writes_nowhere(
    bridge: Bridge, session: HostSession, tmp_path: Path
) -> None:
    session.life = sessions.Life.ENDED
    session.record(Code.MESSAGE, b"late")
    session.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        session._journal.append(1, 1.0, Code.MESSAGE, b"late")
    assert journal.read_left(tmp_path, KEY) == []
    session._journal = journal.Journal(tmp_path, KEY)  # for the fixture to close


def test_a_session_that_failed_at_its_start_does_not_go_live(bridge: Bridge, session: HostSession) -> None:
    session.run(lambda _: "no database")
    assert session.settled.is_set()
    assert not session.go_live()
    assert bridge.nothing_more()


def test_a_history_sync_that_no_frame_could_hold_is_left_out(
    bridge: Bridge, session: HostSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "HISTORY_BYTES", 10)
    session.record(Code.HISTORY_SYNC, b"x" * 11)
    session.record(Code.MESSAGE, b"x" * 11)
    session.record(Code.HISTORY_SYNC, b"x" * 10)
    assert [(item.code, item.seq) for item in bridge.items(2)] == [(Code.MESSAGE, 1), (Code.HISTORY_SYNC, 2)]
