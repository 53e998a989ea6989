"""Handlers in processes of their own: called after storing, in order, again after failures, and never in the way."""

import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
import trio

from receiver import retry
from tests.support import handlers
from tests.support.receiver import SECRET, Running, body_of, process, serving, signed, until

MODULE = "tests.support.handlers"
REPOSITORY = Path(__file__).parents[2]
Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(handlers.FOLDER, str(tmp_path))
    monkeypatch.setattr(retry, "DELAYS_S", (0.01, 0.02, 0.03))
    return tmp_path


@pytest.fixture
def serve(empty_database_url: str, folder: Path) -> Serve:
    """Return what runs a receiver with some of the handlers of `tests.support.handlers`."""

    @asynccontextmanager
    async def served(*names: str, **options: Any) -> AsyncIterator[Running]:
        targets = [name if ":" in name else f"{MODULE}:{name}" for name in names]
        async with serving(empty_database_url, handlers=targets, **options) as running:
            await running.until_ready()
            yield running

    return served


def poison(number: int, *, chat: str = "1@g.us") -> str:
    return json.dumps({**json.loads(body_of(number, chat=chat)), "poison": True})


async def until_called(folder: Path, count: int, **fields: object) -> list[dict[str, object]]:
    """Wait for so many calls with these fields and return them."""

    def found() -> list[dict[str, object]]:
        return [call for call in handlers.calls(folder) if fields.items() <= call.items()]

    async def enough() -> bool:
        await trio.lowlevel.checkpoint()
        return len(found()) >= count

    await until(enough)
    return found()


async def handler(receiver: Running, name: str) -> dict[str, Any]:
    shown = (await receiver.client.get("/handlers")).json()["handlers"]
    return next(one for one in shown if one["name"].endswith(name))


async def until_shown(receiver: Running, name: str, **fields: object) -> dict[str, Any]:
    """Wait until GET /handlers shows these fields of a handler."""
    shown: dict[str, Any] = {}

    async def so() -> bool:
        shown.update(await handler(receiver, name))
        return fields.items() <= shown.items()

    await until(so)
    return shown


async def test_every_handler_is_called_once_with_what_was_stored(serve: Serve, folder: Path) -> None:
    async with serve("note", "note_later") as receiver:
        for number in (1, 2, 2, 3):
            await receiver.post(number)
        await until_shown(receiver, ":note", pending=0)
        await until_shown(receiver, ":note_later", pending=0)
        found = handlers.calls(folder)
        assert sorted(str(call["id"]) for call in found) == ["evt_1", "evt_1", "evt_2", "evt_2", "evt_3", "evt_3"]
        assert {call["text"] for call in found} == {"grüß dich  \U0001f44b"}
        assert len({call["pid"] for call in found} | {os.getpid()}) == 3, "each has a process of its own"
        assert (await handler(receiver, ":note"))["results"]["ok"] == 3


