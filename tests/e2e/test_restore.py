"""The drill: a bridge is backed up, lost, restored elsewhere; nobody scans a QR code again, and nothing is missing."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from bridge.engine.journal import JournalLocked, read_left
from tests.support.stack import REPOSITORY, Stack, running, running_stack, until

PHONE, CONTACT = "4915100000001", "4915100000002"
PASSPHRASE = "correct horse battery"

pytestmark = pytest.mark.engine


async def bridge(*arguments: str) -> str:
    """Run a command and return what it printed."""
    done = await trio.run_process(
        [sys.executable, "-m", "bridge", *arguments],
        env={"PATH": "/usr/bin:/bin", "BRIDGE_BACKUP_PASSPHRASE": PASSPHRASE},
        cwd=REPOSITORY,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode()


def lose(old: Path, new: Path) -> None:
    """Keep nothing but the sandbox: WhatsApp itself is not what is lost."""
    new.mkdir(mode=0o711)
    shutil.copytree(old / "sandbox", new / "sandbox")
    shutil.rmtree(old)


async def moved(old: Path, new: Path, file: Path) -> None:
    lose(old, new)
    await bridge("restore", str(file), "--data-dir", str(new), "--json")


async def test_a_restored_bridge_is_online_without_a_qr_code(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    async with running_stack(old) as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        await stack.call("POST", "/message/send", instance_key=key, to=CONTACT, message="before")
        kept = await stack.api.post(f"/media/{key}?filename=offer.txt", content=b"what a customer was sent")
        assert kept.status_code == 201, kept.text
        await stack.sandbox.send(CONTACT, PHONE, "received before")
        await until(partial(_has, stack, ["received before"]))
        events = {event["webhook_id"]: event["body"] for event in await stack.received()}
        await bridge("backup", str(file), "--data-dir", str(old), "--json")
        api_key = stack.ready["api_key"]
    await moved(old, new, file)
    async with running_stack(new) as stack:
        assert stack.ready["api_key"] == api_key
        got = await stack.api.get(f"/media/{key}/{kept.json()['media_id']}")
        assert (got.status_code, got.content) == (200, b"what a customer was sent")
        await stack.until_online(key)
        await stack.sandbox.send(CONTACT, PHONE, "after")
        sent = await stack.call("POST", "/message/send", instance_key=key, to=CONTACT, message="and back")
        assert sent["status"] == "sent"
        await until(partial(_has, stack, ["received before", "after"]))
        there = {event["webhook_id"]: event["body"] for event in await stack.received()}
        assert events.items() <= there.items()
        assert [text.text for text in await stack.sandbox.messages(CONTACT)][-1] == "and back"


async def _has(stack: Stack, texts: list[str]) -> bool:
    return await stack.received_texts() == texts


async def test_what_the_engine_took_and_nobody_had_stored_survives_a_restore(tmp_path: Path) -> None:
    """The bridge stands still while a text arrives, and dies; the text is in its journal and nowhere else."""
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    stack = Stack(old)
    await stack.start()
    await stack.sandbox.create_phone(CONTACT, "Ann")
    key = await stack.pair(PHONE)
    await stack.sandbox.send(CONTACT, PHONE, "stored")
    await until(partial(_has, stack, ["stored"]))
    await until(partial(_written, old / "journal" / key, False))
    assert stack.process is not None
    os.kill(stack.process.pid, signal.SIGSTOP)
    await stack.sandbox.send(CONTACT, PHONE, "in the journal only")
    await until(partial(_written, old / "journal" / key, True))
    await stack.kill()
    await until(partial(_is_free, old / "journal", key))
    await bridge("backup", str(file), "--data-dir", str(old), "--json")
    await moved(old, new, file)
    async with running(Stack(new)) as stack:
        await until(partial(_has, stack, ["stored", "in the journal only"]))


async def _written(folder: Path, wanted: bool) -> bool:
    return something_in(folder) == wanted


def something_in(journal: Path) -> bool:
    return any(path.stat().st_size for path in journal.glob("*.log"))


async def _is_free(folder: Path, key: str) -> bool:
    """The host has ended, so that no one appends."""
    try:
        read_left(folder, key)
    except JournalLocked:
        return False
    return True
