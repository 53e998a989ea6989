"""A backup of a real database into a file, and from there into an empty one."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.app import media_config
from bridge.backup import run
from bridge.backup.seal import BadBackup
from bridge.config import from_environment
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
SHAPE = (
    "select table_schema, table_name, column_name, data_type, is_nullable, column_default"
    " from information_schema.columns where table_schema in ('bridge', 'whatsapp') order by 1, 2, 3",
    "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
    " where connamespace::regnamespace::text in ('bridge', 'whatsapp') order by 1, 2",
    "select schemaname, indexname, indexdef from pg_indexes where schemaname in ('bridge', 'whatsapp') order by 1, 2",
)


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.backup.seal.SCRYPT_N", 2)


def everything(dsn: str) -> dict[str, Any]:
    """Return the shape and the rows of both schemas."""
    with psycopg.connect(dsn) as conn:
        found: dict[str, Any] = {query: conn.execute(query).fetchall() for query in SHAPE}
        tables = conn.execute(
            "select schemaname, tablename from pg_tables where schemaname in ('bridge', 'whatsapp')"
            " and tablename <> 'migration' order by 1, 2"
        ).fetchall()
        for schema, table in tables:
            found[f"{schema}.{table}"] = conn.execute(f"select t::text from {schema}.{table} t order by 1").fetchall()
    return found


@pytest.fixture
def filled(database_url: str, tmp_path: Path) -> tuple[str, Path]:
    """Return a database with something in it, and the folder of its bridge."""
    with psycopg.connect(database_url) as conn:
        conn.execute(ENGINE.encode())
    data = tmp_path / "data"
    (data / "media" / "ab").mkdir(parents=True)
    (data / "media" / "ab" / "picture").write_bytes(b"\x00\xff" * 700_000)
    (data / "main-key").write_text("the main key\n")
    return database_url, data


def backed_up(filled: tuple[str, Path], target: Path) -> Path:
    run.write_backup(*filled, target, PASSPHRASE, lambda _: None)
    return target


def test_what_is_restored_is_what_was_there(filled: tuple[str, Path], empty_database_url: str, tmp_path: Path) -> None:
    file = backed_up(filled, tmp_path / "b")
    assert file.stat().st_mode & 0o777 == 0o600
    restored = tmp_path / "restored"
    restored.mkdir()
    seen: list[str] = []
    summary = run.restore_backup(empty_database_url, restored, file, PASSPHRASE, seen.append)
    assert everything(empty_database_url) == everything(filled[0])
    assert (restored / "media" / "ab" / "picture").read_bytes() == b"\x00\xff" * 700_000
    assert (restored / "main-key").read_text() == "the main key\n"
    assert summary.tables["bridge.instance"] > 0 and "bridge.command" in seen
    assert {path.name for path in restored.iterdir()} == {"media", "main-key"}


def test_media_are_kept_where_a_backup_looks_for_them(tmp_path: Path) -> None:
    settings = from_environment({"BRIDGE_DATA_DIR": str(tmp_path), "BRIDGE_MEDIA_OPEN": "true"})
    config = media_config(settings)
    assert (config.folder.parent, config.folder.name in run.FOLDERS) == (settings.data_dir, True)
    assert settings.data_dir == tmp_path
    assert config.open and not media_config(from_environment({})).open


def test_nothing_of_it_can_be_read_without_the_passphrase(filled: tuple[str, Path], tmp_path: Path) -> None:
    raw = backed_up(filled, tmp_path / "b").read_bytes()
    for secret in (b"whatsapp", "Größe".encode(), b"the main key", b"cmd_1"):
        assert secret not in raw


@pytest.mark.parametrize("cut", [1, 1000, 200_000])
def test_a_damaged_backup_restores_nothing(
    filled: tuple[str, Path], empty_database_url: str, tmp_path: Path, cut: int
) -> None:
    file = backed_up(filled, tmp_path / "b")
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(BadBackup):
        run.restore_backup(empty_database_url, tmp_path, file, PASSPHRASE, lambda _: None)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select from pg_namespace where nspname in ('bridge', 'whatsapp')").fetchall() == []
    assert not (tmp_path / "media").exists() and not (tmp_path / ".restore").exists()


def test_what_is_there_is_not_written_over(filled: tuple[str, Path], empty_database_url: str, tmp_path: Path) -> None:
    file = backed_up(filled, tmp_path / "b")
    before = everything(filled[0])
    with pytest.raises(CannotRestore, match="not empty"):
        run.restore_backup(filled[0], tmp_path, file, PASSPHRASE, lambda _: None)
    assert everything(filled[0]) == before
    with pytest.raises(CannotRestore, match="main-key"):
        run.restore_backup(empty_database_url, filled[1], file, PASSPHRASE, lambda _: None)


def test_a_backup_of_a_newer_program_is_refused(
    filled: tuple[str, Path], empty_database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(filled[0]) as conn:
        conn.execute("insert into bridge.migration (version, name, sha256) values (9999, 'later', 'x')")
    file = backed_up(filled, tmp_path / "b")
    with pytest.raises(MigrationError):
        run.restore_backup(empty_database_url, tmp_path, file, PASSPHRASE, lambda _: None)


def test_a_backup_that_fails_leaves_the_old_one(filled: tuple[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.write_text("the old one")

    def fail(name: str) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.write_backup(*filled, file, PASSPHRASE, fail)
    assert file.read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir() if path.name != "data"] == ["b"]


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "media/../../evil", "elsewhere/x", ""])
def test_a_file_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadBackup):
        run._inside(tmp_path, name)
