"""The command line: `bridge up` runs everything on one machine, `bridge serve` the bridge alone, for containers.

The other commands talk to one that runs. Heavy imports happen inside the commands, so that `--help` and a mistyped
flag answer at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.commands import arguments as asking
from bridge.errors import BridgeError
from bridge.sandbox import cli as sandbox

if TYPE_CHECKING:
    from bridge.config import Settings

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
LOCAL = frozenset({"up", "serve", "backup", "restore", "check"})
"""The commands that work with the settings of this machine; the others ask a bridge that runs."""


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command has its own flags."""
    root = argparse.ArgumentParser(prog="bridge", description="One HTTP API in front of many WhatsApp numbers.")
    commands = root.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="run bridge, receiver and an embedded PostgreSQL in one go")
    _common(up)
    up.add_argument("--sandbox", action="store_true", help="talk to a local WhatsApp of our own: no phone, no network")
    up.add_argument("--receiver-port", type=int, default=5555, metavar="N", help="default 5555; 0 takes a free one")
    up.add_argument("--sandbox-port", type=int, default=4450, metavar="N", help="default 4450; 0 takes a free one")

    serve = commands.add_parser("serve", help="run the bridge alone, configured by BRIDGE_* variables")
    _common(serve)
    for name, text in (
        ("backup", "write the databases, sessions and files into one encrypted file; - is stdout"),
        ("restore", "put such a file into empty databases; - is stdin"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("--data-dir", type=Path, metavar="D", help="of the bridge (default: data)")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(host=None, port=None)
    command.add_argument("--without-receiver", action="store_true", help="leave the receiver's events out")
    text = "look at everything that a bridge needs: settings, database, disk, clock, WhatsApp"
    check = commands.add_parser("check", help=text, description=text)
    check.add_argument("--data-dir", type=Path, metavar="D", help="of the bridge (default: data)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(host=None, port=None)
    sandbox.register(commands)
    asking.add(commands)
    return root


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON line when ready, nothing else on stdout")
    command.add_argument("--data-dir", type=Path, metavar="D", help="journal, embedded database, logs (default: data)")
    command.add_argument("--host", metavar="H", help="address to listen on (default 127.0.0.1)")
    command.add_argument("--parent-pipe", action="store_true", help="end when stdin ends: for a program that starts it")
    command.add_argument("--port", type=int, metavar="N", help="the API's port, default 4444; 0 takes a free one")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 after an orderly stop, 1 when it failed, 2 for a wrong flag or setting."""
    given = parser().parse_args(arguments)
    if given.command == "sandbox":
        return sandbox.main(given)
    if given.command not in LOCAL:
        return asking.run(given)
    from bridge.config import BadSetting, from_environment  # noqa: PLC0415

    try:
        settings = from_environment(host=given.host, port=given.port, data_dir=given.data_dir)
    except BadSetting as error:
        print(f"bridge: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return _run(given, settings)
    except BaseExceptionGroup as group:
        failed, rest = group.split(BridgeError)
        if failed is None or rest is not None:
            raise
        leaves = _leaves(failed)
    except BridgeError as failure:
        leaves = [failure]
    for leaf in leaves:
        print(f"bridge: {leaf}", file=sys.stderr)
    return EXIT_USAGE if all(isinstance(leaf, BadSetting) for leaf in leaves) else EXIT_FAILED


def _run(given: argparse.Namespace, settings: "Settings") -> int:
    from bridge import logs  # noqa: PLC0415

    logs.configure(level=settings.log_level, style=settings.log_format)
    if given.command == "check":
        from bridge.check import check  # noqa: PLC0415

        return check(given, settings)
    if given.command in {"backup", "restore"}:
        from bridge.backup import command  # noqa: PLC0415

        return command.backup(given, settings) if given.command == "backup" else command.restore(given, settings)
    if given.command == "serve":
        from bridge.serve import serve  # noqa: PLC0415

        return serve(settings, as_json=given.json, parent_pipe=given.parent_pipe)
    from bridge.up import Ports, up  # noqa: PLC0415

    ports = Ports(receiver=given.receiver_port, sandbox=given.sandbox_port if given.sandbox else None)
    return up(settings, ports, as_json=given.json, parent_pipe=given.parent_pipe)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
