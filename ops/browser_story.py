"""Pairs a number as a person does, in a browser: `make compose-check` runs it against the containers.

`python -m ops.browser_story ENV_FILE API SANDBOX RECEIVER CONTACT`: the file with the keys, the URLs of the three, a
phone of the sandbox. In the dashboard an instance is made and its QR code shown; on the sandbox's page a new phone
scans it by a click; a text goes out from the dashboard to the contact, and one comes back, written on the sandbox's
page; the receiver's page shows it. Prints the instance's key and the number. Ends with 3 where there is no Chromium.
"""

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

SOON_MS = 30_000
TEXT = "in the browser"
NO_BROWSER = 3
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pair(dashboard: Page, phones: Page, urls: dict[str, str], key: str) -> tuple[str, str]:
    """Return the new instance's key and its number."""
    dashboard.goto(f"{urls['api']}/ui")
    dashboard.get_by_label("API key").fill(key)
    dashboard.keyboard.press("Enter")
    dashboard.get_by_label("Name").fill("Front desk")
    dashboard.get_by_role("button", name="Create").click()
    dashboard.wait_for_url("**/ui#/instance/*")
    instance = dashboard.url.rpartition("/")[2]
    dashboard.get_by_role("button", name="Show QR code").click()
    expect(dashboard.get_by_alt_text("QR code to scan")).to_be_visible()
    phones.goto(urls["sandbox"])
    phones.get_by_role("button", name=f"Scan the code of {instance}").click()
    heading = dashboard.get_by_role("heading", name=re.compile(r"^\+\d+ online$"))
    expect(heading).to_be_visible()
    return instance, heading.inner_text().split()[0].removeprefix("+")


def talk(dashboard: Page, phones: Page, contact: str) -> None:
    """A text goes out, and one comes back."""
    dashboard.get_by_label("To", exact=True).fill(f"+{contact}")
    dashboard.get_by_label("Text").fill(f"out: {TEXT}")
    dashboard.get_by_role("button", name="Send").click()
    expect(dashboard.get_by_text("sent: ")).to_be_visible()
    phones.locator(f'[data-phone="{contact}"]').click()
    expect(phones.get_by_role("log")).to_contain_text(f"out: {TEXT}")
    phones.get_by_label("Message").fill(f"in: {TEXT}")
    phones.keyboard.press("Enter")
    expect(dashboard.get_by_text(f"in: {TEXT}").first).to_be_visible()


def received(page: Page, url: str, key: str) -> None:
    """The receiver shows what came."""
    page.goto(url)
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#events summary").filter(has_text=f"in: {TEXT}").first).to_be_visible()


def main(env_file: str, api: str, sandbox: str, receiver: str, contact: str) -> int:
    """Do all of it; return the exit status."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        return NO_BROWSER
    keys = dict(line.split("=", 1) for line in Path(env_file).read_text().splitlines() if re.match("[A-Z_]+=", line))
    expect.set_options(timeout=SOON_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        dashboard, phones, events = (browser.new_context().new_page() for _ in range(3))
        for page in (dashboard, phones, events):
            page.set_default_timeout(SOON_MS)
        urls = {"api": api, "sandbox": sandbox}
        instance, number = pair(dashboard, phones, urls, keys["BRIDGE_API_KEY"])
        talk(dashboard, phones, contact)
        received(events, receiver, keys["RECEIVER_API_KEY"])
        browser.close()
    print(instance, number)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
