"""A backup of a real database into a file, and from there into an empty one."""

import argparse
import io
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.app import media_config
from bridge.backup import command, run
from bridge.backup.run import Place
from bridge.backup.seal import BadBackup
from bridge.config import from_environment
from bridge.engine.journal import Journal, read_left
from bridge.store.dump import CannotRestore
from bridge.store.errors import MigrationError

PASSPHRASE = "correct horse battery"
ENGINE = """
create table whatsapp.device (jid text primary key, key bytea not null check (length(key) = 32), at bigint default 7);
create table whatsapp.session (
    our_jid text references whatsapp.device (jid) on delete cascade, their_id text, session bytea,
    primary key (our_jid, their_id)
);
create index session_their on whatsapp.session (their_id) where session is not null;
insert into whatsapp.device values ('1:1@s', decode(repeat('0001', 16), 'hex'), null);
insert into whatsapp.session values ('1:1@s', E'tab\\there\\n\\\\.', '\\x00ff5c');
insert into bridge.instance (key, name, metadata) values (repeat('a', 32), E'Größe 😀\\\\N', '{"a": [1, null]}');
insert into bridge.command (id, instance_key, kind, body, state)
values ('cmd_1', repeat('a', 32), 'text', '{}', 'queued');
"""
RECEIVED = """
insert into receiver.event (webhook_id, instance, type, seq, body) overriding system value
values ('evt_1', repeat('a', 32), 'message.received', 1, '\\x7b7d'), ('evt_2', null, null, null, '\\x00ff');
insert into receiver.run (handler, cursor, lane) select 'mine:handle', cursor, 'x' from receiver.event limit 1;
insert into receiver.lane (handler, name, pending) values ('mine:handle', 'x', 1);
"""
SHAPE = (
    "select table_schema, table_name, column_name, data_type, is_nullable, column_default"
    " from information_schema.columns where table_schema in ('bridge', 'whatsapp', 'receiver') order by 1, 2, 3",
    "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
    " where connamespace::regnamespace::text in ('bridge', 'whatsapp', 'receiver') order by 1, 2",
    "select schemaname, indexname, indexdef from pg_indexes"
    " where schemaname in ('bridge', 'whatsapp', 'receiver') order by 1, 2",
)


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.backup.seal.SCRYPT_N", 2)


def everything(dsn: str) -> dict[str, Any]:
    """Return the shape and the rows of all three schemas."""
    with psycopg.connect(dsn) as conn:
        found: dict[str, Any] = {query: conn.execute(query).fetchall() for query in SHAPE}
        tables = conn.execute(
            "select schemaname, tablename from pg_tables where schemaname in ('bridge', 'whatsapp', 'receiver')"
            " and tablename <> 'migration' order by 1, 2"
        ).fetchall()
        for schema, table in tables:
            found[f"{schema}.{table}"] = conn.execute(f"select t::text from {schema}.{table} t order by 1").fetchall()
    return found


@pytest.fixture
def filled(database_url: str, tmp_path: Path) -> Place:
    """Return a database with something in it, the receiver's too, and the folder of its bridge."""
    with psycopg.connect(database_url) as conn:
        conn.execute(ENGINE.encode())
        conn.execute((resources.files("receiver") / "schema.sql").read_bytes())
        conn.execute(RECEIVED.encode())
    data = tmp_path / "data"
    (data / "media" / "ab").mkdir(parents=True)
    (data / "media" / "ab" / "picture").write_bytes(b"\x00\xff" * 700_000)
    (data / "media" / "spool").mkdir()
    (data / "media" / "spool" / "on its way").write_bytes(b"half a file")
    (data / "main-key").write_text("the main key\n")
    return Place(database_url, database_url, data)


def backed_up(filled: Place, target: Path) -> Path:
    run.write_backup(filled, target, PASSPHRASE, lambda _: None)
    return target


def restored(url: str, data: Path, file: Path, **options: bool) -> run.Summary:
    """Restore into one database and a folder."""
    data.mkdir(exist_ok=True)
    with file.open("rb") as source:
        return run.restore_backup(Place(url, url, data), source, PASSPHRASE, lambda _: None, **options)


