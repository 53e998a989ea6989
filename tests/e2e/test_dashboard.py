"""The dashboard as a person uses it, in a real browser: from signing in over pairing to a replay.

`SCREENSHOTS=docs/images` in the environment keeps the pictures of the documentation up to date.
"""

import os
import re
from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.browser import PHONE, SOON_MS, chromium, in_browser, overflows, unnamed
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.engine, pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine")]

NUMBER, SECOND, CONTACT = "4915100000001", "4915100000003", "4915100000002"
SCREENSHOTS = os.environ.get("SCREENSHOTS")


expect.set_options(timeout=SOON_MS)


def picture(page: Page, name: str) -> None:
    """Keep what the page shows, if pictures are wanted."""
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def sign_in(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.ready['api']}/ui")
    page.get_by_label("API key").fill(stack.ready["api_key"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()


def at_once(page: Page) -> None:
    """Every page can be used by who does not see it, and fits its window."""
    assert unnamed(page) == []
    assert not overflows(page)


def pair_and_send(stack: Stack, page: Page) -> str:
    """Create an instance, scan the code that is shown, send a text; return the instance's key."""
    sign_in(page, stack)
    at_once(page)
    page.get_by_label("Name").fill("Front desk")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/ui#/instance/*")
    key = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Show QR code").click()
    expect(page.get_by_alt_text("QR code to scan")).to_be_visible()
    at_once(page)
    picture(page, "dashboard-pairing")
    code = trio.from_thread.run(partial(stack.call, "GET", f"/instance/{key}/qr?format=json"))["code"]
    trio.from_thread.run(stack.sandbox.scan, NUMBER, code)
    expect(page.get_by_role("heading", name=f"+{NUMBER} online")).to_be_visible()
    expect(page.get_by_role("heading", name="Link a phone")).to_have_count(0)
    page.get_by_label("To", exact=True).fill(f"+{CONTACT}")
    page.get_by_label("Text").fill("Your table is ready")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("sent: ")).to_be_visible()
    trio.from_thread.run(stack.sandbox.send, CONTACT, NUMBER, "On my way <b>now</b>")
    expect(page.get_by_text("On my way <b>now</b>").first).to_be_visible()
    at_once(page)
    picture(page, "dashboard-instance")
    return key


def refused(stack: Stack, page: Page) -> None:
    """A wrong key opens nothing, and what is wrong is said."""
    page.goto(f"{stack.ready['api']}/ui")
    page.get_by_label("API key").fill("not a key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("key")
    assert page.evaluate("sessionStorage.length") == 0


def deliver_again(stack: Stack, page: Page, url: str) -> None:
    """Make an endpoint, see its secret once and why its receiver refuses; have another's deliveries made again."""
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_label("URL").fill(f"{url}?for=nobody")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("whsec_")).to_be_visible()
    at_once(page)
    trio.from_thread.run(stack.sandbox.send, CONTACT, NUMBER, "for every endpoint")
    page.get_by_role("link", name="?for=nobody").click()
    refused = page.get_by_role("table", name="Deliveries").get_by_role("row").filter(has_text="failed")
    refresh_until(page, refused)
    refused.first.locator("summary").click()
    expect(refused.first.get_by_text("401")).not_to_have_count(0)
    expect(page.get_by_text("whsec_")).to_have_count(0)
    at_once(page)
    picture(page, "dashboard-endpoint")
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_role("link", name=url, exact=True).click()
    delivered = page.get_by_role("table", name="Deliveries").get_by_role("row").filter(has_text="delivered")
    refresh_until(page, delivered)
    page.get_by_label("What").select_option("time")
    page.get_by_label("From").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text(re.compile(r"Replay done: [1-9]\d* of"))).to_be_visible()


def refresh_until(page: Page, wanted: Locator) -> None:
    """Press Refresh until there is such a row: the delivery is made beside the page."""
    for _ in range(50):
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("button", name="Refresh")).to_be_enabled()
        if wanted.count():
            return
        page.wait_for_timeout(200)
    expect(wanted).not_to_have_count(0)


def link_by_code(stack: Stack, page: Page) -> None:
    """On a phone's screen, by keyboard alone: create an instance, link it with a code, and look at the list."""
    sign_in(page, stack)
    page.get_by_label("Name").fill("Night shift")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui#/instance/*")
    page.get_by_label("Or by a code").fill(f"+{SECOND}")
    page.keyboard.press("Enter")
    code = page.locator(".code")
    expect(code).to_have_text(re.compile("^[A-Z0-9]{4}-[A-Z0-9]{4}$"))
    at_once(page)
    picture(page, "dashboard-phone")
    trio.from_thread.run(stack.sandbox.enter_code, SECOND, code.text_content())
    expect(page.get_by_role("heading", name=f"+{SECOND} online")).to_be_visible()
    page.get_by_role("link", name="Instances").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Night shift")).to_be_visible()
    at_once(page)
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_label("API key")).to_be_focused()


def types_before_the_list_is_there(stack: Stack, page: Page) -> None:
    """Who has begun to type when a page is complete keeps the field."""
    held: list[Route] = []
    page.route("**/instances?*", lambda route: held.append(route))  # noqa: PLW0108 -- it takes no built-in function
    page.goto(f"{stack.ready['api']}/ui")
    page.get_by_label("API key").fill(stack.ready["api_key"])
    with page.expect_request("**/instances?*"):
        page.keyboard.press("Enter")
    name = page.get_by_label("Name")
    name.fill("Early")
    for route in held:
        route.continue_()
    expect(page.get_by_role("table", name="Instances")).to_be_visible()
    expect(name).to_be_focused()


async def test_somebody_pairs_sends_reads_and_replays_in_the_browser(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data", BRIDGE_WEBHOOK_ALLOW="127.0.0.0/8") as stack:
        for number, name in ((NUMBER, "Front desk"), (SECOND, "Night shift"), (CONTACT, "Ann")):
            await stack.sandbox.create_phone(number, name)

        def story(page: Page) -> None:
            pair_and_send(stack, page)
            deliver_again(stack, page, f"{stack.ready['receiver']}/webhook")

        await in_browser(story)
        await in_browser(partial(link_by_code, stack), size=PHONE, dark=True)
        await in_browser(partial(types_before_the_list_is_there, stack))
        await in_browser(partial(refused, stack), expected=("401",))
