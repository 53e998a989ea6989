"""Errors: JSON for every status, words for the caller, nothing of the inside, nothing written."""

import json

import httpx2
import pytest
import trio
import trio.testing

from bridge.api.context import Limits
from bridge.errors import BridgeError
from bridge.store.errors import StoreUnavailable
from tests.support.api import API_KEY, DEADLINE_S, Api, eventually, running_api

HEAD = f"POST /instance/create HTTP/1.1\r\nHost: x\r\nX-Api-Key: {API_KEY}\r\nContent-Type: application/json\r\n"


def is_problem(answer: httpx2.Response) -> dict[str, object]:
    """Check the form of an error and return it."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(problem) == {"error", "code", "retryable", "details", "request_id"}
    assert isinstance(problem["error"], str)
    assert len(problem["error"]) > 20
    assert isinstance(problem["retryable"], bool)
    assert problem["request_id"] == answer.headers["x-request-id"]
    return dict(problem)


async def test_an_unknown_path_is_404_with_and_without_a_key() -> None:
    async with running_api() as api:
        for path in ("/", "/nothing", "/instance", "/message/send/", "//instances", "/instance/a/b/c", "/static/x"):
            for key in (API_KEY, ""):
                answer = await api.client.get(path, headers={"X-Api-Key": key})
                assert answer.status_code == 404, path
                assert is_problem(answer)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/message/send", {"POST"}),
        ("PUT", "/instances", {"GET", "HEAD"}),
        ("OPTIONS", "/instances", {"GET", "HEAD"}),
        ("PUT", f"/instance/{'0' * 32}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", "/livez", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_are_right(method: str, path: str, allowed: set[str]) -> None:
    async with running_api() as api:
        answer = await api.client.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    is_problem(answer)


@pytest.mark.parametrize("raw", [b"{", b"{'a':1}", b"\xff\xfe", b'{"name":"\\ud800"}', b'{"name":"\\u0000"}', b"{} {}"])
async def test_malformed_json_is_400(raw: bytes) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert is_problem(answer)["code"] == "malformed_json"
        assert not api.store.rows


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml"])
async def test_a_body_that_does_not_say_it_is_json_is_415(kind: str) -> None:
    async with running_api() as api:
        answer = await api.client.post("/instance/create", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415
        is_problem(answer)
        assert not api.store.rows


async def test_a_body_of_5_mb_is_413_and_its_sender_can_read_that() -> None:
    async with running_api() as api:
        for path in ("/message/send", "/instance/create"):
            for _ in range(3):
                answer = await api.client.post(path, content=b"x" * 5_000_000)
                assert answer.status_code == 413
                assert is_problem(answer)["details"] == {"max_bytes": 1_048_576}
        assert not api.store.rows


async def test_a_body_of_unannounced_length_is_counted() -> None:
    async def chunks() -> object:
        for _ in range(80):
            yield b"[" * 65_536

    async with running_api() as api:
        answer = await api.client.post(
            "/instance/create", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        is_problem(answer)
        assert (await api.client.get("/livez")).status_code == 200


async def test_a_body_at_the_limit_is_read() -> None:
    async with running_api(limits=Limits(body_bytes=1_000)) as api:
        fits = b'{"name":"a"}'.ljust(1_000)
        answers = [
            await api.client.post("/instance/create", content=raw, headers={"Content-Type": "application/json"})
            for raw in (fits, fits + b" ")
        ]
    assert [answer.status_code for answer in answers] == [200, 413]


async def test_a_body_that_does_not_arrive_in_time_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.edge.LINGER_S", 0.1)
    async with running_api(limits=Limits(body_s=0.1)) as api:
        raw = await api.raw(f"{HEAD}Content-Length: 10\r\n\r\n{{".encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b" 408 " in head
    assert json.loads(body)["code"] == "request_timeout"


async def test_a_refused_caller_that_is_still_sending_can_read_why() -> None:
    async with running_api() as api:
        for path, headers, status in (
            ("/nothing", {}, 404),
            ("/instance/create", {"X-Api-Key": "wrong"}, 401),
            ("/livez", {}, 405),
            ("/instance/create", {"Content-Type": "text/xml"}, 413),
        ):
            answer = await api.client.post(path, content=b"x" * 3_000_000, headers=headers)
            assert answer.status_code == status
            is_problem(answer)


CRASHES = (
    RuntimeError("secret"),
    ExceptionGroup("secret", [KeyError("secret")]),
    BridgeError("secret", path="secret"),
)


@pytest.mark.parametrize("failure", CRASHES)
async def test_a_crash_is_500_and_tells_nothing_of_the_inside(failure: Exception) -> None:
    async with running_api() as api:
        api.directory.failure = failure
        answer = await api.client.post("/instance/create")
        assert answer.status_code == 500
        problem = is_problem(answer)
        assert problem["code"] == "internal"
        assert "secret" not in answer.text
        api.directory.failure = None
        assert (await api.client.post("/instance/create")).status_code == 200


async def test_a_store_that_does_not_answer_is_503_with_a_time_to_retry() -> None:
    async with running_api() as api:
        api.store.broken = StoreUnavailable()
        answer = await api.client.get("/instances")
    assert answer.status_code == 503
    assert is_problem(answer)["retryable"] is True
    assert int(answer.headers["retry-after"]) >= 1


async def test_too_many_requests_at_once_are_503_but_probes_answer() -> None:
    async with running_api(limits=Limits(in_flight=3)) as api:
        api.directory.hold = trio.Event()
        statuses: list[int] = []

        async def create() -> None:
            statuses.append((await api.client.post("/instance/create")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(create)
            await eventually(lambda: api.directory.calls == 3)
            answer = await api.client.get("/instances")
            assert answer.status_code == 503
            assert is_problem(answer)["code"] == "overloaded"
            assert (await api.client.get("/livez")).status_code == 200
            api.directory.hold.set()
        assert statuses == [200] * 3
        assert (await api.client.get("/instances")).status_code == 200


@pytest.mark.parametrize("head", [b"GET ?x HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"OPTIONS * HTTP/1.1"])
async def test_a_target_that_is_no_path_is_refused_in_json(head: bytes) -> None:
    async with running_api() as api:
        raw = await api.raw(head + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.split()[1] in {b"400", b"404", b"405"}
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]


async def test_a_proxys_absolute_target_is_read_as_its_path() -> None:
    async with running_api() as api:
        raw = await api.raw(b"GET http://bridge/livez HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200")


async def request_id(api: Api, given: str | None) -> str:
    headers = {"X-Request-Id": given} if given is not None else {}
    return str((await api.client.get("/livez", headers=headers)).headers["x-request-id"])


async def test_a_request_id_goes_through_and_one_is_made_where_none_usable_came() -> None:
    async with running_api() as api:
        assert await request_id(api, "abc-1.2:3_x") == "abc-1.2:3_x"
        for given in (None, "", "a b", "x" * 129, "<script>"):
            assert (await request_id(api, given)).startswith("req_")
        assert await request_id(api, None) != await request_id(api, None)


async def test_a_connection_outlives_an_early_answer_until_its_body_has_come() -> None:
    async with running_api() as api, await trio.open_tcp_stream("127.0.0.1", api.bound.port) as stream:
        with trio.fail_after(DEADLINE_S):
            await stream.send_all(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
            await trio.lowlevel.wait_readable(stream.socket)
            await trio.testing.wait_all_tasks_blocked(0.05)
            for _ in range(20):
                await stream.send_all(b"x" * 100_000)
            received = b""
            while b'"request_id"' not in received:
                received += await stream.receive_some(65_536)
            await stream.send_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 200")
    assert received.startswith(b"HTTP/1.1 404")