def test_what_is_restored_is_what_was_there(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    file = backed_up(filled, tmp_path / "b")
    assert file.stat().st_mode & 0o777 == 0o600
    folder = tmp_path / "restored"
    summary = restored(empty_database_url, folder, file)
    assert everything(empty_database_url) == everything(filled.dsn)
    assert (folder / "media" / "ab" / "picture").read_bytes() == b"\x00\xff" * 700_000
    assert (folder / "main-key").read_text() == "the main key\n"
    assert summary.tables["bridge.instance"] > 0 and summary.tables["receiver.event"] > 0
    assert {path.name for path in folder.iterdir()} == {"media", "main-key"}
    with psycopg.connect(empty_database_url) as conn:  # its cursors go on where they were
        [after] = conn.execute("insert into receiver.event (webhook_id, body) values ('evt_3', '') returning cursor")
        assert after == (3,)


def test_files_on_their_way_into_the_store_are_left_out(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "restored"
    restored(empty_database_url, folder, backed_up(filled, tmp_path / "b"))
    assert [path.name for path in (folder / "media").iterdir()] == ["ab"]


def test_records_that_were_not_stored_yet_are_in_it(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    """While the host that writes them holds the journal."""
    journal = Journal(filled.data_dir / "journal", "k1")
    for seq in (1, 2):
        journal.append(seq, 5.0, 7, b"record %d" % seq)
    stored = Journal(filled.data_dir / "journal", "k2")
    file = backed_up(filled, tmp_path / "b")
    journal.close()
    stored.close()
    restored(empty_database_url, tmp_path / "restored", file)
    left = read_left(tmp_path / "restored" / "journal", "k1")
    assert [(record.seq, record.code, record.payload) for record in left] == [(1, 7, b"record 1"), (2, 7, b"record 2")]
    assert [path.name for path in (tmp_path / "restored" / "journal").iterdir()] == ["k1"]


def test_what_is_stored_while_it_is_made_is_in_it(
    filled: Place, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves the journal is in the database, and what the bridge calls delivered is at the receiver."""
    journal = Journal(filled.data_dir / "journal", "k1")
    journal.append(1, 5.0, 7, b"a record")
    the_files, the_dump = run._journal, run.Dump

    def files_and_then_a_commit(data_dir: Path) -> Iterator[Path]:
        yield from the_files(data_dir)
        journal.trim(1)
        with psycopg.connect(filled.dsn) as conn:
            conn.execute("update bridge.instance set name = 'stored'")

    def dump(dsn: str, *schemas: Any) -> Any:
        made = the_dump(dsn, *schemas)
        if not schemas:
            with psycopg.connect(filled.dsn) as conn:
                conn.execute("insert into receiver.event (webhook_id, body) values ('late', '')")
        return made

    monkeypatch.setattr(run, "_journal", files_and_then_a_commit)
    monkeypatch.setattr(run, "Dump", dump)
    restored(empty_database_url, tmp_path / "restored", backed_up(filled, tmp_path / "b"))
    journal.close()
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select name from bridge.instance").fetchall() == [("stored",)]
        assert conn.execute("select from receiver.event where webhook_id = 'late'").rowcount == 1


def test_the_receiver_may_have_a_database_of_its_own(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    without = tmp_path / "without"
    with psycopg.connect(filled.dsn) as conn:
        conn.execute("drop schema receiver cascade")
    assert not run.write_backup(filled, without, PASSPHRASE, lambda _: None).receiver
    with psycopg.connect(empty_database_url) as conn:
        conn.execute((resources.files("receiver") / "schema.sql").read_bytes())
        conn.execute(RECEIVED.encode())
    apart = Place(filled.dsn, empty_database_url, filled.data_dir)
    assert run.write_backup(apart, tmp_path / "both", PASSPHRASE, lambda _: None).receiver
    # the bridge's is lost and the receiver's is not
    with pytest.raises(CannotRestore, match="receiver"):
        restored(empty_database_url, tmp_path / "new", tmp_path / "both")
    assert not restored(empty_database_url, tmp_path / "new", tmp_path / "both", with_receiver=False).receiver
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select count(*) from receiver.event").fetchone() == (2,)
        assert conn.execute("select count(*) from bridge.instance").fetchone() == (1,)


def test_what_is_left_out_is_said() -> None:
    settings = from_environment({})
    everything_there, nothing = run.Summary(receiver=True), run.Summary()
    assert list(command.left_out(settings, everything_there)) == []
    assert ["RECEIVER_DATABASE_URL" in line for line in command.left_out(settings, nothing)] == [True]
    bucket = from_environment({"BRIDGE_MEDIA_STORE": "s3://files/here", "BRIDGE_MAIN_KEY": "00" * 32})
    key, files = command.left_out(bucket, everything_there)
    assert "BRIDGE_MAIN_KEY" in key and "s3://files/here" in files


def test_a_backup_goes_through_a_pipe(
    filled: Place, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_BACKUP_PASSPHRASE", PASSPHRASE)
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, write_through=True))
    given = argparse.Namespace(file=Path("-"), json=False, without_receiver=False)
    settings = from_environment({"BRIDGE_DATABASE_URL": filled.dsn, "BRIDGE_DATA_DIR": str(filled.data_dir)})
    assert command.backup(given, settings) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pipe.getvalue())))
    new = {"BRIDGE_DATABASE_URL": empty_database_url, "BRIDGE_DATA_DIR": str(tmp_path / "new")}
    assert command.restore(given, from_environment(new)) == 0
    assert everything(empty_database_url) == everything(filled.dsn)


def test_media_are_kept_where_a_backup_looks_for_them(tmp_path: Path) -> None:
    settings = from_environment({"BRIDGE_DATA_DIR": str(tmp_path), "BRIDGE_MEDIA_OPEN": "true"})
    config = media_config(settings)
    assert (config.folder.parent, config.folder.name in run.FOLDERS) == (settings.data_dir, True)
    assert settings.data_dir == tmp_path
    assert config.open and not media_config(from_environment({})).open


def test_nothing_of_it_can_be_read_without_the_passphrase(filled: Place, tmp_path: Path) -> None:
    raw = backed_up(filled, tmp_path / "b").read_bytes()
    for secret in (b"whatsapp", "Größe".encode(), b"the main key", b"cmd_1"):
        assert secret not in raw


@pytest.mark.parametrize("cut", [1, 1000, 200_000])
def test_a_damaged_backup_restores_nothing(filled: Place, empty_database_url: str, tmp_path: Path, cut: int) -> None:
    file = backed_up(filled, tmp_path / "b")
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(BadBackup):
        restored(empty_database_url, tmp_path, file)
    with psycopg.connect(empty_database_url) as conn:
        assert (
            conn.execute("select from pg_namespace where nspname in ('bridge', 'whatsapp', 'receiver')").fetchall()
            == []
        )
    assert not (tmp_path / "media").exists() and not (tmp_path / ".restore").exists()


def test_what_is_there_is_not_written_over(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    file = backed_up(filled, tmp_path / "b")
    before = everything(filled.dsn)
    with pytest.raises(CannotRestore, match="not empty"):
        restored(filled.dsn, tmp_path, file)
    assert everything(filled.dsn) == before
    with pytest.raises(CannotRestore, match="main-key"):
        restored(empty_database_url, filled.data_dir, file)


def test_a_backup_of_a_newer_program_is_refused(filled: Place, empty_database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(filled.dsn) as conn:
        conn.execute("insert into bridge.migration (version, name, sha256) values (9999, 'later', 'x')")
    file = backed_up(filled, tmp_path / "b")
    with pytest.raises(MigrationError):
        restored(empty_database_url, tmp_path, file)


def test_a_backup_that_fails_leaves_the_old_one(filled: Place, tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.write_text("the old one")

    def fail(name: str) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.write_backup(filled, file, PASSPHRASE, fail)
    assert file.read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir() if path.name != "data"] == ["b"]


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "media/../../evil", "elsewhere/x", ""])
def test_a_file_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadBackup):
        run._inside(tmp_path, name)
