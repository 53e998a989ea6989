"""Logging: one stream, one form, whoever writes the line; ids in it, and nothing that is secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bridge import logs
from tests.support.api import API_KEY, running_api

Lines = pytest.CaptureFixture[str]


@pytest.fixture
def lines(capsys: Lines) -> Iterator[Lines]:
    """Return what has the log lines as its stderr."""
    yield capsys
    structlog.contextvars.clear_contextvars()


def configure(**options: str) -> None:
    """Configure logging for this test alone: loggers of modules would keep its stderr when that is closed."""
    logs.configure(**options)
    structlog.configure(cache_logger_on_first_use=False)


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_libraries_and_ours_have_one_form(lines: Lines) -> None:
    configure(level="info", style="json")
    structlog.contextvars.bind_contextvars(request_id="req_1")
    structlog.get_logger().info("instance.online", instance="k")
    for name in ("hypercorn.error", "quart.app", "trio", "somebody.else"):
        logging.getLogger(name).warning("it %s", "happened", extra={"peer": "x"})
    logging.getLogger("hypercorn.access").info("GET /")
    logging.getLogger("somebody.else").debug("noise")
    own, *theirs = read(lines.readouterr().err)
    assert own["event"] == "instance.online" and own["instance"] == "k"
    assert [line["event"] for line in theirs] == ["it happened"] * 4
    for line in (own, *theirs):
        assert line["request_id"] == "req_1" and line["level"] in {"info", "warning"} and line["timestamp"]
    assert theirs[0]["peer"] == "x"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_crash_shows_where_it_was_and_no_value_of_a_variable(lines: Lines, style: str) -> None:
    configure(style=style)

    def crash() -> None:
        password = "hunter2" + "-in-a-variable"
        raise RuntimeError("broken" if password else "")

    try:
        crash()
    except RuntimeError:
        structlog.get_logger().error("it.crashed", exc_info=True)
        logging.getLogger("quart.app").exception("it crashed")
    shown = lines.readouterr().err
    assert shown.count("RuntimeError: broken") == 2 and "test_logs.py" in shown
    assert "hunter2-in-a-variable" not in shown


def test_a_terminal_gets_lines_for_people(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    configure(style="auto")
    structlog.get_logger().info("instance.online", instance="k")
    shown = lines.readouterr().err
    assert "instance.online" in shown and not shown.startswith("{")


async def test_a_request_leaves_one_debug_line_with_ids_and_without_secrets(lines: Lines) -> None:
    configure(level="debug", style="json")
    async with running_api() as api:
        key = api.add(state="online")
        body = {"instance_key": key, "to": "4915100000001", "message": "a secret text"}
        sent = await api.client.post("/message/send?x=1", json=body, headers={"X-Request-Id": "my-7"})
        assert sent.status_code == 200
    shown = lines.readouterr().err
    found = [line for line in read(shown) if line.get("request_id") == "my-7"]
    (request,) = [line for line in found if line["event"] == "http.request"]
    assert (request["level"], request["method"], request["path"], request["status"]) == (
        *("debug", "POST", "/message/send", 200),
    )
    assert request["key_id"].startswith("key_") and request["instance"] == key and request["taken_ms"] >= 0
    assert all(line["level"] == "debug" for line in found)  # nothing per message above debug
    for secret in (API_KEY, "a secret text", "4915100000001"):
        assert secret not in shown


async def test_what_is_not_built_yet_is_no_failure_of_ours(lines: Lines) -> None:
    configure(level="info", style="json")
    async with running_api() as api:
        key = api.add(state="online")
        assert (await api.client.post(f"/instance/{key}/passkey")).status_code == 501
    told = [line["event"] for line in read(lines.readouterr().err)]
    assert "audit" in told and "http.request_failed" not in told


def test_a_logger_outlives_the_stream_that_was_stderr_at_its_first_line(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    logs.configure(style="json")
    log = structlog.get_logger()
    log.info("one")
    logging.getLogger("hypercorn.error").warning("two")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    log.info("three")
    logging.getLogger("hypercorn.error").warning("four")
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["three", "four"]
