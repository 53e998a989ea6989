"""`bridge sandbox` on the command line, on a sandbox that runs."""

import contextlib
import io
import json
from pathlib import Path

import httpx2
import trio

from bridge import cli
from tests.support.sandbox import running_sandbox


async def _bridge(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
    """Run a command, in a thread; return its status, the JSON lines on stdout, and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = await trio.to_thread.run_sync(cli.main, ["sandbox", *arguments])
    return status, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


async def test_phones_messages_and_faults_by_command(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        url = ("--url", sandbox.ready["control"])
        status, (ann,), _ = await _bridge("phones", "--create", "--name", "Ann", "--phone", "4915700000001", *url)
        assert (status, ann["name"]) == (0, "Ann")
        await _bridge("phones", "--phone", "4915700000002", *url)
        _, phones, _ = await _bridge("phones", *url)
        assert [phone["phone"] for phone in phones] == ["4915700000001", "4915700000002"]
        _, (sent,), _ = await _bridge("send", "4915700000001", "4915700000002", "hello", *url)
        _, (got,), _ = await _bridge("messages", "4915700000002", "--wait", "5", *url)
        assert (got["text"], got["message_id"]) == ("hello", sent["message_id"])
        assert (await _bridge("fault", "slow", "--delay-s", "0.1", "--count", "3", *url))[1] == [{"connections": 0}]
        (listed,) = (await _bridge("fault", "list", *url))[1]
        assert [fault["kind"] for fault in listed["active"]] == ["slow"]
        assert (await _bridge("fault", "end", *url))[1] == [{"ended": 1}]
        status, _, error = await _bridge("fault", "earthquake", *url)
        assert (status, "unknown_fault" in error) == (1, True)


async def test_a_sandbox_that_is_not_there_is_said() -> None:
    status, _, error = await _bridge("phones", "--url", "http://127.0.0.1:1")
    assert (status, "no sandbox at http://127.0.0.1:1" in error) == (1, True)


async def test_pages_of_other_sites_may_not_act(tmp_path: Path) -> None:
    async with (
        running_sandbox(tmp_path) as sandbox,
        httpx2.AsyncClient(base_url=sandbox.ready["control"], trust_env=False) as http,
    ):
        refused = await http.post("/phones", headers={"origin": "https://elsewhere.example"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")
        assert (await http.post("/phones", headers={"origin": sandbox.ready["control"]})).status_code == 201
