"""What the receiver is told at its start, from the command line first and the environment second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from receiver import handlers
from receiver.errors import ConfigError
from receiver.handlers import Handler
from receiver.settings import (
    MAX_HANDLER_TIMEOUT_S,
    MAX_RETENTION_DAYS,
    MIN_KEY_CHARS,
    MIN_META_SECRET_BYTES,
    PREFIX,
    SETTINGS,
)
from receiver.verify import Secret, parse_secrets


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one receiver. `port` 0 takes a free one; `paths` take webhooks; `retention_days` 0 keeps all."""

    database_url: str = field(repr=False)
    secrets: tuple[Secret, ...] = field(repr=False)
    host: str
    port: int
    paths: tuple[str, ...]
    meta_secrets: tuple[bytes, ...] = field(repr=False)
    api_key: str | None = field(repr=False)
    handlers: tuple[Handler, ...]
    handler_timeout_s: float
    retention_days: int


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

    What the arguments leave open is read from the environment, as `SETTINGS` says.
    """
    url = database_url or _text(env, "DATABASE_URL")
    if not url:
        raise ConfigError("no database: give --database-url or RECEIVER_DATABASE_URL")
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("the database's URL is not well-formed") from None
    keys = parse_secrets(secrets or [env.get("RECEIVER_SECRET", ""), _file_of(env, "SECRET")])
    meta_secrets = tuple(part.encode() for part in _text(env, "META_SECRET").split())
    if not keys and not meta_secrets:
        raise ConfigError("no secret: give --secret, RECEIVER_SECRET or RECEIVER_SECRET_FILE")
    if any(len(secret) < MIN_META_SECRET_BYTES for secret in meta_secrets):
        raise _wrong("META_SECRET")
    accepted = tuple(paths) or tuple(filter(None, _text(env, "PATHS").split(",")))
    if any(not path.startswith("/") for path in accepted):
        raise _wrong("PATHS")
    return Config(
        database_url=url,
        secrets=keys,
        host=host or _text(env, "HOST"),
        port=_port(_text(env, "PORT") if port is None else str(port)),
        paths=accepted,
        meta_secrets=meta_secrets,
        api_key=_api_key(_text(env, "API_KEY").strip()),
        handlers=handlers.find(_text(env, "HANDLERS")),
        handler_timeout_s=_seconds(_text(env, "HANDLER_TIMEOUT_S")),
        retention_days=_days(_text(env, "RETENTION_DAYS")),
    )


def _text(env: Mapping[str, str], name: str) -> str:
    """Return a setting as it is given, or its default."""
    setting = SETTINGS[name]
    return env.get(PREFIX + name, "") or (_file_of(env, name) if setting.file else "") or setting.default


def _wrong(name: str) -> ConfigError:
    return ConfigError(f"{PREFIX}{name} must be {SETTINGS[name].must}".replace("`", ""))


def _api_key(key: str) -> str | None:
    if not key:
        return None
    if len(key) < MIN_KEY_CHARS or not (key.isascii() and key.isprintable()) or " " in key:
        raise _wrong("API_KEY")
    return key


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_HANDLER_TIMEOUT_S:
        raise _wrong("HANDLER_TIMEOUT_S")
    return seconds


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_RETENTION_DAYS):
        raise _wrong("RETENTION_DAYS")
    return int(text)


def _file_of(env: Mapping[str, str], name: str) -> str:
    """Return what is in the file that `name` with _FILE appended names, or nothing."""
    path = env.get(f"{PREFIX}{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{PREFIX}{name}_FILE cannot be read: {type(error).__name__}") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise _wrong("PORT")
    return int(text)
