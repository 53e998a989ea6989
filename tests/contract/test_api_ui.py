"""The dashboard's files over the wire: who gets what, and what a browser is told about them."""

import re

import pytest

from bridge.api.routes.ui import load
from tests.support.api import running_api

ASSETS = load()


async def test_the_page_and_its_files_need_no_key_and_are_kept_to_their_own_site() -> None:
    async with running_api() as api, api.stranger() as stranger:
        for path in ("/ui", *(f"/ui/{name}" for name in ASSETS)):
            answer = await stranger.get(path)
            assert answer.status_code == 200, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"]


async def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    async with running_api() as api, api.stranger() as stranger:
        first = await stranger.get("/ui/app.js")
        again = await stranger.get("/ui/app.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e/app.py", "__init__.py", "app.js%00"])
async def test_nothing_but_the_dashboards_files_is_served(name: str) -> None:
    async with running_api() as api, api.stranger() as stranger:
        answer = await stranger.get(f"/ui/{name}")
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


def test_the_files_name_nothing_that_is_not_there_or_lies_elsewhere() -> None:
    for name, asset in ASSETS.items():
        text = asset.body.decode()
        named = re.findall(r"[\"'(](/ui/[\w.-]+)", text)
        assert {path.removeprefix("/ui/") for path in named} <= set(ASSETS), name
        assert not re.search(r"(?:src|href|from|url)\s*[=(]?\s*[\"']?(?:https?:)?//", text), name


def test_nothing_is_put_into_the_page_as_markup() -> None:
    for name, asset in ASSETS.items():
        assert not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", asset.body), name
