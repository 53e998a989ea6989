"""A POST that is repeated with its Idempotency-Key is done once and answered the same, whatever it does."""

import httpx2
import pytest
import trio

from bridge.domain.ids import InstanceKey
from bridge.domain.profiles import SetPresence
from bridge.domain.questions import MarkRead, OnWhatsApp, PhoneFound
from bridge.errors import BridgeError
from tests.support.api import Api, eventually, running_api

FOUND = (PhoneFound("4915100000002", False, None),)


async def online(api: Api) -> InstanceKey:
    key = InstanceKey((await api.client.post("/instance/create")).json()["instance_key"])
    api.directory.answers = {SetPresence: None, OnWhatsApp: FOUND, MarkRead: None}
    return key


async def post(api: Api, path: str, key: str = "k1", **body: object) -> httpx2.Response:
    return await api.client.post(path, json=body, headers={"Idempotency-Key": key})


async def test_a_repeat_is_answered_the_same_and_nothing_is_done_again() -> None:
    async with running_api() as api:
        instance = await online(api)
        first = await post(api, "/presence", instance_key=instance, state="available")
        api.directory.answers = {}
        again = await post(api, "/presence", state="available", instance_key=instance)
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert len(api.directory.asked) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/phone/validate", {"phone": "4915100000002"}),
        ("/phone/test-exists", {"phone": "4915100000002"}),
        ("/phone/check", {"phones": ["4915100000002"]}),
        ("/phone/phone-to-lid", {"phone": "4915100000002"}),
        ("/instance/connect", {"wait_s": 0}),
    ],
)
async def test_every_call_without_a_memory_of_its_own_has_this_one(path: str, body: dict[str, object]) -> None:
    async with running_api() as api:
        instance = await online(api)
        first = await post(api, path, instance_key=instance, **body)
        api.directory.failure = BridgeError("It would fail now.")
        again = await post(api, path, instance_key=instance, **body)
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


async def test_another_request_under_the_same_key_is_refused_and_another_route_is_another_matter() -> None:
    async with running_api() as api:
        instance = await online(api)
        await post(api, "/presence", instance_key=instance, state="available")
        other = await post(api, "/presence", instance_key=instance, state="unavailable")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        assert (await post(api, "/phone/validate", instance_key=instance, phone="4915100000002")).status_code == 200


async def test_a_repeat_while_the_first_one_runs_is_told_so() -> None:
    async with running_api() as api:
        instance = await online(api)
        hold = api.directory.hold = trio.Event()
        answers: list[httpx2.Response] = []

        async def first() -> None:
            answers.append(await post(api, "/presence", instance_key=instance, state="available"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await eventually(lambda: bool(api.store.replies.kept))
            meanwhile = await post(api, "/presence", instance_key=instance, state="available")
            hold.set()
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "in_progress")
        assert answers[0].status_code == 200


async def test_after_an_error_the_repeat_is_tried_anew() -> None:
    async with running_api() as api:
        instance = await online(api)
        api.directory.failure = BridgeError("Not now.")
        assert (await post(api, "/presence", instance_key=instance, state="available")).status_code >= 500
        assert (await post(api, "/presence", instance_key=instance, state="wrong")).status_code == 400
        api.directory.failure = None
        assert (await post(api, "/presence", instance_key=instance, state="available")).status_code == 200


async def test_a_bad_key_and_a_bad_body_are_refused_as_ever() -> None:
    async with running_api() as api:
        instance = await online(api)
        bad = await post(api, "/presence", key="x" * 256, instance_key=instance, state="available")
        assert (bad.status_code, bad.json()["details"]["field"]) == (400, "Idempotency-Key")
        headers = {"Idempotency-Key": "k", "content-type": "application/json"}
        broken = await api.client.post("/presence", content=b"{", headers=headers)
        assert (broken.status_code, broken.json()["code"]) == (400, "malformed_json")
        large = await api.client.post("/presence", content=b"[" + b"1," * 600_000 + b"1]", headers=headers)
        assert large.status_code == 413
        assert not api.store.replies.kept
