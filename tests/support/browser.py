"""Opens pages in a headless Chromium for tests: what a person sees and does, on a real browser.

`with browsing() as page` in a test without Trio; `await in_browser(steps)` in one with it, where `steps(page)` runs in
a thread of its own, since Playwright's objects belong to the thread that made them. Whatever the page complains about
(an exception, an error on its console, a request that failed) fails the test at the end.

The browser is the system's (`chromium` of the distribution, or `CHROMIUM`); nothing is downloaded. Where there is none,
`chromium()` is None and says so on stderr, for a test to leave it at that.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import trio
from playwright.sync_api import Page, sync_playwright

T = TypeVar("T")

SOON_MS = 20_000
"""How long a step may wait for what it expects; the machine may be busy."""
DESKTOP = (1280, 800)
PHONE = (390, 844)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@cache
def chromium() -> str | None:
    """Return the path of a Chromium, None where this machine has none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        print("no Chromium here: what is tested in a browser was not (apt-get install chromium)", file=sys.stderr)
    return found


@dataclass
class Complaints:
    """What a page had to say against itself."""

    found: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of complaints that a test provokes."""

    def add(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.found.append(text)


@contextmanager
def browsing(*, size: tuple[int, int] = DESKTOP, dark: bool = False, expected: tuple[str, ...] = ()) -> Iterator[Page]:
    """Open an empty page of that size in a browser of its own; fail at the end if the page complained."""
    complaints = Complaints(expected=expected)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                has_touch=size == PHONE,
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.set_default_timeout(SOON_MS)
            page.on("pageerror", lambda error: complaints.add(f"exception: {error}"))
            page.on(
                "console",
                lambda line: complaints.add(f"console: {line.text}") if line.type == "error" else None,
            )
            yield page
        finally:
            browser.close()
    assert complaints.found == []


async def in_browser(
    steps: Callable[[Page], T],
    *,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    expected: tuple[str, ...] = (),
) -> T:
    """Run `steps` with an empty page, in a thread; return what they return."""

    def run() -> T:
        with browsing(size=size, dark=dark, expected=expected) as page:
            return steps(page)

    return await trio.to_thread.run_sync(partial(run))


def overflows(page: Page) -> bool:
    """Say whether the page is wider than its window, so that a reader has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def unnamed(page: Page) -> list[str]:
    """Return the controls that a screen reader could not name."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input, select, textarea')]
            .filter(element => element.offsetParent !== null)
            .filter(element => !(element.getAttribute('aria-label') || element.getAttribute('aria-labelledby')
                || element.labels?.length || element.textContent.trim() || element.title))
            .map(element => element.outerHTML.slice(0, 120))"""
        )
    )
