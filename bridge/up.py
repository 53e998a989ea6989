"""`bridge up`: everything on one machine in one go: PostgreSQL, bridge, receiver, and on request a local WhatsApp.

The database, the receiver and the sandbox are child processes, started before the bridge and stopped after it. Receiver
and sandbox have a supervisor of their own; when the database ends by itself, all of this ends. Keys and secrets of this
installation are files in the data directory that only its owner can read.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from bridge.app import App, Running
from bridge.companion import Companion
from bridge.config import Settings
from bridge.engine.wire import SandboxTrust
from bridge.keyform import make_key
from bridge.process import announce, run_until_signalled
from bridge.store import embedded
from bridge.webhooks import sign
from supervisor import ChildSpec, Intensity, Strategy, Supervisor

RECEIVER_DATABASE = "receiver"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the programs beside the bridge listen; 0 takes a free port, no sandbox when it is None."""

    receiver: int = 5555
    sandbox: int | None = None


def up(settings: Settings, ports: Ports, *, as_json: bool) -> int:
    """Run until SIGTERM or Ctrl-C; return the exit status."""
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    return run_until_signalled(partial(_up, settings, ports, as_json))


async def _up(settings: Settings, ports: Ports, as_json: bool, stop: trio.Event) -> None:
    after = trio.Event()
    async with trio.open_nursery() as nursery:
        bridge_url, receiver_url = await _databases(nursery, settings, after)
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
        companions = Supervisor("companions", specs, strategy=Strategy.ONE_FOR_ONE, intensity=Intensity(10, 60))
        await nursery.start(partial(companions.run, stop=after))
        for companion, url in ((receiver, "url"), (sandbox, "control")):
            if companion is not None:
                companion.remember("--port", urlsplit(companion.ready[url]).port or 0)
        host = urlsplit(receiver.ready["url"])
        app = App(
            replace(
                settings,
                api_key=key,
                webhook_url=f"{receiver.ready['url']}/webhook",
                webhook_secret=secret,
                webhook_allow=(*settings.webhook_allow, f"{host.hostname}:{host.port}"),
            ),
            bridge_url,
            sandbox=_trust(sandbox),
        )
        running: Running = await nursery.start(partial(app.run, stop=stop))
        announce(
            {
                "api": running.url,
                "receiver": receiver.ready["url"],
                "sandbox": sandbox.ready["control"] if sandbox else None,
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
    postgres: embedded.Embedded = await nursery.start(partial(embedded.run, settings.data_dir / "postgres", stop=stop))
    return postgres.dsn, await trio.to_thread.run_sync(postgres.database, RECEIVER_DATABASE)


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
