"""The drill: a bridge is backed up while it runs, lost, and restored elsewhere; nobody scans a QR code again."""

import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.support.stack import REPOSITORY, running_stack, until

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


async def test_a_restored_bridge_is_online_without_a_qr_code(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    async with running_stack(old) as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        await stack.call("POST", "/message/send", instance_key=key, to=CONTACT, message="before")
        kept = await stack.api.post(f"/media/{key}?filename=offer.txt", content=b"what a customer was sent")
        assert kept.status_code == 201, kept.text
        await bridge("backup", str(file), "--data-dir", str(old), "--json")
        api_key = stack.ready["api_key"]
    new.mkdir(mode=0o711)
    shutil.copytree(old / "sandbox", new / "sandbox")  # WhatsApp itself is not what was lost
    shutil.rmtree(old)
    await bridge("restore", str(file), "--data-dir", str(new), "--json")
    async with running_stack(new) as stack:
        assert stack.ready["api_key"] == api_key
        got = await stack.api.get(f"/media/{key}/{kept.json()['media_id']}")
        assert (got.status_code, got.content) == (200, b"what a customer was sent")
        await stack.until_online(key)
        await stack.sandbox.send(CONTACT, PHONE, "after")
        sent = await stack.call("POST", "/message/send", instance_key=key, to=CONTACT, message="and back")
        assert sent["status"] == "sent"

        async def arrived() -> bool:
            return "after" in await stack.received_texts()

        await until(arrived)
        assert [text.text for text in await stack.sandbox.messages(CONTACT)][-1] == "and back"
