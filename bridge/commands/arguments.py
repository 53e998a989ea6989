"""The flags of the commands that talk to a running bridge, and where each of them is carried out.

Nothing here is imported beyond the standard library, so that `--help` and a mistyped flag answer at once.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from bridge.commands.client import DEFAULT_URL, Client, CommandFailed
from bridge.commands.output import show_json

EXIT_INTERRUPTED = 130


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    _instances(commands)
    _pair(commands)
    _send(commands)
    _events(commands)
    _webhooks(commands)
    _keys(commands)


def run(given: argparse.Namespace) -> int:
    """Carry out a command of this module; return its exit status."""
    module, _, name = given.run.partition(":")
    try:
        function = getattr(importlib.import_module(f"bridge.commands.{module}"), name)
        return int(function(given, _client(given)) or 0)
    except CommandFailed as failure:
        if given.json:
            show_json(failure.problem)
        print(f"bridge: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _client(given: argparse.Namespace) -> Client:
    key = os.environ.get("BRIDGE_API_KEY", "")
    file = os.environ.get("BRIDGE_API_KEY_FILE")
    if not key and file:
        try:
            key = Path(file).read_text().strip()
        except OSError as error:
            raise CommandFailed(f"BRIDGE_API_KEY_FILE can't be read: {error.strerror}.", 2) from None
    return Client(given.url or os.environ.get("BRIDGE_URL") or DEFAULT_URL, key)


def _leaf(commands: Any, name: str, run: str, help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--url", metavar="U", help=f"where the bridge is (default: BRIDGE_URL, or {DEFAULT_URL})")
    command.set_defaults(run=run)
    return command


def _group(commands: Any, name: str, help: str) -> Any:
    group = commands.add_parser(name, help=help, description=help)
    return group.add_subparsers(dest="action", required=True, metavar="ACTION")


def _instances(commands: Any) -> None:
    group = _group(commands, "instances", "list, create, connect, restart, delete WhatsApp instances")
    listed = _leaf(group, "list", "instances:list_", "list instances with their state")
    listed.add_argument("--state", metavar="S", help="only those in this state")
    listed.add_argument("--external-id", metavar="ID", help="only those with this id of yours")
    created = _leaf(group, "create", "instances:create", "create an instance; shows its own key once")
    created.add_argument("--name", metavar="NAME")
    created.add_argument("--external-id", metavar="ID", help="an id of yours")
    created.add_argument("--metadata", metavar="JSON", help="a JSON object that comes back in every webhook")
    created.add_argument("--webhook", metavar="URL", help="where its events go")
    for name, help in (
        ("show", "show an instance"),
        ("connect", "connect an instance, or begin to pair it"),
        ("disconnect", "disconnect an instance; it stays paired"),
        ("restart", "end an instance's actor and start it again"),
        ("delete", "log an instance out and delete its session"),
    ):
        command = _leaf(group, name, f"instances:{name}", help)
        command.add_argument("key", metavar="KEY", help="the instance's key")
        if name == "connect":
            command.add_argument("--wait", type=float, default=10, metavar="S", help="for a QR code, 0 to 30 s (10)")
        if name == "delete":
            command.add_argument("--yes", action="store_true", help="yes, for good")


def _pair(commands: Any) -> None:
    pair = _leaf(commands, "pair", "pair:pair", "show an instance's QR code until a phone has scanned it")
    pair.add_argument("key", nargs="?", metavar="KEY", help="the instance's key; without one an instance is created")
    pair.add_argument("--name", metavar="NAME", help="name of the instance that is created")
    pair.add_argument("--phone", metavar="N", help="show a code to type into this phone, instead of a QR code")
    pair.add_argument("--timeout", type=float, default=180, metavar="S", help="how long to wait, 180 s")


def _send(commands: Any) -> None:
    send = _leaf(commands, "send", "send:send", "send a text")
    send.add_argument("to", metavar="TO", help="phone number with country code, or a JID")
    send.add_argument("text", metavar="TEXT", help="the text; - reads it from stdin")
    send.add_argument("--instance", metavar="KEY", help="the sender; a key that belongs to one instance implies it")
    send.add_argument("--queue", action="store_true", help="do not wait for WhatsApp")
    send.add_argument("--idempotency-key", metavar="K", help="what makes a repetition send nothing twice")


def _events(commands: Any) -> None:
    events = _leaf(commands, "events", "events:events", "show what happened; with --follow what happens")
    events.add_argument("--follow", action="store_true", help="go on with what comes, from now on unless --after")
    events.add_argument("--after", metavar="C", help="a cursor: what comes behind it (default: from the first one on)")
    events.add_argument("--instance", metavar="KEY", help="only of this instance")
    events.add_argument("--type", action="append", metavar="T", help="only this type; may be repeated")
    events.add_argument("--limit", type=int, metavar="N", help="stop after so many")


def _webhooks(commands: Any) -> None:
    group = _group(commands, "webhooks", "list, create, test, pause, delete webhook endpoints")
    listed = _leaf(group, "list", "webhooks:list_", "list endpoints, with what waits for each")
    listed.add_argument("--instance", metavar="KEY", help="those that get its events")
    created = _leaf(group, "create", "webhooks:create", "make an endpoint; shows its secret once")
    created.add_argument("endpoint", metavar="URL")
    created.add_argument("--instance", metavar="KEY", help="whose events; * is all instances")
    created.add_argument("--event", action="append", metavar="TYPE", help="only this type; may be repeated")
    created.add_argument("--ordering", choices=("chat", "instance", "none"), help="default chat")
    for name, run, help in (
        ("show", "show", "show an endpoint"),
        ("test", "act", "post a test event to an endpoint now"),
        ("pause", "act", "hold what an endpoint is to get"),
        ("resume", "act", "deliver to an endpoint again"),
        ("rotate-secret", "act", "give an endpoint a new secret; shows it once"),
        ("delete", "delete", "remove an endpoint, with what waits for it"),
    ):
        command = _leaf(group, name, f"webhooks:{run}", help)
        command.add_argument("id", metavar="ID", help="whk_...")
    _replay(group)


def _replay(group: Any) -> None:
    replay = _leaf(
        group, "replay", "webhooks:replay", "deliver again what an endpoint has missed, and tell how far it is"
    )
    replay.add_argument("id", metavar="ID", help="whk_...")
    what = replay.add_mutually_exclusive_group()
    what.add_argument("--dead", action="store_true", help="all that was given up")
    what.add_argument("--event", metavar="ID", help="one event, evt_...")
    what.add_argument("--from", dest="from_time", metavar="T", help="all from then on, such as 2026-01-01T00:00:00Z")
    replay.add_argument("--to", dest="to_time", metavar="T", help="with --from: until then (default: until now)")


def _keys(commands: Any) -> None:
    group = _group(commands, "keys", "list, create, revoke API keys")
    _leaf(group, "list", "keys:list_", "list keys; never the keys themselves")
    created = _leaf(group, "create", "keys:create", "make a key; stdout has it, this once")
    created.add_argument("--name", required=True, metavar="NAME", help="what it is for")
    created.add_argument("--role", required=True, choices=("admin", "operator", "sender", "viewer"))
    created.add_argument("--instance", action="append", metavar="KEY", help="only this instance; may be repeated")
    created.add_argument(
        "--ip", action="append", metavar="NET", help="only from this address or network; may be repeated"
    )
    created.add_argument("--expires-at", metavar="T", help="until then, such as 2099-01-01T00:00:00Z")
    created.add_argument("--rate", type=float, metavar="N", help="calls per second")
    revoked = _leaf(group, "revoke", "keys:revoke", "revoke a key")
    revoked.add_argument("key_id", metavar="ID", help="key_...")
    audit = _leaf(commands, "audit", "keys:audit", "show who did what, newest first")
    audit.add_argument("--instance", metavar="KEY", help="to this instance")
    audit.add_argument("--key", metavar="ID", help="with this key")
    audit.add_argument("--limit", type=int, default=50, metavar="N", help="how many (50)")
