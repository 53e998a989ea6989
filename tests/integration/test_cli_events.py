"""`bridge events` against the API on a real store: what happened, and what happens while it looks."""

import json

import pytest
import trio

from bridge import cli
from bridge.store.store import Store
from tests.support.api import API_KEY
from tests.support.bridge import Bridge, bridge_on
from tests.support.hooks import DEADLINE_S, owned, sent_event, text_event


async def run(bridge: Bridge, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRIDGE_URL", str(bridge.client.base_url))
        patch.setenv("BRIDGE_API_KEY", API_KEY)
        return await trio.to_thread.run_sync(cli.main, ("events", *arguments))


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the command printed, without the log of the API in this process."""
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("20") or "  " in line[:60]]


async def test_what_happened_is_printed_and_can_be_chosen(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    async with bridge_on(store) as bridge:
        other = await owned(store)
        await bridge.instance.append(text_event(text="one"), sent_event(), text_event(text="two\x1b[2J"))
        await other.append(text_event(text="elsewhere"))
        capsys.readouterr()
        chosen = ("--instance", bridge.instance.key, "--type", "message.received")
        assert await run(bridge, *chosen, "--json") == 0
        events = [json.loads(line) for line in printed(capsys) if line.startswith("{")]
        assert [event["data"]["text"] for event in events] == ["one", "two\x1b[2J"]
        assert await run(bridge, "--limit", "3") == 0
        lines = [line for line in printed(capsys) if "message." in line]
        assert len(lines) == 3 and "\x1b" not in "".join(lines)


async def test_following_shows_what_comes_and_nothing_older(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    async with bridge_on(store) as bridge:
        await bridge.instance.append(text_event(text="old"))
        capsys.readouterr()
        statuses: list[int] = []

        async def follow() -> None:
            statuses.append(await run(bridge, "--follow", "--limit", "1", "--json"))

        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                while not statuses:
                    await bridge.instance.append(text_event(text="new"))
                    await trio.sleep(0.1)
        (event,) = [json.loads(line) for line in printed(capsys) if line.startswith("{")]
    assert statuses == [0] and event["data"]["text"] == "new"
