"""The dashboard's keys, audit trail and files in a real browser, and what a key that may only read sees of it all.

`SCREENSHOTS=docs/images` in the environment keeps the pictures of the documentation up to date.
"""

import base64
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_dashboard import CONTACT, NUMBER, at_once, picture
from tests.support import samples
from tests.support.browser import PHONE, chromium, in_browser
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.engine, pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine")]


def enter(page: Page, stack: Stack, key: str) -> None:
    """Sign in with a key, by keyboard."""
    page.goto(f"{stack.ready['api']}/ui")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()


def make_key(page: Page, name: str, *, instance: str) -> str:
    """Make a key for reading that belongs to one instance and has an end; return it, which is shown this once."""
    page.get_by_role("link", name="Keys").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="API keys")).to_be_visible()
    page.get_by_label("What it is for").fill(name)
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Only these instances").select_option(label=instance)
    page.get_by_label("Expires").fill("2099-01-01T00:00")
    page.get_by_label("What it is for").press("Enter")
    secret = page.locator(".secret")
    expect(secret).to_contain_text("wab_")
    row = page.get_by_role("table", name="API keys").get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("viewer")
    expect(row).to_contain_text(instance)
    expect(row).to_contain_text(re.compile(r"in [\d,]+ days"))
    at_once(page)
    return secret.text_content() or ""


def reads_only(page: Page, stack: Stack, secret: str, key: str) -> None:
    """With a viewer's key there is nothing to press that the API would refuse, and everything to read."""
    enter(page, stack, secret)
    assert [link.text_content() for link in page.locator("nav a:visible").all()] == ["Instances", "Events", "Webhooks"]
    assert buttons(page) == ["Sign out"]
    page.get_by_role("link", name="Front desk").press("Enter")
    expect(page.get_by_role("heading", name=f"+{NUMBER} online")).to_be_visible()
    expect(page.get_by_role("log", name="Events")).to_be_attached()
    assert buttons(page) == ["Sign out", "Look again"]
    expect(page.get_by_label("Text")).to_have_count(0)
    at_once(page)
    for name in ("Events", "Webhooks"):
        page.get_by_role("link", name=name, exact=True).press("Enter")
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        assert buttons(page) == ["Sign out"]
    for hidden in ("keys", "audit"):  # whoever types the address gets the API's own words
        page.goto(f"{stack.ready['api']}/ui#/{hidden}")
        expect(page.get_by_role("alert")).to_contain_text("viewer")
    page.goto(f"{stack.ready['api']}/ui#/instance/{key}")
    expect(page.get_by_role("log", name="Events")).to_be_attached()


def buttons(page: Page) -> list[str]:
    return [button.text_content() or "" for button in page.get_by_role("button").all() if button.is_visible()]


def look_at_the_file(page: Page, stack: Stack, key: str) -> None:
    """A picture that came in is shown with the instance."""
    page.goto(f"{stack.ready['api']}/ui#/instance/{key}")
    shown = page.get_by_role("table", name="Files").get_by_role("img")
    press_until(page, "Look again", lambda: shown.count() == 1)
    page.wait_for_function("document.querySelector('table[aria-label=Files] img').naturalWidth === 320")
    at_once(page)
    picture(page, "dashboard-files")


def press_until(page: Page, name: str, condition: Callable[[], bool]) -> None:
    """Press a button until something is there that is made beside the page."""
    for _ in range(50):
        if condition():
            return
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name=name)).to_be_enabled()
        page.wait_for_timeout(200)
    raise AssertionError(name)


def read_the_trail(page: Page) -> None:
    """Who did what is there, newest first, page by page, and for one instance."""
    page.get_by_role("link", name="Audit").click()
    trail = page.get_by_role("table", name="Audit trail")
    rows = trail.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("POST /keys")
    expect(rows.nth(1)).to_contain_text("201")
    assert rows.count() == 51  # with its head
    first = rows.nth(1).text_content()
    page.get_by_role("button", name="Next").click()
    expect(rows.filter(has_text="POST /instance/create")).to_have_count(1)
    page.get_by_role("button", name="Previous").click()
    expect(rows.nth(1)).to_have_text(first or "")
    at_once(page)
    page.evaluate("scrollTo(0, 0)")
    picture(page, "dashboard-audit")


def revoke(page: Page, name: str) -> None:
    page.get_by_role("link", name="Keys").click()
    row = page.get_by_role("table", name="API keys").get_by_role("row").filter(has_text=name)
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)


def administer(stack: Stack, key: str, page: Page) -> None:
    enter(page, stack, stack.ready["api_key"])
    look_at_the_file(page, stack, key)
    secret = make_key(page, "reception", instance="Front desk")
    picture(page, "dashboard-keys")
    read_the_trail(page)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    for name, heading in (("Keys", "API keys"), ("Audit", "Audit trail"), ("Instances", "Instances")):
        page.get_by_role("link", name=name, exact=True).press("Enter")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.get_by_role("table").first).to_be_visible()
        at_once(page)
    browser = page.context.browser
    assert browser is not None
    on_a_phone(browser, stack, secret, key, page)


def on_a_phone(browser: Browser, stack: Stack, secret: str, key: str, admin: Page) -> None:
    """Somebody else, on a phone's screen: reads, and is signed out as soon as the key is revoked."""
    context = browser.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
    other = context.new_page()
    reads_only(other, stack, secret, key)
    revoke(admin, "reception")
    expect(other.get_by_label("API key")).to_be_focused()
    assert other.evaluate("sessionStorage.length") == 0
    context.close()


async def received_a_picture(stack: Stack, key: str) -> None:
    encoded = base64.b64encode(samples.picture()).decode()
    await stack.sandbox.send_message(CONTACT, NUMBER, "image", file={"data": encoded})


async def with_a_long_trail(stack: Stack) -> None:
    for _ in range(60):
        answer: Any = await stack.api.delete("/keys/key_that_there_is_not")
        assert answer.status_code == 404


async def test_an_administrator_makes_a_key_that_only_reads_and_takes_it_back(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        for number, name in ((NUMBER, "Front desk"), (CONTACT, "Ann")):
            await stack.sandbox.create_phone(number, name)
        key = await stack.pair(NUMBER, name="Front desk")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(received_a_picture, stack, key)
            nursery.start_soon(with_a_long_trail, stack)
        await in_browser(partial(administer, stack, key))
