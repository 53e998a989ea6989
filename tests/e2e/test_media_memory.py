"""A file of many megabytes goes in and out, and the bridge holds no more of it than a piece."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.proc import kilobytes
from tests.support.stack import Stack, running_stack, until

pytestmark = pytest.mark.engine

PHONE, CONTACT = "4915100000001", "4915100000002"
MB = 1024 * 1024
SIZE_MB, GROWTH_MB = 64, 24
"""The file, and by how much the bridge's memory may grow: far less than the file, and more than what varies."""


async def test_the_memory_of_the_bridge_grows_by_less_than_the_file(tmp_path: Path, measured: Any) -> None:
    async with running_stack(tmp_path / "data") as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        key = await stack.pair(PHONE)
        for size in (MB, SIZE_MB * MB):  # the first one brings in what the work needs anyway
            begin(stack.ready["pid"])
            before = kilobytes(stack.ready["pid"], "VmRSS")
            await comes_in(stack, key, size)
            await goes_out(stack, key, size)
            grown = (kilobytes(stack.ready["pid"], "VmHWM") - before) / 1024
        measured(f"a file of {SIZE_MB} MB in and out: the bridge's memory rose by {grown:.0f} MB at the most")
        assert grown < GROWTH_MB


async def comes_in(stack: Stack, key: str, size: int) -> None:
    file = {"size": size, "name": "film.bin"}
    message_id = await stack.sandbox.send_message(CONTACT, PHONE, "document", file=file)
    await until(partial(arrived, stack, key, message_id))


async def arrived(stack: Stack, key: str, message_id: str) -> bool:
    query = {"instance_key": key, "types": "media.updated", "limit": 1000}
    events = (await stack.api.get("/events", params=query)).json()["events"]
    found = [event["data"] for event in events if event["data"]["message_id"] == message_id]
    assert all(data["media"]["status"] == "available" for data in found), found
    return bool(found)


async def goes_out(stack: Stack, key: str, size: int) -> None:
    async def body() -> Any:
        for _ in range(size // MB):
            yield bytes(MB)

    uploaded = await stack.api.post(f"/media/{key}", content=body())
    assert uploaded.status_code == 201, uploaded.text
    sent = await stack.call(
        "POST",
        "/message/send-media",
        instance_key=key,
        phone=CONTACT,
        type="file",
        media_id=uploaded.json()["media_id"],
    )
    assert sent["status"] == "sent"


def begin(pid: int) -> None:
    """Have the kernel count the peak of a process's memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
