"""The OpenAPI document over the wire, and schemathesis against everything that it promises."""

import re
import subprocess
import sys
from pathlib import Path

import trio

from tests.support.api import API_KEY, running_api

EXCLUDED = (
    "positive_data_acceptance",  # a well-formed text need not be a recipient, a URL or a cursor
    "negative_data_rejection",  # unknown fields and parameters are ignored
    "missing_required_header",
)
RUN_S = 240


async def test_the_document_and_its_page_need_no_key_and_no_other_host() -> None:
    async with running_api() as api, api.stranger() as stranger:
        document = (await stranger.get("/openapi.json")).json()
        assert document["openapi"] == "3.1.0" and "/message/send" in document["paths"]
        shown = await stranger.get("/docs")
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
        assert shown.headers["content-security-policy"].startswith("default-src 'none'")
        assert not re.findall(r"(?:src|href)=\"?https?://", shown.text)


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Bounded and seeded: each call a few times, with what its schema allows and with what it does not."""
    async with running_api() as api:
        key = api.add(state="online")
        found = await trio.run_process(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.bound.url}/openapi.json"),
                *("--header", f"X-Api-Key: {API_KEY}", "--header", f"X-Instance-Key: {key}"),
                *("--seed", "1", "--max-examples", "6", "--phases", "examples,coverage,fuzzing"),
                *("--exclude-checks", ",".join(EXCLUDED), "--no-color", "--request-timeout", "20"),
                *("--exclude-path-regex", "/qr$|/docs$"),
            ],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=tmp_path,
        )
        assert found.returncode == 0, found.stdout.decode()[-6000:]
        assert api.directory.calls > 10  # it came through to the inside
