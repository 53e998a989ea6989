"""What the receiver is told at its start, from the command line first and the environment second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from receiver.errors import ConfigError
from receiver.verify import Secret, parse_secrets

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5555
DEFAULT_PATHS = ("/", "/webhook")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one receiver. `port` 0 takes a free one; `paths` are those that take webhooks."""

    database_url: str = field(repr=False)
    secrets: tuple[Secret, ...] = field(repr=False)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    paths: tuple[str, ...] = DEFAULT_PATHS


def build(
    env: Mapping[str, str],
    *,
    database_url: str | None = None,
    secrets: Sequence[str] = (),
    host: str | None = None,
    port: int | None = None,
    paths: Sequence[str] = (),
) -> Config:
    """Return the settings; raise `ConfigError` where one is missing or wrong.

    Read from the environment where the argument is absent: RECEIVER_DATABASE_URL, RECEIVER_SECRET,
    RECEIVER_SECRET_FILE, RECEIVER_HOST, RECEIVER_PORT, RECEIVER_PATHS (separated by commas).
    """
    url = database_url or env.get("RECEIVER_DATABASE_URL", "")
    if not url:
        raise ConfigError("no database: give --database-url or RECEIVER_DATABASE_URL")
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("the database's URL is not well-formed") from None
    keys = parse_secrets(secrets or _secrets_of(env))
    if not keys:
        raise ConfigError("no secret: give --secret, RECEIVER_SECRET or RECEIVER_SECRET_FILE")
    accepted = tuple(paths) or tuple(filter(None, env.get("RECEIVER_PATHS", "").split(","))) or DEFAULT_PATHS
    if any(not path.startswith("/") for path in accepted):
        raise ConfigError("a path begins with /")
    return Config(
        database_url=url,
        secrets=keys,
        host=host or env.get("RECEIVER_HOST") or DEFAULT_HOST,
        port=_port(env.get("RECEIVER_PORT", str(DEFAULT_PORT)) if port is None else str(port)),
        paths=accepted,
    )


def _secrets_of(env: Mapping[str, str]) -> list[str]:
    texts = [env.get("RECEIVER_SECRET", "")]
    if path := env.get("RECEIVER_SECRET_FILE"):
        try:
            texts.append(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"RECEIVER_SECRET_FILE cannot be read: {type(error).__name__}") from None
    return texts


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ConfigError("a port is a number from 0 to 65535")
    return int(text)
