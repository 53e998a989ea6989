"""`bridge check`: looks at everything that a bridge needs, changes nothing, and says what to do about what is wrong."""

import argparse
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from bridge.commands.output import show_json, show_rows
from bridge.config import Settings
from bridge.engine.host.preflight import way_out
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
ENCODERS = ("libopus", "libx264", "aac")

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


def examine(settings: Settings, *, dial: Dial | None = None, connect: Dial | None = None) -> Iterator[Finding]:
    """Yield what is found, one check after the other; a wrong setting was refused before."""
    yield _settings(os.environ)
    yield from _database(settings)
    yield _disk(settings.data_dir)
    yield _data_dir(settings.data_dir)
    yield _main_key(settings)
    yield Finding("engine", OK, f"neonize {metadata.version('neonize')}")
    yield _media(ENCODERS)
    yield _proxy(os.environ, connect or _connect)
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
    if free < DISK_WARN_BYTES:
        return Finding("disk", WARN, f"{text}; make room soon, or keep files for less than BRIDGE_MEDIA_DAYS")
    return Finding("disk", OK, text)


def _data_dir(data_dir: Path) -> Finding:
    """Tell whether this user may write where the journal and the keys are."""
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return Finding("data folder", FAIL, f"{folder} is no folder; give another one by BRIDGE_DATA_DIR or --data-dir")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("data folder", FAIL, f"this user may not write to {folder}; chown it, or run as its owner")
    return Finding("data folder", OK, str(data_dir) if folder == data_dir.absolute() else f"{data_dir} will be made")


def _media(encoders: Sequence[str]) -> Finding:
    """Tell whether voice notes and videos can be converted: PyAV carries FFmpeg's libraries, no ffmpeg is called."""
    try:
        import av.codec  # noqa: PLC0415

        missing = [name for name in encoders if name not in av.codec.codecs_available]
    except ImportError as error:
        return Finding("media", FAIL, f"PyAV can't be loaded ({error}); install the locked packages again")
    if missing:
        return Finding("media", FAIL, f"PyAV lacks {', '.join(missing)}; install its wheel, not a build of your own")
    return Finding("media", OK, "PyAV has what voice notes and videos need; no ffmpeg is called")


def _proxy(environment: Mapping[str, str], connect: Dial) -> Finding:
    """Tell of a proxy in the environment, which WhatsApp's sessions go through and webhooks do not."""
    proxy = way_out(environment)
    name = "HTTPS_PROXY" if environment.get("HTTPS_PROXY") else "https_proxy"
    if proxy is None:
        return Finding("proxy", OK, "none is set: WhatsApp is called directly")
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = "", 0
    if not host:
        return Finding("proxy", FAIL, f"{name} is no URL such as http://proxy.example:3128; correct it or unset it")
    try:
        connect(host, port)
    except OSError as error:
        return Finding(
            "proxy", FAIL, f"{host}:{port}, which {name} names, is not reached ({error}); correct or unset it"
        )
    return Finding("proxy", OK, f"WhatsApp is called through {host}:{port}; webhooks are not")


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
    if way_out(os.environ) is not None:
        return Finding("whatsapp", OK, "it is called through the proxy, and was not looked for here")
    try:
        dial(WHATSAPP, 443)
    except OSError as error:
        return Finding("whatsapp", FAIL, f"{WHATSAPP}:443 is not reached ({error}); check DNS, firewall and proxy")
    return Finding("whatsapp", OK, f"{WHATSAPP}:443 is reached, its certificate is good")


def _connect(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=CONNECT_S).close()


def _dial(host: str, port: int) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=CONNECT_S) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass
