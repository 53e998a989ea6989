"""The database URL as the engine's driver (lib/pq) needs it, made from either form that libpq takes."""

import shlex
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMA = "whatsapp"
APPLICATION = "whatsapp-bridge-engine"
CONNECT_TIMEOUT_S = 10
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class EngineUrl:
    """`text` for the engine, and what of it must not be seen."""

    text: str
    secrets: tuple[str, ...]


def engine_url(database_url: str, *, idle_session_timeout_ms: int) -> EngineUrl:
    """Return a `postgres://` URL: the engine takes anything else for the name of an SQLite file.

    lib/pq demands TLS when nothing is said, where psycopg prefers it: without an `sslmode` a database on this machine
    is spoken to in the clear and any other must offer TLS. A session that idles for `idle_session_timeout_ms` loses its
    connection, since the engine keeps two per session open and never closes them. With `binary_parameters` lib/pq asks
    for a query's result in the message that prepares it, instead of waiting for the server in between; its price, bytes
    that must mean the same in PostgreSQL's binary form, costs nothing here: whatsmeow stores bytes in bytea alone.
    """
    parts = _parts(database_url)
    host = parts.get("host", "localhost")
    in_reach = host in _LOCAL or host.startswith("/")
    sslmode = parts.get("sslmode", "prefer")
    if sslmode in ("prefer", "allow"):
        sslmode = "disable" if in_reach else "require"
    query = {
        "sslmode": sslmode,
        "search_path": SCHEMA,
        "application_name": APPLICATION,
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "idle_session_timeout": str(idle_session_timeout_ms),
        "binary_parameters": "yes",
    }
    query |= {key: parts[key] for key in ("sslrootcert", "sslcert", "sslkey") if key in parts}
    password = parts.get("password", "")
    login = quote(parts.get("user", "postgres"), safe="")
    if password:
        login += ":" + quote(password, safe="")
    if host.startswith("/"):
        query["host"], address = host, ""
    else:
        address = f"[{host}]" if ":" in host else host
    port = parts.get("port", "5432")
    text = f"postgres://{login}@{address}:{port}/{quote(parts.get('dbname', 'postgres'), safe='')}?{urlencode(query)}"
    return EngineUrl(text, tuple(filter(None, (text, password, quote(password, safe="")))))


def _parts(text: str) -> dict[str, str]:
    """Return libpq's parameters from `postgresql://...` or from `host=... user=...`."""
    if "://" not in text:
        return dict(pair.partition("=")[::2] for pair in shlex.split(text))
    url = urlsplit(text)
    parts = {
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "host": unquote(url.hostname or ""),
        "port": str(url.port or ""),
        "dbname": unquote(url.path.removeprefix("/")),
        **dict(parse_qsl(url.query)),
    }
    return {name: value for name, value in parts.items() if value}
