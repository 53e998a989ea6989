"""Identifiers: ULIDs that sort by time, and are not to be guessed."""

from bridge import ids

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def value(ulid: str) -> int:
    number = 0
    for character in ulid:
        number = number << 5 | CROCKFORD.index(character)
    return number


def test_a_ulid_is_48_bits_of_time_and_80_random_ones(monkeypatch):
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_764_300_000_123_999_999)
    made = [ids.ulid() for _ in range(2_000)]
    assert {len(one) for one in made} == {26}
    assert {value(one) >> 80 for one in made} == {1_764_300_000_123}
    assert len(set(made)) == len(made)
    always = never = (1 << 80) - 1
    for one in made:
        always &= value(one)
        never &= ~value(one)
    assert always == never == 0  # each bit is sometimes set, and sometimes not


def test_later_ulids_sort_behind_earlier_ones(monkeypatch):
    times = [0, 1, 31, 32, 1_764_300_000_123, 1_764_300_000_124, (1 << 48) - 1]
    made = []
    for at in times:
        monkeypatch.setattr(ids.time, "time_ns", lambda at=at: at * 1_000_000)
        made.append(ids.ulid())
    assert made == sorted(made)
    assert [value(one) >> 80 for one in made] == times


def test_the_first_event_id_of_a_moment_sorts_before_all_that_are_made_in_it(monkeypatch):
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_764_300_000_123_000_000)
    first = ids.first_event_id(1_764_300_000.123)
    assert all(first <= ids.new_event_id() for _ in range(100))
    assert first > ids.first_event_id(1_764_300_000.122)
    assert len(first) == len(ids.new_event_id())
