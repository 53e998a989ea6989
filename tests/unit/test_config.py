"""Settings: read from the environment, refused with a sentence that says what to change."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.config import BadSetting, Settings, from_environment


def test_nothing_set_gives_the_defaults() -> None:
    assert from_environment({}) == Settings()


def test_each_kind_of_value_is_read() -> None:
    settings = from_environment(
        {
            "BRIDGE_PORT": "0",
            "BRIDGE_AUTH": "off",
            "BRIDGE_DATA_DIR": "/var/lib/bridge",
            "BRIDGE_SEND_TIMEOUT_S": "7.5",
            "BRIDGE_WEBHOOK_ALLOW": "127.0.0.1:5555, 10.0.0.0/8",
        }
    )
    assert (settings.port, settings.auth, settings.data_dir) == (0, False, Path("/var/lib/bridge"))
    assert (settings.send_timeout_s, settings.webhook_allow) == (7.5, ("127.0.0.1:5555", "10.0.0.0/8"))


def test_the_command_line_wins_unless_it_says_nothing() -> None:
    assert from_environment({"BRIDGE_PORT": "1", "BRIDGE_HOST": "::1"}, port=2, host=None).port == 2
    assert from_environment({"BRIDGE_HOST": "::1"}, host=None).host == "::1"


def test_the_environment_is_read_where_it_is_asked_for_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_PORT", "1")
    assert Settings().port == 4444


def test_settings_are_changed_by_making_others_that_are_checked_too() -> None:
    settings = Settings(port=1)
    assert (settings.but(host="::1").port, settings.host) == (1, "127.0.0.1")
    with pytest.raises(BadSetting, match="BRIDGE_API_KEY must be at least 16"):
        settings.but(api_key="short")
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 2


def test_a_secret_may_be_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("0123456789abcdef\n")
    assert from_environment({"BRIDGE_API_KEY_FILE": str(secret)}).api_key == "0123456789abcdef"
    with pytest.raises(BadSetting, match="BRIDGE_API_KEY_FILE can't be read"):
        from_environment({"BRIDGE_API_KEY_FILE": str(tmp_path / "missing")})
    secret.write_bytes(b"\xff" * 20)
    with pytest.raises(BadSetting, match="BRIDGE_API_KEY_FILE can't be read: it is not UTF-8"):
        from_environment({"BRIDGE_API_KEY_FILE": str(secret)})


def test_what_is_empty_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("1\n")
    assert from_environment({"BRIDGE_PORT": "", "BRIDGE_AUTH": "", "BRIDGE_PORT_FILE": ""}) == Settings()
    assert from_environment({"BRIDGE_PORT": "", "BRIDGE_PORT_FILE": str(tmp_path / "port")}).port == 1


def test_every_wrong_setting_has_its_sentence() -> None:
    with pytest.raises(BadSetting) as refused:
        from_environment({"BRIDGE_PORT": "http", "BRIDGE_AUDIT": "some", "BRIDGE_HOST": "0.0.0.0"})
    assert str(refused.value) == (
        "A setting can't be used: BRIDGE_PORT must be a whole number. BRIDGE_AUDIT must be changes, all or off."
    )
    assert refused.value.fields == {"setting": "port"}


SECRETS = {
    "api_key": "hunter2 hunter2 hunter2",
    "database_url": "postgresql://user:hunter2@localhost/bridge",
    "main_key": "hunter2",
    "media_s3_access_key": "hunter2",
    "media_s3_secret_key": "hunter2",
    "webhook_secret": "hunter2",
    "webhook_url": "https://user:hunter2@example.com/",
    "old_main_keys": ("hunter2",),
}


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(Settings(**SECRETS)) + str(Settings(**SECRETS))


@pytest.mark.parametrize(
    "change",
    [{"api_key": "hunter2"}, {"port": "hunter2"}, {"media_store": "hunter2"}, {"public_url": "hunter2"}],
    ids=lambda change: next(iter(change)),
)
def test_a_refusal_does_not_repeat_what_was_given(change: dict[str, object]) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings().but(**(SECRETS | change))
    with pytest.raises(ValidationError) as direct:
        Settings(**(SECRETS | change))
    assert "hunter2" not in str(refused.value) + repr(refused.value.fields) + str(direct.value)
    assert refused.value.__suppress_context__  # what pydantic raised has the values


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "BRIDGE_PORT must be a whole number"),
        ("PORT", "70000", "BRIDGE_PORT must be a number from 0 to 65535"),
        ("AUTH", "maybe", "BRIDGE_AUTH must be on or off"),
        ("SESSIONS_PER_HOST", "0", "BRIDGE_SESSIONS_PER_HOST must be a number from 1 to 200"),
        ("ENGINE_IDLE_S", "0.1", "BRIDGE_ENGINE_IDLE_S must be seconds from 1 to 3600"),
        ("SEND_TIMEOUT_S", "never", "BRIDGE_SEND_TIMEOUT_S must be a number"),
        ("LOG_LEVEL", "loud", "BRIDGE_LOG_LEVEL must be debug, info, warning or error"),
        ("LOG_FORMAT", "xml", "BRIDGE_LOG_FORMAT must be auto, json or console"),
        ("WEBHOOK_ALLOW", "nonsense", "BRIDGE_WEBHOOK_ALLOW must be host:port or a network"),
        ("WEBHOOK_ALLOW", "10.0.0.0/8,host:http", "BRIDGE_WEBHOOK_ALLOW must be host:port or a network"),
        ("WEBHOOK_ALLOW", "10.0.0.0/8,0.0.0.0/0", "BRIDGE_WEBHOOK_ALLOW must be narrower than 0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0", "BRIDGE_TRUSTED_PROXIES must be narrower than ::/0"),
        ("TRUSTED_PROXIES", "proxy", "BRIDGE_TRUSTED_PROXIES must be networks"),
        ("DATABASE_URL", "postgresql://bridge@db.example.com/bridge", "BRIDGE_DATABASE_URL must be given with a pass"),
        ("RATE_PER_S", "-1", "BRIDGE_RATE_PER_S must be calls per second"),
        ("SHUTDOWN_S", "nan", "BRIDGE_SHUTDOWN_S must be a number"),
        ("SHUTDOWN_S", "-1", "BRIDGE_SHUTDOWN_S must be seconds up to 600"),
        ("MEDIA_ALLOW", "0.0.0.0/0", "BRIDGE_MEDIA_ALLOW must be narrower than 0.0.0.0/0"),
        ("MEDIA_S3_ACCESS_KEY", "name", "BRIDGE_MEDIA_S3_SECRET_KEY must be given along with"),
        ("AUDIT", "some", "BRIDGE_AUDIT must be changes, all or off"),
        ("AUDIT_DAYS", "0", "BRIDGE_AUDIT_DAYS must be days from 1 to 3650"),
        ("METRICS", "public", "BRIDGE_METRICS must be key, open or off"),
        ("API_KEY", "wab_" + "0" * 48 + "1", "its checksum is wrong"),
        ("API_KEY", "short", "BRIDGE_API_KEY must be at least 16 characters"),
    ],
)
def test_a_bad_value_is_refused_with_what_to_change(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        from_environment({f"BRIDGE_{name}": value})


def test_a_sandbox_takes_two_settings() -> None:
    url, switch = {"BRIDGE_SANDBOX_URL": "http://127.0.0.1:4450"}, {"BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP": "on"}
    assert from_environment(url | switch).sandbox_url == "http://127.0.0.1:4450"
    for alone in (url, switch):
        with pytest.raises(BadSetting, match="BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP must be"):
            from_environment(alone)


@pytest.mark.parametrize(
    "reachable", [{"BRIDGE_SANDBOX_URL": "http://sandbox:4450"}, {"BRIDGE_HOST": "0.0.0.0"}], ids=["sandbox", "bridge"]
)
def test_a_sandbox_that_others_can_reach_takes_a_third(reachable: dict[str, str]) -> None:
    local = {"BRIDGE_SANDBOX_URL": "http://localhost:4450", "BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP": "on"}
    assert from_environment(local)
    with pytest.raises(BadSetting, match="BRIDGE_SANDBOX_REMOTE must be on"):
        from_environment(local | reachable)
    assert from_environment(local | reachable | {"BRIDGE_SANDBOX_REMOTE": "on"})


@pytest.mark.parametrize("url", ["https://127.0.0.1:4450", "127.0.0.1:4450", "http://"])
def test_a_sandbox_has_an_http_url(url: str) -> None:
    with pytest.raises(BadSetting, match="BRIDGE_SANDBOX_URL must be"):
        from_environment({"BRIDGE_SANDBOX_URL": url, "BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP": "on"})


def test_what_would_open_the_bridge_to_everybody_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"BRIDGE_AUTH must be on when BRIDGE_HOST"):
        from_environment({"BRIDGE_AUTH": "off", "BRIDGE_HOST": "0.0.0.0"})
    for host in ("127.0.0.1", "::1", "localhost"):
        assert from_environment({"BRIDGE_AUTH": "off", "BRIDGE_HOST": host}).auth is False


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bridge@localhost/bridge",
        "postgresql://bridge:secret@db.example.com/bridge",
        "postgresql:///bridge?host=/run/postgresql",
        "postgresql://bridge@db.example.com/bridge?passfile=/run/secrets/pgpass",
        "host=db.example.com user=bridge",
    ],
)
def test_a_database_that_asks_for_something_or_is_here_is_taken(url: str) -> None:
    assert from_environment({"BRIDGE_DATABASE_URL": url}).database_url == url
