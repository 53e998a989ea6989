"""What the receiver is told at its start, from the command line first and the environment second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from receiver import handlers
from receiver.errors import ConfigError
from receiver.handlers import Handler
from receiver.verify import Secret, parse_secrets

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5555
DEFAULT_PATHS = ("/", "/webhook")
DEFAULT_HANDLER_TIMEOUT_S = 30.0
MAX_HANDLER_TIMEOUT_S = 3600
DEFAULT_RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 36500
MIN_KEY_CHARS = 16
MIN_META_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one receiver. `port` 0 takes a free one; `paths` take webhooks; `retention_days` 0 keeps all."""

    database_url: str = field(repr=False)
    secrets: tuple[Secret, ...] = field(repr=False)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    paths: tuple[str, ...] = DEFAULT_PATHS
    meta_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    api_key: str | None = field(default=None, repr=False)
    handlers: tuple[Handler, ...] = ()
    handler_timeout_s: float = DEFAULT_HANDLER_TIMEOUT_S
    retention_days: int = DEFAULT_RETENTION_DAYS


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
    RECEIVER_SECRET_FILE, RECEIVER_HOST, RECEIVER_PORT, RECEIVER_PATHS (separated by commas); from there alone
    RECEIVER_META_SECRET, RECEIVER_API_KEY (both also as a file by appending _FILE), RECEIVER_HANDLERS,
    RECEIVER_HANDLER_TIMEOUT_S and RECEIVER_RETENTION_DAYS.
    """
    url = database_url or env.get("RECEIVER_DATABASE_URL", "")
    if not url:
        raise ConfigError("no database: give --database-url or RECEIVER_DATABASE_URL")
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("the database's URL is not well-formed") from None
    keys = parse_secrets(secrets or _secrets_of(env))
    meta_secrets = tuple(part.encode() for part in _text_of(env, "RECEIVER_META_SECRET").split())
    if not keys and not meta_secrets:
        raise ConfigError("no secret: give --secret, RECEIVER_SECRET or RECEIVER_SECRET_FILE")
    if any(len(secret) < MIN_META_SECRET_BYTES for secret in meta_secrets):
        raise ConfigError(f"RECEIVER_META_SECRET has {MIN_META_SECRET_BYTES} characters at least")
    accepted = tuple(paths) or tuple(filter(None, env.get("RECEIVER_PATHS", "").split(","))) or DEFAULT_PATHS
    if any(not path.startswith("/") for path in accepted):
        raise ConfigError("a path begins with /")
    return Config(
        database_url=url,
        secrets=keys,
        host=host or env.get("RECEIVER_HOST") or DEFAULT_HOST,
        port=_port(env.get("RECEIVER_PORT", str(DEFAULT_PORT)) if port is None else str(port)),
        paths=accepted,
        meta_secrets=meta_secrets,
        api_key=_api_key(env),
        handlers=handlers.find(env.get("RECEIVER_HANDLERS", "")),
        handler_timeout_s=_seconds(env.get("RECEIVER_HANDLER_TIMEOUT_S") or str(DEFAULT_HANDLER_TIMEOUT_S)),
        retention_days=_days(env.get("RECEIVER_RETENTION_DAYS") or str(DEFAULT_RETENTION_DAYS)),
    )


def _api_key(env: Mapping[str, str]) -> str | None:
    key = _text_of(env, "RECEIVER_API_KEY").strip()
    if not key:
        return None
    if len(key) < MIN_KEY_CHARS or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"RECEIVER_API_KEY has {MIN_KEY_CHARS} characters at least, ASCII without spaces")
    return key


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_HANDLER_TIMEOUT_S:
        raise ConfigError(f"RECEIVER_HANDLER_TIMEOUT_S is a number of seconds up to {MAX_HANDLER_TIMEOUT_S}")
    return seconds


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_RETENTION_DAYS):
        raise ConfigError(
            f"RECEIVER_RETENTION_DAYS is a whole number up to {MAX_RETENTION_DAYS}; 0 keeps events for ever"
        )
    return int(text)


def _secrets_of(env: Mapping[str, str]) -> list[str]:
    return [env.get("RECEIVER_SECRET", ""), _file_of(env, "RECEIVER_SECRET")]


def _text_of(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "") or _file_of(env, name)


def _file_of(env: Mapping[str, str], name: str) -> str:
    """Return what is in the file that `name` with _FILE appended names, or nothing."""
    path = env.get(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE cannot be read: {type(error).__name__}") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ConfigError("a port is a number from 0 to 65535")
    return int(text)
