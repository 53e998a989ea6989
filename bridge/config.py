"""The settings of a bridge, read once from the environment; the command line overrides some of them."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from bridge.errors import BridgeError
from bridge.keyform import is_mistyped


class BadSetting(BridgeError):
    """A setting can't be used:"""

    code = "bad_setting"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can choose. Each field is the environment variable `BRIDGE_` + its name in capitals."""

    ENVIRONMENT: ClassVar[str] = "BRIDGE_"

    database_url: str = ""
    """PostgreSQL; empty: an embedded one in the data directory."""
    data_dir: Path = Path("data")
    """Journal, embedded database, logs of the engine. Must survive a restart."""
    host: str = "127.0.0.1"
    port: int = 4444
    """0 takes a free one."""
    auth: bool = True
    """Off serves every call without a key: for a trusted network only."""
    api_key: str = ""
    """A key given from outside; empty: one is made at first start and shown once."""
    rate_per_s: float = 500.0
    """Calls that one API key may make per second, with twice as many at once; 0: no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies in front, whose X-Forwarded-For tells where a call comes from, separated by commas."""
    audit: str = "changes"
    """What the audit trail keeps: changes, all (sends and reads too), or off."""
    audit_days: float = 90.0
    """How long it keeps it."""
    event_days: float = 60.0
    """How long events are kept for pulling and replays; 0: for ever. What is to be delivered is kept anyway."""
    message_days: float = 0.0
    """How long messages are kept; 0: for ever."""
    metrics: str = "key"
    """/metrics: key (a viewer's at least), open to everybody who can connect, or off."""
    webhook_url: str = ""
    """Where the events of all instances go; more endpoints can be given per instance."""
    webhook_secret: str = ""
    """`whsec_` and base64 of 24 to 64 bytes; empty: made at first start."""
    webhook_allow: tuple[str, ...] = ()
    """Private addresses that webhooks may reach all the same: `host:port` or a network, separated by commas."""
    main_key: str = ""
    """32 bytes in base64 or hexadecimal that encrypt stored secrets; empty: made once, in the data directory."""
    old_main_keys: tuple[str, ...] = ()
    """Earlier main keys, separated by commas: what they encrypted is encrypted anew at the next start."""
    sessions_per_host: int = 25
    """How many WhatsApp sessions share one engine process; 1 isolates them fully."""
    engine_idle_s: float = 45.0
    """An idle session gives its database connections back after this time."""
    history: bool = False
    """Whether the messages that a phone hands over when it is paired become events, `history.batch`."""
    send_timeout_s: float = 20.0
    """How long a send waits for WhatsApp's acknowledgement before its outcome is called unknown."""
    self_check_s: float = 300.0
    """After so long a silence WhatsApp is asked whether it still hears an instance; 0: never."""
    public_url: str = ""
    """Where others reach this bridge, for links in events; empty: http, its host and its port."""
    media_store: str = ""
    """`s3://bucket/prefix`; empty: the folder `media` in the data directory."""
    media_s3_endpoint: str = ""
    """Of an S3-compatible store that is not Amazon's: `https://host:port`."""
    media_s3_region: str = "us-east-1"
    media_s3_access_key: str = ""
    media_s3_secret_key: str = ""
    media_max_bytes: int = 134_217_728
    """The largest file that is taken in, from callers or from WhatsApp."""
    media_days: float = 30.0
    """How long files are kept, and links to them work."""
    media_fetch_s: float = 60.0
    """How long fetching a file from a caller's URL may take in all."""
    media_allow: tuple[str, ...] = ()
    """Private addresses that files may be fetched from all the same, as in `webhook_allow`."""
    media_open: bool = False
    """On serves files to anybody who knows their address, as the original does."""
    shutdown_s: float = 12.0
    """How long an orderly stop may take in all."""
    sandbox_url: str = ""
    """The control API of a sandbox that is used in the place of WhatsApp: for tests. Takes the next one as well."""
    sandbox_instead_of_whatsapp: bool = False
    """Says that `sandbox_url` is meant: without both, nothing reaches a sandbox."""
    sandbox_remote: bool = False
    """Allows a sandbox, or a bridge that uses one, on an address that others can reach."""
    log_format: str = "auto"
    """json, console, or auto: console at a terminal."""
    log_level: str = "info"

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "port", "a number from 0 to 65535")
        _require(1 <= self.sessions_per_host <= 200, "sessions_per_host", "a number from 1 to 200")
        _require(1 <= self.engine_idle_s <= 3600, "engine_idle_s", "seconds from 1 to 3600")
        _require(1 <= self.send_timeout_s <= 120, "send_timeout_s", "seconds from 1 to 120")
        _require(
            self.self_check_s == 0 or 1 <= self.self_check_s <= 86_400, "self_check_s", "seconds from 1 to 86400, or 0"
        )
        self._check_sandbox()
        self._check_safety()
        self._check_media()
        _require(self.log_format in ("auto", "json", "console"), "log_format", "auto, json or console")
        _require(self.log_level in ("debug", "info", "warning", "error"), "log_level", "debug, info, warning or error")
        _require(
            all(_is_reachable_form(entry) for entry in self.webhook_allow),
            "webhook_allow",
            "host:port or a network such as 10.0.0.0/8, separated by commas",
        )
        _require(0 <= self.rate_per_s <= 100_000, "rate_per_s", "calls per second, up to 100000, or 0 for no limit")
        _require(self.audit in ("changes", "all", "off"), "audit", "changes, all or off")
        _require(self.metrics in ("key", "open", "off"), "metrics", "key, open or off")
        _require(1 <= self.audit_days <= 3650, "audit_days", "days from 1 to 3650")
        for name in ("event_days", "message_days"):
            _require(getattr(self, name) == 0 or 1 <= getattr(self, name) <= 3650, name, "0 or days from 1 to 3650")
        _require(
            all(_is_network(entry) for entry in self.trusted_proxies),
            "trusted_proxies",
            "networks such as 10.0.0.0/8, separated by commas",
        )
        _require(not is_mistyped(self.api_key), "api_key", "typed without mistake: its checksum is wrong")
        _require(not self.api_key or len(self.api_key) >= 16, "api_key", "at least 16 characters")

    def _check_safety(self) -> None:
        """Refuse what would open the bridge, or its data, to everybody by one careless line."""
        _require(
            self.auth or _is_loopback(self.host),
            "auth",
            "on when BRIDGE_HOST is an address that others can reach; without keys listen on 127.0.0.1",
        )
        for name, entries in (("webhook_allow", self.webhook_allow), ("trusted_proxies", self.trusted_proxies)):
            wide = [entry for entry in entries if _is_network(entry) and ipaddress.ip_network(entry).prefixlen == 0]
            _require(not wide, name, f"narrower than {', '.join(wide)}, which is every address there is")
        _require(
            _has_password(self.database_url),
            "database_url",
            "given with a password, as in postgresql://user:password@host/name, unless PostgreSQL is on this machine",
        )

    def _check_media(self) -> None:
        _require(1 <= self.media_max_bytes <= 2_147_483_647, "media_max_bytes", "a number from 1 to 2147483647")
        _require(0.01 <= self.media_days <= 36_500, "media_days", "days from 0.01 to 36500")
        _require(1 <= self.media_fetch_s <= 600, "media_fetch_s", "seconds from 1 to 600")
        _require(self.media_store.startswith("s3://") or not self.media_store, "media_store", "s3://bucket/prefix")
        _require(
            not self.public_url or self.public_url.startswith(("http://", "https://")), "public_url", "an http URL"
        )
        _require(
            all(_is_reachable_form(entry) for entry in self.media_allow),
            "media_allow",
            "host:port or a network such as 10.0.0.0/8, separated by commas",
        )

    def _check_sandbox(self) -> None:
        """A sandbox takes server authentication away, so it must not be switched on by one forgotten variable."""
        switch = "sandbox_instead_of_whatsapp"
        _require(
            not self.sandbox_url or self.sandbox_instead_of_whatsapp, switch, "on as well for a sandbox to be used"
        )
        _require(not self.sandbox_instead_of_whatsapp or bool(self.sandbox_url), switch, "off without a sandbox's URL")
        if not self.sandbox_url:
            return
        url = urlsplit(self.sandbox_url)
        _require(url.scheme == "http" and bool(url.hostname), "sandbox_url", "http://host:port of a sandbox")
        hosts = (url.hostname or "", self.host)
        _require(
            self.sandbox_remote or all(_is_loopback(host) for host in hosts),
            "sandbox_remote",
            "on for a sandbox, or a bridge that uses one, on an address that others can reach",
        )


