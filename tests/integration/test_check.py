"""`bridge check`: what it finds in a real database and folder, and what it says to do."""

import json
from pathlib import Path

import psycopg
import pytest

from bridge import check, cli
from bridge.check import FAIL, OK, WARN, Finding, examine, judge
from bridge.config import Settings
from bridge.store.inspect import Found


def refused(host: str, port: int) -> None:
    raise OSError("Network is unreachable")


def reached(host: str, port: int) -> None:
    assert (host, port) == ("web.whatsapp.com", 443)


def found(settings: Settings, dial: check.Dial = reached) -> dict[str, Finding]:
    return {one.check: one for one in examine(settings, dial=dial)}


def test_a_migrated_database_and_a_new_one_are_well(database_url: str, empty_database_url: str, tmp_path: Path) -> None:
    seen = found(Settings(database_url=database_url, data_dir=tmp_path / "not there yet"))
    assert {one.status for one in seen.values()} == {OK}, seen
    assert seen["schema"].detail == "at head" and "PostgreSQL" in seen["database"].detail
    new = found(Settings(database_url=empty_database_url, data_dir=tmp_path))
    assert "0001_bridge.sql" in new["schema"].detail
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select from pg_namespace where nspname = 'bridge'").fetchone() is None


def test_what_is_missing_fails_with_what_to_do(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("insert into bridge.migration (version, name, sha256) values (9999, 'later', 'x')")
    newer = found(Settings(database_url=database_url, data_dir=tmp_path))["database"]
    assert newer.status == FAIL and "newer program" in newer.detail
    away = found(Settings(database_url="postgresql://u:p@127.0.0.1:1/x", data_dir=tmp_path), refused)
    assert away["database"].status == away["whatsapp"].status == FAIL
    assert "BRIDGE_DATABASE_URL" in away["database"].detail and "firewall" in away["whatsapp"].detail
    assert "p@" not in away["database"].detail


@pytest.mark.parametrize(
    ("database", "name", "status"),
    [
        (Found(130_004, 500, (), 0.0), "database", FAIL),
        (Found(160_000, 20, (), 0.0), "database", WARN),
        (Found(160_000, 500, (), -3.5), "clock", WARN),
        (Found(160_000, 500, (), 1.5), "clock", OK),
    ],
)
def test_a_database_is_judged(database: Found, name: str, status: str) -> None:
    assert {one.check: one.status for one in judge(database)}[name] == status


def test_a_full_disk_and_an_open_key_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main-key").write_text("x")
    (tmp_path / "main-key").chmod(0o644)
    for free, status in ((100, FAIL), (1024**3, WARN), (10 * 1024**3, OK)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        seen = found(Settings(data_dir=tmp_path))
        assert seen["disk"].status == status
        assert seen["main key"].status == WARN


def test_a_folder_that_cannot_be_used_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(Settings(data_dir=tmp_path))["data folder"].status == OK
    (tmp_path / "file").write_text("")
    seen = found(Settings(data_dir=tmp_path / "file" / "below"))["data folder"]
    assert seen.status == FAIL and "--data-dir" in seen.detail
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    seen = found(Settings(data_dir=tmp_path))["data folder"]
    assert seen.status == FAIL and "chown" in seen.detail


def test_an_encoder_that_is_missing_is_named() -> None:
    assert check._media(check.ENCODERS).status == OK
    seen = check._media([*check.ENCODERS, "libnothing"])
    assert seen.status == FAIL and "libnothing" in seen.detail


def test_a_proxy_of_the_environment_is_looked_for() -> None:
    assert check._proxy({}, refused).status == OK
    called: list[tuple[str, int]] = []
    seen = check._proxy({"https_proxy": "http://user:hidden@proxy.test:3128"}, lambda *given: called.append(given))
    assert (seen.status, called) == (OK, [("proxy.test", 3128)])
    assert "hidden" not in seen.detail and "proxy.test:3128" in seen.detail
    away = check._proxy({"HTTPS_PROXY": "http://proxy.test:3128"}, refused)
    assert away.status == FAIL and "correct or unset" in away.detail
    for wrong in ("proxy.test", "http://proxy.test:port"):
        assert check._proxy({"HTTPS_PROXY": wrong}, refused).status == FAIL


def test_a_mistyped_variable_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRIDGE_URL", "BRIDGE_API_KEY_FILE", "BRIDGE_BACKUP_PASSPHRASE_FILE"):
        monkeypatch.setenv(name, "x")
    assert found(Settings(data_dir=tmp_path))["settings"].status == OK
    monkeypatch.setenv("BRIDGE_WEBHOK_URL", "http://example.com")
    seen = found(Settings(data_dir=tmp_path))["settings"]
    assert seen.status == WARN and "BRIDGE_WEBHOK_URL" in seen.detail and "BRIDGE_URL" not in seen.detail


def test_the_command_prints_json_and_fails_when_something_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bridge.check._dial", reached)
    assert cli.main(["check", "--json", "--data-dir", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True and {one["check"] for one in told["checks"]} >= {"settings", "disk", "whatsapp"}
    monkeypatch.setattr("bridge.check._dial", refused)
    assert cli.main(["check", "--data-dir", str(tmp_path)]) == 1
    assert "fail" in capsys.readouterr().out
