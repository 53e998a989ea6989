"""Where the receiver's settings come from."""

import base64
from pathlib import Path

import pytest

from receiver.config import build
from receiver.errors import ConfigError
from receiver.settings import PREFIX, SETTINGS

ONE, TWO = (base64.b64encode(letter * 24).decode() for letter in (b"1", b"2"))
LEAST = {"RECEIVER_DATABASE_URL": "postgresql://db/receiver", "RECEIVER_SECRET": f"whsec_{ONE}"}


def test_the_environment_is_enough() -> None:
    found = build(LEAST)
    assert (found.host, found.port, found.paths) == ("127.0.0.1", 5555, ("/", "/webhook"))
    assert found.secrets == (b"1" * 24,)


def test_events_are_kept_for_30_days_unless_said_otherwise() -> None:
    assert [build(LEAST | {"RECEIVER_RETENTION_DAYS": days}).retention_days for days in ("", "0", "7")] == [30, 0, 7]


def test_the_command_line_comes_first() -> None:
    found = build(LEAST, database_url="dbname=other", secrets=[TWO], host="::", port=0, paths=["/in"])
    assert (found.database_url, found.secrets) == ("dbname=other", (b"2" * 24,))
    assert (found.host, found.port, found.paths) == ("::", 0, ("/in",))


def test_a_file_may_bring_further_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(f"whsec_{TWO}\nwhsec_{ONE}\n")
    assert build(LEAST | {"RECEIVER_SECRET_FILE": str(tmp_path / "secrets")}).secrets == (b"1" * 24, b"2" * 24)


def test_neither_password_nor_secret_is_in_its_representation() -> None:
    shown = repr(build(LEAST | {"RECEIVER_DATABASE_URL": "postgresql://user:hidden@db/receiver"}))
    assert "hidden" not in shown
    assert "1111" not in shown


class Watched(dict[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def test_what_is_documented_is_read_and_nothing_else_is() -> None:
    env = Watched(LEAST)
    build(env)
    documented = {PREFIX + name for name in SETTINGS}
    assert env.asked == documented | {f"{PREFIX}{name}_FILE" for name, setting in SETTINGS.items() if setting.file}


def test_compose_hands_on_every_setting_and_its_example_explains_it() -> None:
    root = Path(__file__).parents[2]
    compose, example = (root / "docker-compose.yml").read_text(), (root / ".env.example").read_text()
    image = (root / "ops" / "docker" / "receiver.Dockerfile").read_text()
    fixed = {"DATABASE_URL", "SECRET"}  # made of the secrets in .env
    inside = {"HOST", "PORT"}  # of the container: the image says where it listens, RECEIVER_PUBLISH where it is reached
    assert f"{PREFIX}HOST=" in image
    for name in SETTINGS:
        assert name in inside or f"{PREFIX}{name}: " in compose, name
        assert name in fixed | inside or f"{PREFIX}{name}=" in example, name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"RECEIVER_DATABASE_URL": ""}, "no database"),
        ({"RECEIVER_DATABASE_URL": "postgresql://user:hidden@[db/x"}, "not well-formed$"),
        ({"RECEIVER_SECRET": " "}, "no secret"),
        ({"RECEIVER_SECRET_FILE": "/nowhere/at/all"}, "cannot be read"),
        ({"RECEIVER_PORT": "65536"}, "RECEIVER_PORT must be a number from 0 to 65535"),
        ({"RECEIVER_PORT": "-1"}, "RECEIVER_PORT"),
        ({"RECEIVER_PATHS": "webhook"}, "RECEIVER_PATHS"),
        ({"RECEIVER_RETENTION_DAYS": "-1"}, "RECEIVER_RETENTION_DAYS"),
        ({"RECEIVER_RETENTION_DAYS": "36501"}, "RECEIVER_RETENTION_DAYS"),
        ({"RECEIVER_RETENTION_DAYS": "1.5"}, "RECEIVER_RETENTION_DAYS"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(change: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(LEAST | change)
