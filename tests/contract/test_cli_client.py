"""The commands that talk to a running bridge: what they print, and their exit status, against the API over the wire."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio

from bridge import cli
from bridge.commands.output import Progress
from bridge.domain.ids import InstanceKey
from tests.support.api import API_KEY, Api, eventually, running_api

Captured = pytest.CaptureFixture[str]


async def run(api: Api, *arguments: str, key: str = API_KEY) -> int:
    """Run a command as a user does, against this API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRIDGE_URL", api.bound.url)
        patch.setenv("BRIDGE_API_KEY", key)
        return await trio.to_thread.run_sync(cli.main, arguments)


def printed(captured: Captured) -> list[str]:
    """Return what a command printed; the log of the API in this process goes to stdout too, and is left out."""
    return [line for line in captured.readouterr().out.splitlines() if not line.startswith("20")]


def answer(captured: Captured) -> object:
    (line,) = [line for line in printed(captured) if line.startswith(("{", "["))]
    return json.loads(line)


async def test_instances_are_created_listed_and_deleted(capsys: Captured) -> None:
    async with running_api() as api:
        assert await run(api, "instances", "create", "--name", "desk", "--metadata", '{"team": "a"}', "--json") == 0
        made = answer(capsys)
        assert isinstance(made, dict) and made["api_key"].startswith("wab_")
        key = made["instance_key"]
        assert api.store.rows[InstanceKey(key)].metadata == {"team": "a"}
        assert await run(api, "instances", "list") == 0
        head, row = printed(capsys)
        assert head.split() == ["INSTANCE", "KEY", "NAME", "STATE", "PHONE", "NUMBER", "NEEDS", "REASON"]
        assert row.split() == [key, "desk", "created", "none", "-"]
        assert await run(api, "instances", "delete", key) == 2
        assert api.store.rows
        assert await run(api, "instances", "delete", key, "--yes") == 0
        assert not api.store.rows


async def test_a_list_is_read_to_its_end(capsys: Captured) -> None:
    async with running_api() as api:
        keys = sorted(api.add() for _ in range(7))
        page = api.store.list

        async def small(**asked: object) -> object:
            return await page(**(asked | {"limit": 3}))  # type: ignore[arg-type]

        api.store.list = small  # type: ignore[method-assign,assignment]
        assert await run(api, "instances", "list", "--json") == 0
        found = answer(capsys)
    assert isinstance(found, list) and [row["instance_key"] for row in found] == keys


async def test_keys_are_made_and_revoked_and_the_secret_stands_alone_on_stdout(capsys: Captured) -> None:
    async with running_api() as api:
        make = ("keys", "create", "--name", "crm", "--role", "viewer", "--ip", "127.0.0.0/8")
        assert await run(api, *make) == 0
        secret = printed(capsys)[-1]
        assert await run(api, "instances", "list", "--json", key=secret) == 0
        assert answer(capsys) == []
        assert await run(api, "keys", "list", "--json") == 0
        listed = answer(capsys)
        assert isinstance(listed, list) and secret not in str(listed)
        (made,) = [key for key in listed if key["name"] == "crm"]
        assert await run(api, "keys", "revoke", made["key_id"]) == 0
        assert await run(api, "instances", "list", key=secret) == 4
        capsys.readouterr()
        assert await run(api, "audit", "--json") == 0
        trail = answer(capsys)
        assert isinstance(trail, list) and [row["action"] for row in trail] == ["DELETE /keys/{key_id}", "POST /keys"]


@pytest.mark.parametrize(
    ("arguments", "key", "status"),
    [
        (("instances", "show", "0" * 32), API_KEY, 5),
        (("instances", "list"), "wrong", 4),
        (("instances", "list"), "", 4),
        (("instances", "list", "--state", "made up"), API_KEY, 1),
        (("instances", "create", "--metadata", "{"), API_KEY, 2),
        (("send", "4915100000001", "", "--instance", "0" * 32), API_KEY, 2),
        (("instances", "list", "--url", "ftp://127.0.0.1"), API_KEY, 2),
    ],
)
async def test_an_exit_status_says_what_went_wrong(
    arguments: Sequence[str], key: str, status: int, capsys: Captured
) -> None:
    async with running_api() as api:
        assert await run(api, *arguments, key=key) == status
        assert capsys.readouterr().err.startswith("bridge: ")


async def test_where_nobody_answers_the_sentence_says_what_to_set(capsys: Captured) -> None:
    async with running_api() as api:
        url = api.bound.url
    assert await trio.to_thread.run_sync(cli.main, ("instances", "list", "--url", url)) == 3
    assert "set BRIDGE_URL or --url" in capsys.readouterr().err


