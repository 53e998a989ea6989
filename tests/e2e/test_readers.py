"""Who pulls loses nothing when the bridge is killed: each way of reading goes on from its cursor by itself."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from bridge.api.sockets import WINDOW_EVENTS
from tests.support.flow import Flow, settle
from tests.support.reader import WAYS, Reader
from tests.support.stack import WITH_SANDBOX, Stack, running, until

pytestmark = pytest.mark.engine

CONTACT = "4915100000099"
PHONES = ["4915100000301", "4915100000302"]
RATE = 50.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def has_read(reader: Reader, texts: set[str]) -> bool:
    await trio.lowlevel.checkpoint()
    return texts <= {text for _, text in reader.read()}


async def has_more(reader: Reader, than: int) -> bool:
    await trio.lowlevel.checkpoint()
    return len(reader.read()) > than


async def test_a_killed_bridge_costs_no_reader_an_event_whichever_way_it_reads(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    port = free_port()  # readers come back to the port that they know
    async with running(Stack(tmp_path / "data", arguments=(*WITH_SANDBOX, "--port", str(port)))) as stack:
        await stack.sandbox.create_phone(CONTACT, "Ann")
        keys = await stack.pair_all(PHONES)
        readers = [Reader(way, port, stack.ready["api_key"], tmp_path / way) for way in WAYS]
        try:
            for reader in readers:
                reader.start()
            async with trio.open_nursery() as nursery:
                flow = Flow(stack, CONTACT, PHONES, RATE)
                await nursery.start(flow.run)
                for reader in readers:
                    await until(partial(has_more, reader, 20))
                await stack.kill()
                flow.paused = True
                before = [len(reader.read()) for reader in readers]
                await stack.start()
                flow.paused = False
                await stack.until_online(*keys.values())
                await flow.sent(50)
                flow.stopped.set()
            counted = await settle(stack, CONTACT)
            assert counted.lost == ()
            texts = set(await stack.received_texts())
            for reader in readers:
                await until(partial(has_read, reader, texts))
        finally:
            for reader in readers:
                reader.kill()
        for reader, count in zip(readers, before, strict=True):
            found = reader.read()
            ids = [id for id, _ in found]
            doubled = len(ids) - len(set(ids))
            measured(f"bridge killed under a {reader.way}: {len(set(ids))} read, {count} before, {doubled} twice")
            assert len(texts) > count > 0
            assert doubled <= (WINDOW_EVENTS if reader.way == "socket" else 0)
            assert list(dict.fromkeys(ids)) == list(dict.fromkeys(readers[0].read()[n][0] for n in range(len(texts))))
