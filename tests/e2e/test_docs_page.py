"""The page of the API's documentation in a browser without a network: what it needs is inside of it."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.api import running_api
from tests.support.browser import PHONE, chromium, in_browser, overflows

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine")


def read(page: Page, url: str) -> None:
    """Read about a call: what it takes, an example, what it answers, and how it is refused."""
    asked: list[str] = []

    def only_here(route: Route) -> None:
        asked.append(route.request.url)
        if route.request.url == f"{url}/docs":
            route.continue_()
        else:
            route.abort()

    page.route("**/*", only_here)
    page.goto(f"{url}/docs")
    assert asked == [f"{url}/docs"]
    assert page.evaluate("getComputedStyle(document.body).fontFamily") != "Times New Roman"
    call = page.locator("details", has_text="POST /message/send ").first
    call.locator("summary").press("Enter")
    expect(call.get_by_text('"message": "See you at 10."')).to_be_visible()
    expect(call.get_by_role("heading", name="Refused with")).to_be_visible()
    expect(call.get_by_role("cell", name="not_connected", exact=True)).to_be_visible()
    assert not overflows(page)


async def test_the_documentation_is_read_without_a_network() -> None:
    async with running_api() as api:
        await in_browser(lambda page: read(page, api.bound.url))
        await in_browser(lambda page: read(page, api.bound.url), size=PHONE, dark=True)
