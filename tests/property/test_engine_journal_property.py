"""A journal loses nothing that was not acknowledged, whatever is appended, trimmed, cut short and opened again."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.engine import journal
from bridge.engine.journal import Journal, Record

KEY = "k" * 32


class JournalMachine(RuleBasedStateMachine):
    """Compares a journal with a list. `kept` is what must be left, `gone` what may be."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name)
        self.journal = Journal(self.directory, KEY, segment_bytes=300)
        self.seq = self.journal.first_seq - 1
        self.kept: dict[int, bytes] = {}
        self.places: dict[int, journal.Place] = {}

    @rule(payloads=st.lists(st.binary(max_size=120), min_size=1, max_size=8))
    def append(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self.seq += 1
            self.places[self.seq] = self.journal.append(self.seq, float(self.seq), 17, payload)
            self.kept[self.seq] = payload

    @rule(back=st.integers(0, 10))
    def trim(self, back: int) -> None:
        acked = self.seq - back
        self.journal.trim(acked)
        self.kept = {seq: payload for seq, payload in self.kept.items() if seq > acked}

    @rule()
    def read_again(self) -> None:
        for seq, payload in self.kept.items():
            assert self.journal.read(self.places[seq]) == payload

    @rule(torn=st.binary(max_size=60))
    def crash(self, torn: bytes) -> None:
        """End as a killed process does, perhaps in the middle of a write, and open it again."""
        newest = max(self.directory.joinpath(KEY).glob("*.log"))
        self.journal.close()
        if newest.exists():
            with newest.open("ab") as file:
                file.write(torn)
        self.compare(journal.read_left(self.directory, KEY))
        self.journal = Journal(self.directory, KEY, segment_bytes=300)
        self.compare([record for record, _ in self.journal.left])
        self.places |= {record.seq: place for record, place in self.journal.left}
        self.seq = max(self.seq, self.journal.first_seq - 1)

    def compare(self, left: list[Record]) -> None:
        seqs = [record.seq for record in left]
        assert seqs == sorted(set(seqs)), "records are out of order or twice there"
        assert set(self.kept) <= set(seqs), "a record that nobody acknowledged is lost"

    @invariant()
    def everything_left_reads_as_it_was_written(self) -> None:
        for record, place in self.journal.left:
            if record.seq in self.kept:
                assert self.journal.read(place) == self.kept[record.seq]

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=10), st.data())
@settings(max_examples=80, deadline=None)
def test_a_journal_cut_at_any_byte_gives_a_prefix_of_what_was_written(
    payloads: list[bytes], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        written = Journal(directory, KEY)
        for seq, payload in enumerate(payloads, 1):
            written.append(seq, 1.0, 17, payload)
        written.close()
        (segment,) = directory.joinpath(KEY).glob("*.log")
        whole = segment.read_bytes()
        segment.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        left = journal.read_left(directory, KEY)
        assert [record.payload for record in left] == payloads[: len(left)]