def _has_password(url: str) -> bool:
    """Say whether a server elsewhere asks for something; other forms than a URL are libpq's to judge."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or _is_loopback(parts.hostname):
        return True
    return bool(parts.password) or any(word in parts.query for word in ("password=", "passfile=", "sslcert="))


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_network(host) and ipaddress.ip_network(host).is_loopback)


def _is_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry)
    except ValueError:
        return False
    return True


def _is_reachable_form(entry: str) -> bool:
    if not _is_network(entry):
        host, _, port = entry.rpartition(":")
        return bool(host) and port.isdecimal() and 0 < int(port) <= 65535
    return True


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise BadSetting(f"{Settings.ENVIRONMENT}{name.upper()} must be {wanted}.", setting=name)


def _parse(name: str, kind: object, text: str) -> object:
    try:
        if kind is bool:
            return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[text.lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except (KeyError, ValueError):
        words = {bool: "on or off", int: "a whole number", float: "a number"}
        raise BadSetting(
            f"{Settings.ENVIRONMENT}{name.upper()} must be {words[kind]}.",  # type: ignore[index]
            setting=name,
        ) from None
    if kind is Path:
        return Path(text)
    if kind is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_environment(environment: Mapping[str, str] = os.environ, **overrides: object) -> Settings:
    """Return the settings; raise `BadSetting` with a sentence that says what to change.

    `overrides` come from the command line; those that are None are ignored. A secret may also be given as a file:
    `BRIDGE_API_KEY_FILE` names one that holds the value.
    """
    values: dict[str, object] = {}
    for field in fields(Settings):
        variable = Settings.ENVIRONMENT + field.name.upper()
        text = environment.get(variable)
        if text is None and f"{variable}_FILE" in environment:
            try:
                text = Path(environment[f"{variable}_FILE"]).read_text().strip()
            except OSError as error:
                raise BadSetting(f"{variable}_FILE can't be read: {error.strerror}.", setting=field.name) from None
        if text:
            values[field.name] = _parse(field.name, field.type, text)
    values |= {name: value for name, value in overrides.items() if value is not None}
    return Settings(**values)  # type: ignore[arg-type]
