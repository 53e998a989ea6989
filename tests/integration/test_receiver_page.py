"""The receiver's page in a real browser: it tails events, escapes what is in them, asks for a key, fits a phone."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, SOON_MS, chromium, in_browser, overflows, unnamed
from tests.support.receiver import Running, body_of, serving

EVIL = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
KEY = "a-key-of-the-tests"
ASSETS = Path(__file__).parents[2] / "receiver" / "page"


def text_of(number: int, text: str, *, chat: str = "491701@s.whatsapp.net") -> str:
    body = json.loads(body_of(number, chat=chat))
    body["data"]["text"] = text
    return json.dumps(body)


def poster(receiver: Running) -> Callable[[int, str, str], None]:
    """Return what posts a webhook from the browser's thread."""

    def post(number: int, text: str, chat: str = "491701@s.whatsapp.net") -> None:
        answer = trio.from_thread.run(lambda: receiver.post(number, body=text_of(number, text, chat=chat)))
        assert answer.status_code == 200

    return post


def first(page: Page, text: str) -> None:
    expect(page.locator("#events summary").first).to_contain_text(text, timeout=SOON_MS)


async def test_the_page_tails_events_live_escapes_filters_and_pauses(empty_database_url: str) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        await receiver.post(1, body=text_of(1, "before the page was opened"))
        post = poster(receiver)

        def steps(page: Page) -> None:
            page.goto(receiver.url)
            expect(page.locator("#state")).to_have_text("live")
            first(page, "before the page was opened")
            post(2, "as it comes", "491702@s.whatsapp.net")
            first(page, "as it comes")
            post(3, EVIL)
            first(page, EVIL)
            page.locator("#events summary").first.click()
            expect(page.locator("#events pre")).to_contain_text("onerror")
            assert page.title() == "Webhook receiver"
            assert page.locator("#events img, #events script").count() == 0

            page.get_by_role("button", name="Pause").click()
            post(4, "while paused")
            expect(page.get_by_role("button", name="Go on (1 new)")).to_be_visible()
            first(page, EVIL)
            page.get_by_role("button", name="Go on").click()
            first(page, "while paused")

            page.get_by_label("Chat").fill("491702@s.whatsapp.net")
            page.get_by_label("Chat").press("Enter")
            expect(page.locator("#events li")).to_have_count(1)
            first(page, "as it comes")
            post(5, "of another chat")
            post(6, "of this chat", "491702@s.whatsapp.net")
            first(page, "of this chat")
            expect(page.locator("#events li")).to_have_count(2)
            assert unnamed(page) == []

        if chromium() is not None:
            await in_browser(steps)


async def test_the_page_asks_for_a_key_and_fits_a_phone(empty_database_url: str) -> None:
    async with serving(empty_database_url, api_key=KEY, host="0.0.0.0") as receiver:
        await receiver.until_ready()
        await receiver.post(1, body=text_of(1, "a text without a space " + "x" * 300))

        def steps(page: Page) -> None:
            page.goto(receiver.url)
            page.get_by_label("Key").fill("not the key at all")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_contain_text("RECEIVER_API_KEY")
            expect(page.locator("#shown")).to_be_hidden()
            page.get_by_label("Key").fill(KEY)
            page.keyboard.press("Enter")
            first(page, "a text without a space")
            page.locator("#events summary").first.click()
            expect(page.locator("#events pre")).to_be_visible()
            assert not overflows(page)
            assert KEY not in page.url
            page.reload()
            first(page, "a text without a space")

        if chromium() is not None:
            await in_browser(steps, size=PHONE, expected=("401",))


async def test_the_page_comes_back_after_the_receiver_was_away_and_misses_nothing(empty_database_url: str) -> None:
    if chromium() is None:
        return
    live, away = trio.Event(), trio.Event()

    def steps(page: Page) -> None:
        page.goto(url)
        expect(page.locator("#state")).to_have_text("live")
        trio.from_thread.run_sync(live.set)
        expect(page.locator("#state")).to_contain_text("away")
        trio.from_thread.run_sync(away.set)
        first(page, "and one more")
        expect(page.locator("#events li")).to_have_count(2)

    async with trio.open_nursery() as nursery:
        async with serving(empty_database_url) as before:
            await before.until_ready()
            url = before.url
            nursery.start_soon(partial(in_browser, steps, expected=("ERR_", "Failed to load")))
            await live.wait()
        await away.wait()
        async with serving(empty_database_url, port=int(url.rsplit(":", 1)[1])) as after:
            await after.until_ready()
            for number, text in ((1, "while it was away"), (2, "and one more")):
                await after.post(number, body=text_of(number, text))
            while nursery.child_tasks:  # noqa: ASYNC110 -- the browser has deadlines of its own
                await trio.sleep(0.05)


async def test_the_page_loads_nothing_from_elsewhere(empty_database_url: str) -> None:
    for asset in ASSETS.iterdir():
        assert re.findall(r"(?:https?:)?//[a-z]", asset.read_text().replace("// ", "")) == [], asset.name
    async with serving(empty_database_url) as receiver:
        answer = await receiver.client.get("/")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await receiver.client.get("/page.js")).headers["content-type"].startswith("text/javascript")
