"""The settings of a bridge, read once from the environment; the command line overrides some of them.

What is written here under each setting is its row in docs/operations.md, see ops/settings.py.
"""

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.errors import BridgeError
from bridge.keyform import is_mistyped


class BadSetting(BridgeError):
    """A setting can't be used:"""

    code = "bad_setting"


@dataclass(frozen=True, slots=True)
class Must:
    """What a value has to be; `wanted` ends the sentence that refuses another one."""

    wanted: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: object) -> object:
        if not self.holds(value):
            raise PydanticCustomError("refused", "{wanted}", {"wanted": self.wanted})
        return value


KINDS: Mapping[object, str] = {bool: "on or off", int: "a whole number", float: "a number"}
"""What a value has to be of which nothing else is said."""


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


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _all(holds: Callable[[str], bool]) -> Callable[[tuple[str, ...]], bool]:
    return lambda entries: all(map(holds, entries))


def between(least: float, most: float, unit: str, *, or_zero: bool = False) -> Must:
    """Return the check of a number in `unit`."""
    zero = ", or 0" if or_zero else ""
    return Must(f"{unit} from {least} to {most}{zero}", lambda n: (or_zero and n == 0) or least <= n <= most)


def one_of(*words: str) -> Must:
    """Return the check of a word."""
    return Must(f"{', '.join(words[:-1])} or {words[-1]}", words.__contains__)


