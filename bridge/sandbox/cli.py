"""`bridge sandbox`: run a sandbox, and act on one that runs: its phones, their messages, faults, load.

Imports what a command needs inside it, so that the command line as a whole starts quickly.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.sandbox.client import SandboxClient

EXIT_OK, EXIT_FAILED = 0, 1
DEFAULT_URL: Final = "http://127.0.0.1:4450"
Commands = argparse._SubParsersAction  # argparse has no public name for what `add_subparsers` returns


def register(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `sandbox` and its own commands."""
    sandbox = commands.add_parser("sandbox", help="a local WhatsApp: run it, act as its phones, break it")
    add_run_flags(sandbox)
    inner = sandbox.add_subparsers(dest="action", metavar="run|phones|send|messages|fault|load")
    add_run_flags(inner.add_parser("run", help="run it, which is also what `bridge sandbox` alone does"), again=True)

    phones = inner.add_parser("phones", help="list the phones, or make one")
    phones.add_argument("--create", action="store_true", help="make a phone")
    phones.add_argument("--phone", metavar="P", help="its number; without it an unused one")
    phones.add_argument("--name", metavar="N", help="its owner's name")

    send = inner.add_parser("send", help="send a text from a phone")
    send.add_argument("sender", help="the phone's number")
    send.add_argument("to", help="a number, a LID or a group")
    send.add_argument("text")

    messages = inner.add_parser("messages", help="show what a phone has received")
    messages.add_argument("phone")
    messages.add_argument("--after", type=int, default=0, metavar="C", help="only what comes behind this cursor")
    messages.add_argument("--wait", type=int, default=0, metavar="S", help="wait so many seconds for the first one")

    fault = inner.add_parser("fault", help="break something: docs/sandbox.md lists the kinds")
    fault.add_argument("kind", help="cut, slow, login_refused, ...; `list` shows what is active, `end` ends all")
    fault.add_argument("--phone", metavar="P", help="of this phone's clients only")
    fault.add_argument("--seconds", type=float, metavar="S", help="for so long; 0 ends this kind")
    fault.add_argument("--count", type=int, metavar="N", help="so many times")
    fault.add_argument("--code", type=int, metavar="N")
    fault.add_argument("--delay-s", type=float, metavar="S")
    fault.add_argument("--xmlns", metavar="X", help="of the queries that stay unanswered")

    load = inner.add_parser("load", help="send from many contacts to many instances, and wait until all is out")
    load.add_argument("--instances", type=int, default=1, metavar="N", help="so many of those that are paired")
    load.add_argument("--contacts", type=int, default=10, metavar="N", help="from so many contacts")
    load.add_argument("--rate-per-s", type=float, metavar="R", help="without it as fast as it goes")
    load.add_argument("--count", type=int, default=1000, metavar="N", help="so many messages in all")
    load.add_argument("--kind", default="text", metavar="K", help="text, link, location, contact or mixed")
    load.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed sends the same messages")

    for command in (phones, send, messages, fault, load):
        command.add_argument("--url", default=DEFAULT_URL, metavar="U", help=f"its control API, default {DEFAULT_URL}")


def add_run_flags(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Add the flags for running; `again` where another parser has set the defaults before."""

    def default(value: object) -> Any:
        return argparse.SUPPRESS if again else value

    parser.add_argument("--data-dir", type=Path, default=default(Path("data/sandbox")), help="where its state is kept")
    parser.add_argument("--host", default=default("127.0.0.1"), help="address to listen on; there is no key")
    parser.add_argument("--port", type=int, default=default(4450), help="of the control API; 0 is a free one")
    parser.add_argument("--proxy-port", type=int, default=default(0), help="of the clients' proxy; 0: as last time")
    parser.add_argument("--parent-pipe", action="store_true", default=default(False), help="end when stdin ends")
    parser.add_argument(
        "--log-level", default=default("info"), choices=["debug", "info", "warning", "error"], help="default info"
    )
    parser.add_argument("--json", action="store_true", default=default(False), help="accepted: it always prints JSON")


def main(given: argparse.Namespace) -> int:
    """Run a command; return the exit status."""
    if given.action in (None, "run"):
        from bridge.sandbox.__main__ import run_until_told  # noqa: PLC0415

        return run_until_told(given)
    import httpx2  # noqa: PLC0415
    import trio  # noqa: PLC0415

    try:
        trio.run(_act, given)
    except httpx2.ConnectError:
        print(f"bridge: there is no sandbox at {given.url}; `bridge sandbox` runs one", file=sys.stderr)
        return EXIT_FAILED
    except BridgeError as error:
        print(f"bridge: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


async def _act(given: argparse.Namespace) -> None:
    from bridge.sandbox.client import SandboxClient  # noqa: PLC0415

    async with SandboxClient(given.url) as sandbox:
        for line in await ACTIONS[given.action](sandbox, given):
            print(json.dumps(line, ensure_ascii=False))


async def _phones(sandbox: "SandboxClient", given: argparse.Namespace) -> list[object]:
    if given.create or given.phone or given.name:
        return [_plain(await sandbox.create_phone(given.phone, given.name))]
    return [_plain(phone) for phone in await sandbox.phones()]


async def _send(sandbox: "SandboxClient", given: argparse.Namespace) -> list[object]:
    return [{"message_id": await sandbox.send(given.sender, given.to, given.text)}]


async def _messages(sandbox: "SandboxClient", given: argparse.Namespace) -> list[object]:
    return [_plain(text) for text in await sandbox.messages(given.phone, given.after, wait_s=given.wait)]


async def _fault(sandbox: "SandboxClient", given: argparse.Namespace) -> list[object]:
    if given.kind == "list":
        return [_plain(await sandbox.faults())]
    if given.kind == "end":
        return [{"ended": await sandbox.end_faults()}]
    values = {"count": given.count, "code": given.code, "delay_s": given.delay_s, "xmlns": given.xmlns}
    return [{"connections": await sandbox.fault(given.kind, given.phone, given.seconds, **values)}]


async def _load(sandbox: "SandboxClient", given: argparse.Namespace) -> list[object]:
    names = ("instances", "contacts", "rate_per_s", "count", "kind", "seed")
    return [_plain(await sandbox.load(**{name: getattr(given, name) for name in names}))]


def _plain(value: object) -> object:
    import msgspec  # noqa: PLC0415

    return msgspec.to_builtins(value)


ACTIONS: Final[Mapping[str, Callable[["SandboxClient", argparse.Namespace], Awaitable[list[object]]]]] = {
    "phones": _phones,
    "send": _send,
    "messages": _messages,
    "fault": _fault,
    "load": _load,
}
