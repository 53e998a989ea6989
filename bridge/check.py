"""`bridge check`: looks at everything that a bridge needs, changes nothing, and says what to do about what is wrong."""

import argparse
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from bridge.commands.output import show_json, show_rows
from bridge.config import Settings
from bridge.errors import BridgeError
from bridge.store import embedded
from bridge.store.inspect import Found, look

OK, WARN, FAIL = "ok", "warn", "fail"
OLDEST_SERVER = 140_000
CONNECTIONS = 100
SKEW_S = 2.0
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 1024**3, 256 * 1024**2
BESIDE = frozenset({"BRIDGE_URL", "BRIDGE_BACKUP_PASSPHRASE"})
"""Variables that the command line reads itself."""
WHATSAPP = "web.whatsapp.com"
CONNECT_S = 5.0

Dial = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `detail` says what was found, and if it is not ok what to do."""

    check: str
    status: str
    detail: str


def check(given: argparse.Namespace, settings: Settings) -> int:
    """Print what is found; return 1 when something fails."""
    findings = list(examine(settings))
    if given.json:
        show_json({"ok": all(one.status != FAIL for one in findings), "checks": [asdict(one) for one in findings]})
    else:
        show_rows([asdict(one) for one in findings], ("check", "status", "detail"))
    return int(any(one.status == FAIL for one in findings))


def examine(settings: Settings, *, dial: Dial | None = None) -> Iterator[Finding]:
    """Yield what is found, one check after the other; a wrong setting was refused before."""
    yield _settings(os.environ)
    yield from _database(settings)
    yield _disk(settings.data_dir)
    yield _main_key(settings)
    yield Finding("engine", OK, f"neonize {metadata.version('neonize')}; media is converted by PyAV, without ffmpeg")
    yield _whatsapp(settings, dial or _dial)


def _settings(environment: Mapping[str, str]) -> Finding:
    """Tell of variables that look like settings and are none: a mistyped name is otherwise ignored without a word."""
    known = {Settings.ENVIRONMENT + name.upper() for name in Settings.model_fields} | BESIDE
    unknown = sorted(
        name
        for name in environment
        if name.startswith(Settings.ENVIRONMENT) and name.removesuffix("_FILE") not in known
    )
    if unknown:
        return Finding("settings", WARN, f"{', '.join(unknown)}: no setting is called that; see docs/operations.md")
    return Finding("settings", OK, "they are valid, and contradict neither each other nor what is safe")


def _database(settings: Settings) -> Iterator[Finding]:
    dsn = settings.database_url
    if not dsn:
        try:
            dsn = embedded.running_dsn(settings.data_dir / "postgres")
        except (BridgeError, OSError):
            yield Finding("database", OK, "embedded; it does not run now, and starts with `bridge up`")
            return
    try:
        found = look(dsn)
    except BridgeError as error:
        yield Finding("database", FAIL, f"{error} Check BRIDGE_DATABASE_URL, and that PostgreSQL runs.")
        return
    yield from judge(found)


def judge(found: Found) -> Iterator[Finding]:
    """Yield what there is to say of a database that answers."""
    version = f"PostgreSQL {found.server_version // 10_000}, {found.max_connections} connections"
    if found.server_version < OLDEST_SERVER:
        yield Finding("database", FAIL, f"{version}; take 14 or newer")
    elif found.max_connections < CONNECTIONS:
        yield Finding("database", WARN, f"{version}; raise max_connections: a session takes up to 2")
    else:
        yield Finding("database", OK, version)
    names = ", ".join(found.pending)
    yield Finding("schema", OK, f"the next start applies {names}" if names else "at head")
    side = "ahead of" if found.clock_ahead_s > 0 else "behind"
    skew = f"PostgreSQL's clock is {abs(found.clock_ahead_s):.1f} s {side} ours"
    if abs(found.clock_ahead_s) > SKEW_S:
        yield Finding("clock", WARN, f"{skew}; let both machines keep time by NTP: retries and leases count on it")
    else:
        yield Finding("clock", OK, skew)


def _disk(data_dir: Path) -> Finding:
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free for {data_dir}"
    if free < DISK_FAIL_BYTES:
        return Finding("disk", FAIL, f"{text}; make room: a full disk stops PostgreSQL and the journal")
    return Finding("disk", WARN if free < DISK_WARN_BYTES else OK, text)


def _main_key(settings: Settings) -> Finding:
    if settings.main_key:
        return Finding("main key", OK, "from BRIDGE_MAIN_KEY; keep it elsewhere too, no backup has it")
    file = settings.data_dir / "main-key"
    if not file.exists():
        return Finding("main key", OK, f"it will be made at the first start, in {file}")
    if file.stat().st_mode & 0o077:
        return Finding("main key", WARN, f"others can read {file}; chmod 600 it")
    return Finding("main key", OK, f"in {file}")


def _whatsapp(settings: Settings, dial: Dial) -> Finding:
    if settings.sandbox_url:
        return Finding("whatsapp", WARN, f"a sandbox at {settings.sandbox_url} is used instead")
    try:
        dial(WHATSAPP, 443)
    except OSError as error:
        return Finding("whatsapp", FAIL, f"{WHATSAPP}:443 is not reached ({error}); check DNS, firewall and proxy")
    return Finding("whatsapp", OK, f"{WHATSAPP}:443 is reached, its certificate is good")


def _dial(host: str, port: int) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=CONNECT_S) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass
