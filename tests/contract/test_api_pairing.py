"""Pairing by code, unlinking, and how alive a connection is: our calls beside the original's QR code."""

from dataclasses import replace

import pytest

from bridge.domain.ids import InstanceKey
from tests.support.api import Api, running_api


async def created(api: Api) -> InstanceKey:
    return InstanceKey((await api.client.post("/instance/create")).json()["instance_key"])


async def online(api: Api) -> InstanceKey:
    key = await created(api)
    api.store.rows[key] = replace(api.store.rows[key], state="online", jid="4915100000001:1@s.whatsapp.net")
    return key


async def test_a_pairing_code_is_shown_with_its_end() -> None:
    async with running_api() as api:
        key = await created(api)
        answer = await api.client.post(f"/instance/{key}/pair-code", json={"phone": "+49 151 0000-0001"})
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["status"], shown["pairing_code"], shown["instance_key"]) == ("awaiting_pairing", "ABCD-1234", key)
        assert shown["expires_at"].endswith("Z")
        assert answer.headers["cache-control"] == "no-store"
        assert api.directory.pair_codes == [(key, "4915100000001", True)]
        await api.client.post(f"/instance/{key}/pair-code", json={"phone": "4915100000001", "show_notification": False})
        assert api.directory.pair_codes[-1] == (key, "4915100000001", False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_field"),
        ({"phone": 5}, "invalid_field"),
        ({"phone": ""}, "invalid_recipient"),
        ({"phone": "123456"}, "invalid_recipient"),
        ({"phone": "0151 000000"}, "invalid_recipient"),
        ({"phone": "123456789012345@lid"}, "invalid_recipient"),
        ({"phone": "4915100000001", "show_notification": "yes"}, "invalid_field"),
    ],
)
async def test_a_number_that_cannot_be_linked_is_refused_before_anybody_is_asked(
    body: dict[str, object], code: str
) -> None:
    async with running_api() as api:
        key = await created(api)
        answer = await api.client.post(f"/instance/{key}/pair-code", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not api.directory.pair_codes


async def test_a_paired_instance_gives_no_code() -> None:
    async with running_api() as api:
        answer = await api.client.post(f"/instance/{await online(api)}/pair-code", json={"phone": "4915100000001"})
        assert (answer.status_code, answer.json()["code"]) == (409, "already_connected")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_passkeys_are_refused_with_what_to_do_instead(method: str) -> None:
    async with running_api() as api:
        answer = await api.client.request(method, f"/instance/{await created(api)}/passkey")
        assert (answer.status_code, answer.json()["code"]) == (501, "not_implemented")
        assert "pairing code" in answer.json()["error"]


async def test_an_instance_is_logged_out_and_can_be_paired_anew() -> None:
    async with running_api() as api:
        key = await online(api)
        answer = await api.client.post(f"/instance/{key}/logout")
        assert (answer.status_code, answer.json()["status"], answer.json()["state"]) == (
            200,
            "logged_out",
            "logged_out",
        )
        again = await api.client.post(f"/instance/{key}/logout")
        assert (again.status_code, again.json()["code"]) == (400, "not_connected")


async def test_the_status_tells_how_long_ago_whatsapp_gave_a_sign_of_life() -> None:
    async with running_api() as api:
        key = await online(api)
        assert (await api.client.get(f"/instance/{key}/status")).json()["keepalive_age_s"] is None
        api.directory.heard[key] = 12.345
        assert (await api.client.get(f"/instance/{key}/status")).json()["keepalive_age_s"] == pytest.approx(12.3)
