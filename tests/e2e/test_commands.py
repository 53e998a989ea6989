"""Every command that asks a running bridge, as a program runs it: JSON on stdout, an exit status, nothing else.

Against the whole product. The commands that are not here are in `ELSEWHERE`; a test shows that none is missing.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from bridge.cli import parser
from tests.support.stack import REPOSITORY, Stack, running_stack

pytestmark = pytest.mark.engine

NUMBER, CONTACT = "4915100000001", "4915100000002"
ELSEWHERE = {
    "up": "tests/e2e/test_up.py",
    "serve": "tests/integration/test_serve_command.py",
    "check": "tests/integration/test_check.py",
    "backup": "tests/e2e/test_restore.py",
    "restore": "tests/e2e/test_restore.py",
    "sandbox": "tests/integration/test_sandbox_cli.py",
}
"""Where the other commands are run."""


def leaves(found: argparse.ArgumentParser, *names: str) -> Iterator[str]:
    """Yield the names of all commands, `group action`."""
    groups = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups or names == ("sandbox",):
        yield " ".join(names)
    for group in groups:
        if names != ("sandbox",):
            for name, inner in group.choices.items():
                yield from leaves(inner, *names, name)


@dataclass
class Shell:
    """Runs commands with the key of a stack, and remembers which."""

    stack: Stack
    ran: set[str] = field(default_factory=set)

    async def run(self, *words: str, status: int = 0, lines: bool = False) -> Any:
        """Run a command with `--json`; return what it printed, decoded: one value, or with `lines` one a line."""
        self.ran.add(next(name for name in sorted(LEAVES, key=len, reverse=True) if " ".join(words).startswith(name)))
        environment = {"BRIDGE_URL": self.stack.ready["api"], "BRIDGE_API_KEY": self.stack.ready["api_key"]}
        with trio.fail_after(60):
            done = await trio.run_process(
                [sys.executable, "-m", "bridge", *words, "--json"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=REPOSITORY,
                env={**os.environ, **environment},
            )
        assert done.returncode == status, (words, done.stderr)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        if lines:
            return told
        (value,) = told
        return value


LEAVES = set(leaves(parser()))


async def pair(shell: Shell) -> str:
    """Pair a new instance by the command, its code read from what it prints; return the instance's key."""
    stack = shell.stack
    shown = stack.sandbox

    async def scan() -> None:
        while not (codes := [one.qr for one in await shown.codes() if one.qr]):  # noqa: ASYNC110  # by another process
            await trio.sleep(0.05)
        await shown.scan(NUMBER, codes[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scan)
        told = await shell.run("pair", "--name", "Front desk", "--timeout", "60", lines=True)
    assert [told[0]["event"], told[-1]["event"]] == ["created", "paired"]
    assert "qr" in {line["event"] for line in told}
    return str(told[-1]["instance_key"])


async def test_each_command_does_what_it_says(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data", BRIDGE_WEBHOOK_ALLOW="127.0.0.0/8") as stack:
        for number, name in ((NUMBER, "Front desk"), (CONTACT, "Ann")):
            await stack.sandbox.create_phone(number, name)
        shell = Shell(stack)
        key = await pair(shell)
        await on_instances(shell, key)
        await on_messages(shell, key)
        await on_webhooks(shell, key)
        await on_keys(shell)
        gone = await shell.run("instances", "delete", key, "--yes")
        assert gone["status"] == "deleted"
        missing = await shell.run("instances", "show", key, status=5)
        assert missing["code"] == "unknown_instance"
    assert {name for name in LEAVES if name not in ELSEWHERE} == shell.ran
    for name, file in ELSEWHERE.items():
        assert f'"{name}"' in (REPOSITORY / file).read_text() or name == "sandbox", name


async def on_instances(shell: Shell, key: str) -> None:
    assert (await shell.run("instances", "show", key))["state"] == "online"
    assert [one["instance_key"] for one in await shell.run("instances", "list", "--state", "online")] == [key]
    made = await shell.run("instances", "create", "--name", "Spare", "--metadata", '{"team": "a"}')
    assert made["api_key"].startswith("wab_")
    assert (await shell.run("instances", "disconnect", key))["state"] == "paused"
    assert (await shell.run("instances", "connect", key))["status"] == "already_logged_in"
    await shell.stack.until_online(key)
    assert (await shell.run("instances", "restart", key))["status"] == "restarting"
    await shell.stack.until_online(key)


async def on_messages(shell: Shell, key: str) -> None:
    sent = await shell.run("send", CONTACT, "Your table is ready", "--instance", key)
    assert sent["status"] == "sent"
    events = await shell.run("events", "--instance", key, "--type", "message.status", lines=True)
    assert sent["message_id"] in {event["data"]["message_id"] for event in events}
    refused = await shell.run("send", "123", "too short", "--instance", key, status=1)
    assert refused["error"]


async def on_webhooks(shell: Shell, key: str) -> None:
    made = await shell.run("webhooks", "create", f"{shell.stack.ready['receiver']}/nowhere", "--instance", key)
    id_ = made["id"]
    assert made["secret"].startswith("whsec_")
    assert id_ in [hook["id"] for hook in await shell.run("webhooks", "list", "--instance", key)]
    assert (await shell.run("webhooks", "pause", id_))["state"] == "paused"
    assert (await shell.run("webhooks", "resume", id_))["state"] == "active"
    assert (await shell.run("webhooks", "rotate-secret", id_))["secret"] != made["secret"]
    assert (await shell.run("webhooks", "test", id_, status=1))["delivered"] is False  # nobody is there
    assert (await shell.run("webhooks", "show", id_))["id"] == id_
    await shell.stack.sandbox.send(CONTACT, NUMBER, "into the void")
    (hook,) = [one for one in await shell.run("webhooks", "list", "--instance", key) if one["id"] != id_]
    again = await shell.run("webhooks", "replay", hook["id"], "--from", "2020-01-01T00:00:00Z")
    assert again["state"] == "done" and again["delivered"] == again["count"] > 0
    assert (await shell.run("webhooks", "replay", hook["id"], status=2))["error"]
    assert (await shell.run("webhooks", "delete", id_))["status"] == "deleted"


async def on_keys(shell: Shell) -> None:
    made = await shell.run("keys", "create", "--name", "crm", "--role", "viewer")
    assert made["secret"].startswith("wab_")
    assert made["key_id"] in [one["key_id"] for one in await shell.run("keys", "list")]
    assert (await shell.run("keys", "revoke", made["key_id"]))["status"] == "revoked"
    trail = await shell.run("audit", "--limit", "1")
    assert (trail[0]["action"], trail[0]["target"]) == ("DELETE /keys/{key_id}", made["key_id"])