Secret = Annotated[str, Field(repr=False)]
"""Not shown when settings are; an address may contain a password as well."""
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Separated by commas."""
Reachable = Annotated[
    Names, Must("host:port or a network such as 10.0.0.0/8, separated by commas", _all(_is_reachable_form))
]


class Settings(BaseSettings):
    """What an operator can choose. Each field is the environment variable `BRIDGE_` + its name in capitals."""

    ENVIRONMENT: ClassVar[str] = "BRIDGE_"

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    database_url: Secret = ""
    """PostgreSQL. Empty: an embedded one in the data directory, with `bridge up` only."""
    data_dir: Path = Path("data")
    """Journal, embedded database, logs of the engine, see above. Must survive a restart."""
    host: str = "127.0.0.1"
    """Address to listen on; in a container `0.0.0.0`."""
    port: Annotated[int, between(0, 65535, "a number")] = 4444
    """0 takes a free one."""
    auth: bool = True
    """`off` serves every call without a key: for a trusted network only."""
    api_key: Annotated[Secret, Must("at least 16 characters", lambda key: not key or len(key) >= 16)] = ""
    """A key given from outside. Empty: one is made at the first start and shown once."""
    rate_per_s: Annotated[
        float, Must("calls per second, up to 100000, or 0 for no limit", lambda rate: 0 <= rate <= 100_000)
    ] = 500.0
    """Calls that one API key may make per second, with twice as many at once. A key may have a rate of its own."""
    trusted_proxies: Annotated[Names, Must("networks such as 10.0.0.0/8, separated by commas", _all(_is_network))] = ()
    """Proxies in front, whose `X-Forwarded-For` tells where a call comes from."""
    audit: Annotated[str, one_of("changes", "all", "off")] = "changes"
    """What the audit trail keeps: changes, all (sends and reads too), or nothing."""
    audit_days: Annotated[float, between(1, 3650, "days")] = 90.0
    """How long it keeps it."""
    event_days: Annotated[float, between(1, 3650, "days", or_zero=True)] = 60.0
    """How long events are kept for pulling and replays, with deliveries that are over; 0: for ever. What is still to
    be delivered is kept anyway."""
    message_days: Annotated[float, between(1, 3650, "days", or_zero=True)] = 0.0
    """How long messages are kept, by WhatsApp's clock; 0: for ever."""
    metrics: Annotated[str, one_of("key", "open", "off")] = "key"
    """Who may ask for `/metrics`: a key (a viewer's at least), everybody who can connect, or nobody."""
    webhook_url: Secret = ""
    """Where the events of all instances go; more endpoints can be given per instance. Ignored by `bridge up`."""
    webhook_secret: Secret = ""
    """`whsec_` and base64 of 24 to 64 bytes. Empty: made at the first start. Ignored by `bridge up`."""
    webhook_allow: Reachable = ()
    """Private addresses that webhooks may reach all the same."""
    main_key: Secret = ""
    """32 bytes in base64 or hexadecimal that encrypt stored secrets. Empty: made once, in the data directory."""
    old_main_keys: Annotated[Names, Field(repr=False)] = ()
    """Earlier main keys, separated by commas: what they encrypted is encrypted anew at the next start, see
    [security.md](security.md#where-secrets-are)."""
    sessions_per_host: Annotated[int, between(1, 200, "a number")] = 25
    """WhatsApp sessions that share one engine process; 1 isolates them fully."""
    engine_idle_s: Annotated[float, between(1, 3600, "seconds")] = 45.0
    """An idle session gives its database connections back after this time."""
    history: bool = False
    """Whether the messages that a phone hands over when it is paired become events, `history.batch`."""
    send_timeout_s: Annotated[float, between(1, 120, "seconds")] = 20.0
    """How long a send waits for WhatsApp's acknowledgement before its outcome is called unknown."""
    pacing_profile: Annotated[str, one_of("off", "steady", "warm_up")] = "off"
    """How sends of instances are paced that have chosen nothing, see [below](#not-getting-banned)."""
    self_check_s: Annotated[float, between(1, 86_400, "seconds", or_zero=True)] = 300.0
    """After so long a silence WhatsApp is asked whether it still hears an instance; 0: never."""
    public_url: Annotated[str, Must("an http URL", lambda url: not url or url.startswith(("http://", "https://")))] = ""
    """Where others reach this bridge, for links to files in events; port 0 in it: the one that it listens on. Empty:
    http, its host and its port."""
    media_store: Annotated[str, Must("s3://bucket/prefix", lambda url: not url or url.startswith("s3://"))] = ""
    """Where files are kept. Empty: the folder `media` in the data directory."""
    media_s3_endpoint: str = ""
    """Of an S3-compatible store that is not Amazon's: `https://host:port`."""
    media_s3_region: str = "us-east-1"
    """Region of the bucket."""
    media_s3_access_key: Secret = ""
    """Name of the key to the bucket."""
    media_s3_secret_key: Secret = ""
    """The key itself."""
    media_max_bytes: Annotated[int, between(1, 2_147_483_647, "a number")] = 134_217_728
    """The largest file that is taken in, from callers or from WhatsApp."""
    media_days: Annotated[float, between(0.01, 36_500, "days")] = 30.0
    """How long files are kept, and links to them work."""
    media_fetch_s: Annotated[float, between(1, 600, "seconds")] = 60.0
    """How long fetching a file from a caller's URL may take in all."""
    media_allow: Reachable = ()
    """Private addresses that files may be fetched from all the same."""
    media_open: bool = False
    """`on` serves files to anybody who knows their address, as the original does."""
    shutdown_s: Annotated[float, Must("seconds up to 600", lambda seconds: 0 < seconds <= 600)] = 12.0
    """How long an orderly stop may take in all."""
    sandbox_url: str = ""
    """The control API of a sandbox that is used in the place of WhatsApp, [for tests](sandbox.md#a-bridge-elsewhere).
    Takes the next one as well."""
    sandbox_instead_of_whatsapp: bool = False
    """Says that the sandbox is meant: without both, nothing reaches one. Never in production."""
    sandbox_remote: bool = False
    """Allows a sandbox, or a bridge that uses one, on an address that others can reach."""
    log_format: Annotated[str, one_of("auto", "json", "console")] = "auto"
    """`auto`: console at a terminal."""
    log_level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    """The least important lines that are written."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if contradictions := list(_contradictions(self)):
            raise _refusal(contradictions)
        return self

    def but(self, **changes: object) -> "Settings":
        """Return these settings with `changes`; raise `BadSetting`."""
        return _checked(dict(self) | changes)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Have `Settings()` be the defaults wherever it runs; `from_environment` reads what is set."""
        return (init_settings,)