async def test_a_handler_sees_none_of_the_receivers_settings(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", "postgresql://secret")
    async with serve("note") as receiver:
        await receiver.post(1)
        [call] = await until_called(folder, 1)
    assert call["settings"] == []


async def test_answers_take_less_than_50_ms_whatever_handlers_do(serve: Serve, folder: Path) -> None:
    async with serve("hang", "compute", "block") as receiver:
        await receiver.post(1)
        await until_called(folder, 3)  # all three are at it now
        took = []
        for number in range(2, 62):
            body = body_of(number)
            headers = signed(f"evt_{number}", body)
            began = time.perf_counter()
            answer = await receiver.post(number, body=body, headers=headers)
            took.append(time.perf_counter() - began)
            assert answer.json() == {"status": "stored"}
        print(f"\nanswers beside handlers that hang: {median(took) * 1000:.1f} ms, {max(took) * 1000:.1f} ms at most")
        assert median(took) < 0.05


async def test_what_keeps_failing_is_parked_shown_and_taken_up_again_by_a_call(serve: Serve, folder: Path) -> None:
    async with serve("fail") as receiver:
        await receiver.post(1, body=poison(1))
        await receiver.post(2, body=body_of(2, chat="1@g.us"))
        shown = await until_shown(receiver, ":fail", parked=1, pending=0)
        assert shown["results"] == {"ok": 1, "failed": 3, "parked": 1, "interrupted": 0}
        assert [call["id"] for call in handlers.calls(folder)] == ["evt_2"], "its chat went on"
        [run] = (await receiver.client.get("/runs", params={"handler": f"{MODULE}:fail"})).json()["runs"]
        assert (run["webhook_id"], run["attempts"], run["parked"]) == ("evt_1", 4, True)
        assert run["error"] == "ValueError: cannot do evt_1"

        (folder / "mended").touch()
        for body, count in (({"webhook_id": "evt_2"}, 0), ({}, 1), ({}, 0)):
            answer = await receiver.client.post("/runs/retry", json={"handler": f"{MODULE}:fail", **body})
            assert (answer.status_code, answer.json()) == (200, {"status": "retrying", "count": count})
        await until_shown(receiver, ":fail", parked=0, pending=0)
        assert [call["id"] for call in handlers.calls(folder)] == ["evt_2", "evt_1"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", {"handler": f"{MODULE}:fail"}, 400, "bad_retry"),
        ("application/json", {}, 400, "bad_retry"),
        ("application/json", {"handler": f"{MODULE}:fail", "more": 1}, 400, "bad_retry"),
        ("application/json", {"handler": "nobody"}, 404, "handler_not_found"),
    ],
)
async def test_a_retry_that_is_not_understood_is_refused(
    serve: Serve, content_type: str, body: dict[str, object], status: int, code: str
) -> None:
    async with serve("fail") as receiver:
        answer = await receiver.client.post(
            "/runs/retry", content=json.dumps(body), headers={"content-type": content_type}
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_chat_waits_for_its_failed_event_and_other_chats_do_not(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "DELAYS_S", (0.01,) * 10_000)
    async with serve("fail") as receiver:
        await receiver.post(1, body=poison(1))
        for number in (2, 3):
            await receiver.post(number, body=body_of(number, chat="1@g.us"))
            await receiver.post(number + 10, body=body_of(number + 10, chat="2@g.us"))
        await until_called(folder, 2)
        assert [call["id"] for call in handlers.calls(folder)] == ["evt_12", "evt_13"]
        (folder / "mended").touch()
        await until_called(folder, 5)
        assert [call["id"] for call in handlers.calls(folder)][2:] == ["evt_1", "evt_2", "evt_3"]


async def test_several_chats_are_handled_at_once_and_each_in_its_order(serve: Serve, folder: Path) -> None:
    async with serve("wait") as receiver:
        for chat in range(3):
            await receiver.post(chat * 10, body=poison(chat * 10, chat=f"{chat}@g.us"))
            await receiver.post(chat * 10 + 1, body=body_of(chat * 10 + 1, chat=f"{chat}@g.us"))
        await until_called(folder, 3, began=True)
        (folder / "go").touch()
        await until_called(folder, 6, ended=True)
    for chat in range(3):
        found = [call for call in handlers.calls(folder) if call["chat"] == f"{chat}@g.us"]
        assert [call["seq"] for call in found] == [chat * 10] * 2 + [chat * 10 + 1] * 2


async def test_a_call_that_takes_too_long_fails_and_those_beside_it_are_repeated_uncharged(
    serve: Serve, folder: Path
) -> None:
    async with serve("wait", handler_timeout_s=1.5) as receiver:
        await receiver.post(1, body=poison(1, chat="slow@g.us"))
        await until_called(folder, 1, began=True)
        await trio.sleep(0.7)  # the second has time left when the first has none
        await receiver.post(2, body=poison(2, chat="beside@g.us"))
        beside = await until_called(folder, 2, id="evt_2", began=True)
        assert [call["attempt"] for call in beside] == [1, 1]
        (folder / "go").touch()
        shown = await until_shown(receiver, ":wait", pending=0)
        assert shown["results"]["interrupted"] >= 1
        assert shown["starts"] >= 2


async def test_a_handler_that_kills_its_process_is_called_again_in_a_new_one(serve: Serve, folder: Path) -> None:
    async with serve("crash") as receiver:
        await receiver.post(1)
        await until_shown(receiver, ":crash", pending=0)
        first, second = handlers.calls(folder)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["pid"] != second["pid"]


@pytest.mark.parametrize("target", ["tests.support.broken_handlers:note", f"{MODULE}:nothing", f"{MODULE}:FOLDER"])
async def test_a_handler_that_cannot_be_loaded_is_shown_and_its_events_wait(serve: Serve, target: str) -> None:
    async with serve(target) as receiver:
        assert (await receiver.post(1)).json() == {"status": "stored"}
        shown = await until_shown(receiver, target, state="not_loaded", pending=1)
        assert "Error: " in shown["error"]
        assert (await receiver.client.get("/health")).json()["status"] == "degraded"
        assert (await receiver.client.get("/readyz")).status_code == 200


async def test_of_two_receivers_on_a_database_one_calls_and_the_other_takes_over(serve: Serve, folder: Path) -> None:
    async with serve("note") as second:
        await until_shown(second, ":note", state="up")
        async with serve("note") as first:
            await until_shown(first, ":note", state="standing_by")
            await second.post(1)
            await until_called(folder, 1)
            second.stop.set()
            await until_shown(first, ":note", state="up")
            await first.post(2)
            await until_called(folder, 2)
    assert [call["id"] for call in handlers.calls(folder)] == ["evt_1", "evt_2"]


async def test_a_call_that_has_begun_is_recorded_before_the_end(
    serve: Serve, folder: Path, empty_database_url: str
) -> None:
    async with serve("wait") as receiver:
        await receiver.post(1, body=poison(1))
        await until_called(folder, 1, began=True)
        receiver.stop.set()
        (folder / "go").touch()
        await until_called(folder, 1, ended=True)
        await until(partial(no_runs, empty_database_url))


async def no_runs(url: str) -> bool:
    await trio.lowlevel.checkpoint()
    with psycopg.connect(url) as database:
        return database.execute("select from receiver.run").fetchone() is None


async def test_a_kill_in_the_middle_of_a_call_repeats_it_and_leaves_no_process(
    empty_database_url: str, folder: Path
) -> None:
    env = {
        "RECEIVER_DATABASE_URL": empty_database_url,
        "RECEIVER_SECRET": SECRET,
        "RECEIVER_HANDLERS": f"{MODULE}:wait",
        "PYTHONPATH": str(REPOSITORY),
    }
    body = poison(1)
    async with trio.open_nursery():
        with process(env=env) as receiver:
            await post(receiver.url, body)
            [first] = await until_called(folder, 1, began=True)
            receiver.popen.kill()
        await until(partial(is_gone, int(str(first["pid"]))))
        (folder / "go").touch()
        with process(env=env):
            await until_called(folder, 1, ended=True)
            await until(partial(no_runs, empty_database_url))
    assert [call["attempt"] for call in handlers.calls(folder) if call.get("began")] == [1, 1]


async def post(url: str, body: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, content=body.encode(), headers=signed("evt_1", body))
    assert answer.status_code == 200


async def is_gone(pid: int) -> bool:
    await trio.lowlevel.checkpoint()
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