async def test_an_error_is_json_too_when_json_is_asked_for(capsys: Captured) -> None:
    async with running_api() as api:
        assert await run(api, "instances", "show", "0" * 32, "--json") == 5
        problem = answer(capsys)
    assert isinstance(problem, dict) and problem["code"] == "unknown_instance"


@pytest.mark.parametrize(("outcome", "status"), [("sent", 0), ("unknown", 7), ("failed", 1)])
async def test_a_text_is_sent_and_an_unknown_outcome_has_a_status_of_its_own(
    outcome: str, status: int, capsys: Captured
) -> None:
    async with running_api() as api:
        key = api.add(state="online")
        api.directory.outcome = outcome
        assert await run(api, "send", "4915100000001", "hello", "--instance", key, "--json") == status
        shown = answer(capsys)
        assert isinstance(shown, dict) and shown.get("status", shown.get("code")) in {outcome, f"send_{outcome}"}


async def test_pairing_draws_each_code_and_ends_when_the_phone_is_there(capsys: Captured) -> None:
    async with running_api() as api:
        async with trio.open_nursery() as nursery:
            statuses: list[int] = []

            async def pair() -> None:
                statuses.append(await run(api, "pair", "--name", "desk", "--json"))

            nursery.start_soon(pair)
            with trio.fail_after(20):
                await eventually(lambda: api.directory.qr_code is not None)
                first = api.directory.qr_code
                api.directory.qr_code = replace(first, code="2@second", attempt=2)
                lines: list[str] = []
                while '"2@second"' not in "".join(lines):
                    lines += printed(capsys)
                    await trio.sleep(0.05)
                (key,) = api.store.rows
                api.store.rows[key] = replace(api.store.rows[key], state="online", jid="4915100000001:1@s.whatsapp.net")
        lines += printed(capsys)
    assert statuses == [0]
    events = [json.loads(line)["event"] for line in lines]
    assert (events[0], events[-1]) == ("created", "paired") and "qr" in events


async def test_a_phone_is_paired_by_a_code_that_is_typed(capsys: Captured) -> None:
    async with running_api() as api:
        key = api.add(state="awaiting_pairing")
        assert await run(api, "pair", key, "--phone", "4915100000001", "--timeout", "0") == 6
        out = printed(capsys)
        assert len(api.directory.pair_codes) == 1 and "-" in out[0]


async def test_a_code_that_nobody_scans_is_given_up(capsys: Captured) -> None:
    async with running_api() as api:
        key = api.add()
        assert await run(api, "pair", key, "--timeout", "0") == 6
        assert "Nobody scanned" in capsys.readouterr().err
        api.store.rows[key] = replace(api.store.rows[key], state="online", jid="4915100000001:1@s.whatsapp.net")
        assert await run(api, "pair", key) == 0


def test_a_drawn_code_is_read_back() -> None:
    import segno

    from bridge.commands.pair import drawn

    marks = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    text = drawn("2@code").replace("\x1b[97;40m", "").replace("\x1b[0m", "")
    rows = []
    for line in text.split("\n"):
        rows += [[marks[mark][half] for mark in line] for half in (0, 1)]
    wanted = [list(row) for row in segno.make("2@code", error="l", micro=False).matrix_iter(border=2)]
    assert rows[: len(wanted)] == wanted


async def test_what_a_stranger_named_moves_no_cursor(capsys: Captured) -> None:
    async with running_api() as api:
        api.add(name="\x1b[2Jevil\r\nrow")
        assert await run(api, "instances", "list") == 0
        out = "\n".join(printed(capsys))
    assert "\x1b" not in out and "evil" in out and len(out.splitlines()) == 2


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, bridge.cli; bridge.cli.parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"trio", "psycopg", "quart", "neonize", "msgspec", "pydantic", "pydantic_core", "pydantic_settings"}
    assert not (heavy | {"prometheus_client", "bridge.config"}) & set(loaded)


def test_progress_is_for_a_terminal_and_leaves_nothing(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with Progress(as_json=False) as progress:
        progress.show("1 of 2")
    assert capsys.readouterr() == ("", "")  # nobody looks
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(as_json=True) as progress:
        progress.show("1 of 2")
    assert capsys.readouterr().err == ""
    with Progress(as_json=False) as progress:
        progress.show("1 of 2")
    shown = capsys.readouterr()
    assert shown.out == "" and "1 of 2" in shown.err and shown.err.endswith("\r\x1b[K")