class Variables(PydanticBaseSettingsSource):
    """Reads `BRIDGE_NAME`, or the file that `BRIDGE_NAME_FILE` names; what is empty counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str, str, bool]:
        """Return the text of one setting, empty where there is none; raise `BadSetting` for a file without use."""
        variable = Settings.ENVIRONMENT + field_name.upper()
        text, file = self._environment.get(variable, ""), self._environment.get(f"{variable}_FILE")
        if not text and file:
            try:
                text = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise BadSetting(f"{variable}_FILE can't be read: {reason}.", setting=field_name) from None
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the texts that are given, by field."""
        given = (self.get_field_value(field, name) for name, field in Settings.model_fields.items())
        return {name: text for text, name, _ in given if text}


def from_environment(environment: Mapping[str, str] = os.environ, **overrides: object) -> Settings:
    """Return the settings; raise `BadSetting` with a sentence per setting that says what to change.

    `overrides` come from the command line; those that are None are ignored. A secret may also be given as a file:
    `BRIDGE_API_KEY_FILE` names one that holds the value.
    """
    return _checked(Variables(environment)() | {name: value for name, value in overrides.items() if value is not None})


def _checked(values: Mapping[str, Any]) -> Settings:
    """Build the settings; no value is in what is raised, for it may be a secret."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _refusal([_refused(one["loc"][0], one.get("ctx", {})) for one in error.errors()]) from None


def _refused(name: int | str, context: Mapping[str, Any]) -> tuple[str, str]:
    field = Settings.model_fields[str(name)]
    return str(name), context.get("wanted") or KINDS[field.annotation]


def _refusal(refused: list[tuple[str, str]]) -> BadSetting:
    """Return the error for `refused`, names with what they must be."""
    sentences = (f"{Settings.ENVIRONMENT}{name.upper()} must be {wanted}." for name, wanted in refused)
    return BadSetting(" ".join(sentences), setting=refused[0][0])


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what would open the bridge, or its data, to everybody by one careless line, and what makes no sense."""
    if is_mistyped(settings.api_key):
        yield "api_key", "typed without mistake: its checksum is wrong"
    if not settings.auth and not _is_loopback(settings.host):
        yield (
            "auth",
            "on when BRIDGE_HOST is an address that others can reach; without keys listen on 127.0.0.1",
        )
    for name in ("webhook_allow", "media_allow", "trusted_proxies"):
        entries: tuple[str, ...] = getattr(settings, name)
        wide = [entry for entry in entries if _is_network(entry) and ipaddress.ip_network(entry).prefixlen == 0]
        if wide:
            yield name, f"narrower than {', '.join(wide)}, which is every address there is"
    if not _has_password(settings.database_url):
        yield (
            "database_url",
            "given with a password, as in postgresql://user:password@host/name, unless PostgreSQL is on this machine",
        )
    if bool(settings.media_s3_access_key) != bool(settings.media_s3_secret_key):
        yield "media_s3_secret_key", "given along with BRIDGE_MEDIA_S3_ACCESS_KEY, both or neither"
    yield from _sandbox_contradictions(settings)


def _sandbox_contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """A sandbox takes server authentication away, so it must not be switched on by one forgotten variable."""
    switch = "sandbox_instead_of_whatsapp"
    if not settings.sandbox_url:
        if settings.sandbox_instead_of_whatsapp:
            yield switch, "off without a sandbox's URL"
        return
    if not settings.sandbox_instead_of_whatsapp:
        yield switch, "on as well for a sandbox to be used"
    url = urlsplit(settings.sandbox_url)
    if url.scheme != "http" or not url.hostname:
        yield "sandbox_url", "http://host:port of a sandbox"
    elif not settings.sandbox_remote and not all(_is_loopback(host) for host in (url.hostname, settings.host)):
        yield "sandbox_remote", "on for a sandbox, or a bridge that uses one, on an address that others can reach"


def _has_password(url: str) -> bool:
    """Say whether a server elsewhere asks for something; other forms than a URL are libpq's to judge."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or _is_loopback(parts.hostname):
        return True
    return bool(parts.password) or any(word in parts.query for word in ("password=", "passfile=", "sslcert="))


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_network(host) and ipaddress.ip_network(host).is_loopback)
