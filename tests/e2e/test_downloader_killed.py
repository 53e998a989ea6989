"""The processes that fetch files are killed in the middle: the files come all the same, and nothing is left over."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_media_memory import MB, arrived
from tests.support.stack import Stack, nodes, running_stack, until

pytestmark = pytest.mark.engine

PHONE, CONTACT = "4915100000001", "4915100000002"


async def fetching(stack: Stack) -> list[int]:
    """Return the processes of the downloader while it fetches, as the process tree shows them."""
    tree = (await stack.call("GET", "/readyz?verbose"))["tree"]
    detail = next(node["detail"] for node in nodes(tree) if node["name"] == "downloader")
    return list(detail["pids"]) if detail["fetching"] else []


async def test_a_file_whose_download_is_killed_comes_at_the_next_attempt(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        sent: list[str] = []
        while "downloader.ended" not in stack.log():  # until a kill has met one at work
            file = {"size": 48 * MB, "name": f"film{len(sent)}.bin"}
            sent.append(await stack.sandbox.send_message(CONTACT, PHONE, "document", file=file))
            await until(partial(_killed_or_there, stack, key, sent[-1]))
        for message_id in sent:
            await until(partial(arrived, stack, key, message_id))
        assert "media.download_failed" in stack.log()
        assert "media.left_to_engine" not in stack.log()
        assert os.listdir(tmp_path / "data" / "media" / "spool") == []  # noqa: PTH208


async def _killed_or_there(stack: Stack, key: str, message_id: str) -> bool:
    for pid in await fetching(stack):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True
    return await arrived(stack, key, message_id)
