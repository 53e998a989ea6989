"""The OpenAPI document over the wire."""

import re

from tests.support.api import running_api


async def test_the_document_and_its_page_need_no_key_and_no_other_host() -> None:
    async with running_api() as api, api.stranger() as stranger:
        document = (await stranger.get("/openapi.json")).json()
        assert document["openapi"] == "3.1.0" and "/message/send" in document["paths"]
        shown = await stranger.get("/docs")
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
        assert shown.headers["content-security-policy"].startswith("default-src 'none'")
        assert not re.findall(r"(?:src|href)=\"?https?://", shown.text)
