"""`bridge up`: everything on one machine in one go: PostgreSQL, bridge, receiver, and on request a local WhatsApp.

The database, the receiver and the sandbox are child processes, started before the bridge and stopped after it. Each is
supervised: one that ends by itself is started again where it was, so that nobody else has to notice; one that does not
come up for long is tried again every now and then, and the bridge waits for it. Keys and secrets of this installation
are files in the data directory that only its owner can read.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import trio

from bridge.app import App, Running
from bridge.companion import Companion
from bridge.config import Settings
from bridge.engine.wire import SandboxTrust
from bridge.keyform import make_key
from bridge.process import announce, freeze_what_lasts, run_until_signalled
from bridge.sandbox_trust import show_codes, trust_of
from bridge.store import embedded
from bridge.webhooks import sign
from supervisor import INFINITY, ChildSpec, Intensity, Parking, Supervisor
from supervisor.errors import StartFailed

INTENSITY = Intensity(max_restarts=10, period_s=60)
PARKING = Parking(retry_after_s=30)
"""For what ends more often than that: a full disk, for instance, is not helped by trying faster."""

POSTGRES_START_S = 90.0
"""More than its own deadline, whose message says why."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the programs beside the bridge listen; 0 takes a free port, no sandbox when it is None."""

    receiver: int = 5555
    sandbox: int | None = None


def up(settings: Settings, ports: Ports, *, as_json: bool, parent_pipe: bool = False) -> int:
    """Run until SIGTERM, Ctrl-C or, with `parent_pipe`, the end of stdin; return the exit status."""
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    return run_until_signalled(partial(_up, settings, ports, as_json), parent_pipe=parent_pipe)


async def _up(settings: Settings, ports: Ports, as_json: bool, stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        database_stop = trio.Event()
        urls = await _databases(nursery, settings, database_stop)
        await _beside(settings, ports, urls, as_json, stop)
        database_stop.set()  # the last: the receiver still records what its handlers have done


async def _beside(settings: Settings, ports: Ports, urls: tuple[str, str], as_json: bool, stop: trio.Event) -> None:
    """Run the bridge and the programs beside it until `stop`; `urls` are the bridge's and the receiver's database."""
    (bridge_url, receiver_url), after = urls, trio.Event()
    async with trio.open_nursery() as nursery:
        key = settings.api_key or _kept(settings.data_dir / "api-key", make_key)
        secret = _kept(settings.data_dir / "receiver-secret", lambda: sign.show(sign.new_secret()))
        receiver = Companion(
            "receiver",
            [],
            environment=_environment(RECEIVER_DATABASE_URL=receiver_url, RECEIVER_SECRET=secret),
            ports={"--port": ports.receiver},
        )
        specs = [ChildSpec("receiver", receiver.run, inspect=receiver.inspect)]
        sandbox = None
        if ports.sandbox is not None:
            sandbox = Companion(
                "bridge.sandbox",
                ["--data-dir", str(settings.data_dir / "sandbox")],
                environment=_environment(),
                ports={"--port": ports.sandbox},
            )
            specs.append(ChildSpec("sandbox", sandbox.run, inspect=sandbox.inspect))
        companions = Supervisor("companions", specs, intensity=INTENSITY, parking=PARKING)
        await _start(nursery, companions, after)
        for companion, url in ((receiver, "url"), (sandbox, "control")):
            if companion is not None:
                companion.remember("--port", urlsplit(companion.ready[url]).port or 0)
        host = urlsplit(receiver.ready["url"])
        app = App(
            settings.but(
                api_key=key,
                webhook_url=f"{receiver.ready['url']}/webhook",
                webhook_secret=secret,
                webhook_allow=(*settings.webhook_allow, f"{host.hostname}:{host.port}"),
            ),
            bridge_url,
            sandbox=_trust(sandbox) or await trust_of(settings),
        )
        running: Running = await nursery.start(partial(app.run, stop=stop))
        control = sandbox.ready["control"] if sandbox else settings.sandbox_url
        if control:
            nursery.start_soon(show_codes, app.directory.qr_codes, control, app.stopped)
        freeze_what_lasts()
        announce(
            {
                "api": running.url,
                "receiver": receiver.ready["url"],
                "sandbox": control or None,
                "api_key": key,
            },
            as_json=as_json,
        )
        await app.stopped.wait()
        after.set()


async def _databases(nursery: trio.Nursery, settings: Settings, stop: trio.Event) -> tuple[str, str]:
    """Return the URLs of the bridge's and the receiver's database."""
    if settings.database_url:
        return settings.database_url, settings.database_url
    postgres = _Postgres(settings.data_dir / "postgres")
    spec = ChildSpec("postgres", postgres.run, shutdown_s=INFINITY, start_timeout_s=POSTGRES_START_S)
    await _start(nursery, Supervisor("database", [spec], intensity=INTENSITY, parking=PARKING), stop)
    running = postgres.running
    assert running is not None
    return running.dsn, await trio.to_thread.run_sync(running.database, embedded.RECEIVER_DATABASE)


async def _start(nursery: trio.Nursery, supervisor: Supervisor, stop: trio.Event) -> None:
    """Start a supervisor; what keeps a child from its first start is raised as it is, for a person to read."""
    try:
        await nursery.start(partial(supervisor.run, stop=stop))
    except StartFailed as failure:
        raise (failure.__cause__ or failure) from None


class _Postgres:
    """The embedded PostgreSQL as a child that is started again on the port that it had."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.running: embedded.Embedded | None = None
        self._status: trio.TaskStatus[embedded.Embedded] = trio.TASK_STATUS_IGNORED

    async def run(  # noqa: ASYNC128 -- `started` below calls it
        self, *, stop: trio.Event, task_status: trio.TaskStatus[embedded.Embedded] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until `stop`; raise `EmbeddedError` when it ends by itself."""
        port = 0 if self.running is None else self.running.port
        self._status = task_status
        noting = cast("trio.TaskStatus[embedded.Embedded]", self)
        await embedded.run(self._state_dir, stop=stop, port=port, task_status=noting)

    def started(self, value: embedded.Embedded) -> None:
        """Note where it is before whoever waits for it hears of it."""
        self.running = value
        self._status.started(value)


def _trust(sandbox: Companion | None) -> SandboxTrust | None:
    if sandbox is None:
        return None
    return SandboxTrust(sandbox.ready["proxy"], sandbox.ready["root_key"], sandbox.ready["ca_file"])


def _environment(**secrets_: str) -> Mapping[str, str]:
    """Return what a companion gets of our environment: none of the bridge's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")} | secrets_


def _kept(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in `path`, made at first start."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        value = make()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            file.write(value + "\n")
        return value
