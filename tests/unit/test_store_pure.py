"""The decisions of the store that need no database."""

from dataclasses import replace

import pytest

from bridge.store import cursors
from bridge.store.errors import InvalidCursor, MigrationError, StoreUnavailable
from bridge.store.hints import Coalescer
from bridge.store.migrate import Migration, migrations, pending
from bridge.store.pool import conninfo_for
from bridge.store.queries import load, parse

ONE, TWO = Migration(1, "0001_one.sql", "select 1"), Migration(2, "0002_two.sql", "select 2")


def test_a_hint_is_sent_at_once_and_then_at_most_once_per_interval():
    coalescer = Coalescer(interval_s=0.1)
    coalescer.want("a")
    assert coalescer.take(1.0) == ["a"]
    for _ in range(50):
        coalescer.want("a")
    assert coalescer.take(1.05) == []
    assert coalescer.wait_s(1.05) == pytest.approx(0.05)
    assert coalescer.take(1.1) == ["a"]
    assert coalescer.wait_s(1.1) is None


def test_hints_of_different_channels_do_not_wait_for_each_other():
    coalescer = Coalescer(interval_s=0.1)
    coalescer.want("a")
    coalescer.take(1.0)
    coalescer.want("a")
    coalescer.want("b")
    assert coalescer.take(1.01) == ["b"]


def test_a_channel_that_was_hinted_long_ago_is_forgotten():
    coalescer = Coalescer(interval_s=0.1)
    for number in range(100):
        coalescer.want(f"instance-{number}")
        coalescer.take(float(number))
    assert len(coalescer._not_before_s) == 1


def test_what_was_applied_is_not_pending():
    assert pending([ONE, TWO], {}) == (ONE, TWO)
    assert pending([ONE, TWO], {1: ONE.sha256}) == (TWO,)


def test_a_newer_or_a_changed_database_is_refused():
    with pytest.raises(MigrationError):
        pending([ONE], {1: ONE.sha256, 2: TWO.sha256})
    with pytest.raises(MigrationError):
        pending([replace(ONE, sql="select 3"), TWO], {1: ONE.sha256})


def test_our_migrations_are_numbered_without_a_gap():
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_queries_are_split_by_their_names():
    text = "-- name: a\n-- Says one.\nselect 1;\n\n-- name: b\n-- Says two.\nselect\n    2\n"
    assert parse(text, "x.sql") == {"a": "select 1", "b": "select\n    2"}


@pytest.mark.parametrize(
    "text", ["select 1", "-- name: a\n-- name: b\nselect 1", "-- name: a\nselect 1\n-- name: a\nselect 2"]
)
def test_a_malformed_file_of_queries_is_refused(text):
    with pytest.raises(ValueError):
        parse(text, "x.sql")


@pytest.mark.parametrize("name", ["instances", "commands", "keys", "settings", "hints", "migrate"])
def test_every_query_has_its_comment(name):
    from importlib.resources import files

    lines = (files("bridge.store") / "queries" / f"{name}.sql").read_text().splitlines()
    named = [number for number, line in enumerate(lines) if line.startswith("-- name:")]
    assert len(named) == len(load(name))
    assert all(lines[number + 1].startswith("-- ") for number in named)


def test_a_broken_cursor_is_the_callers_error():
    for cursor in ("x", "", "AAAA", "ä", "MjAyNg=="):
        with pytest.raises(InvalidCursor):
            cursors.time(cursor)


def test_what_a_url_sets_wins_over_our_limits():
    conninfo = conninfo_for("postgresql://a@b/c?application_name=mine&options=-c%20statement_timeout%3D5")
    assert "application_name=mine" in conninfo
    assert conninfo.index("statement_timeout=10000") < conninfo.index("statement_timeout=5'")


def test_an_error_says_what_to_do_and_whether_to_try_again():
    error = StoreUnavailable("AdminShutdown")
    assert str(error) == "PostgreSQL does not answer; try again. AdminShutdown"
    assert (error.status, error.retryable, error.code) == (503, True, "store_unavailable")
