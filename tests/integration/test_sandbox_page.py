"""The sandbox's page in a real browser: scan a code by a click, chat, and on a small screen."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Page, expect

from bridge.sandbox.client import SandboxClient
from tests.support.browser import PHONE, chromium, in_browser, overflows, unnamed
from tests.support.sandbox import Neonize, neonize_clients, running_sandbox

pytestmark = pytest.mark.engine
SHOTS = Path(__file__).parents[2] / "screenshots"


def scan(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Scan the code of my instance").click()
    expect(page.get_by_text("No client shows a QR code.")).to_be_visible()
    page.get_by_label("Name of a new phone's owner").fill("Ann <b>")
    page.get_by_role("button", name="Add phone").click()
    expect(page.get_by_role("button", name="Ann <b>")).to_be_visible()


def write(page: Page, url: str, *, shot: Path | None = None) -> None:
    page.goto(url)
    page.get_by_role("button", name="Ann <b>").click()
    page.get_by_label("Message").fill("from the page <script>alert(1)</script>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("from the page <script>alert(1)</script>")
    expect(page.get_by_role("log")).to_contain_text("delivered")
    expect(page.get_by_label("Message")).to_have_value("")
    if shot is not None:
        page.screenshot(path=shot)


def sees(page: Page, url: str, text: str, *, shot: Path | None = None) -> list[Any]:
    page.goto(url)
    if page.viewport_size is not None and page.viewport_size["width"] < 700:
        expect(page.get_by_label("Message")).to_be_hidden()
    page.get_by_role("button", name="Ann <b>").press("Enter")
    expect(page.get_by_role("log")).to_contain_text(text)
    found = [overflows(page), unnamed(page)]
    if shot is not None:
        page.screenshot(path=shot)
    if page.viewport_size is not None and page.viewport_size["width"] < 700:
        page.get_by_role("button", name="Back").click()
        expect(page.get_by_label("Name of a new phone's owner")).to_be_visible()
        found += [overflows(page), unnamed(page)]
        if shot is not None:
            page.screenshot(path=shot.with_stem(shot.stem + "_list"))
    return found


def complains(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Text of the code that a client shows").fill("no code")
    page.get_by_role("button", name="Scan the code of a client").click()
    expect(page.get_by_role("alert")).to_contain_text("No client is showing this QR code now")


async def test_a_person_scans_writes_and_reads_in_the_browser(tmp_path: Path) -> None:
    if chromium() is None:
        return
    shots = trio.Path(SHOTS)
    keep = await shots.is_dir()
    async with (
        running_sandbox(tmp_path / "sandbox") as sandbox,
        sandbox.client() as control,
        neonize_clients(sandbox, tmp_path / "clients.sqlite") as clients,
    ):
        url = sandbox.ready["control"]
        await clients.call("start", "a")
        qr = (await clients.event("qr", "a"))["qr"]
        await in_browser(partial(complains, url=url), expected=("404",))
        assert await control.phones() == []
        await control.show_code(qr, "my instance")
        await in_browser(partial(scan, url=url))
        await clients.event("connected", "a")
        await _goes_both_ways(url, control, clients, SHOTS if keep else None)


async def _goes_both_ways(url: str, control: SandboxClient, clients: Neonize, shots: Path | None) -> None:
    await in_browser(partial(write, url=url, shot=shots and shots / "chat.png"))
    got = await clients.event("message", "a", lambda e: e["text"].startswith("from the page"))
    ann = next(phone for phone in await control.phones() if phone.name == "Ann <b>")
    assert ann.lid in json.dumps(got)
    await clients.call("send", "a", to=ann.phone, text="answered by the client")
    for size, dark, name in (((1280, 800), True, "dark"), (PHONE, False, "phone")):
        shot = shots / f"{name}.png" if shots else None
        look = partial(sees, url=url, text="answered by the client", shot=shot)
        found = await in_browser(look, size=size, dark=dark)
        assert not any(found), found
