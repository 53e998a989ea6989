"""Pairing by code, unlinking, and how alive a connection is: our calls beside the original's QR code."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.domain.ids import InstanceKey
from bridge.store.instance_log import LogRow
from tests.support.api import Api, running_api
from tests.support.directory import PairCode, Progress, QrCode, Watch


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


# --- following a pairing ----------------------------------------------------------------------------------------------


async def test_a_pairing_is_followed_until_it_is_over() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    first, second = QrCode("2@a", 1, at), QrCode("2@b", 2, at)
    async with running_api() as api:
        key = await created(api)
        code = PairCode("ABCD-1234", at)
        api.directory.watch = Watch(
            [
                Progress(qr=first),
                Progress(qr=first),
                Progress(qr=first, code=code),
                Progress(qr=second, code=code),
                Progress("connecting", "paired", paired=True, over=True),
            ]
        )
        answer = await api.client.get(f"/instance/{key}/qr/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    told = [part.split("\n") for part in answer.text.split("\n\n") if part.startswith("event:")]
    assert [name for name, _ in told] == ["event: qr", "event: code", "event: qr", "event: paired"]
    assert json.loads(told[0][1].removeprefix("data: ")) == {
        "code": "2@a", "attempt": 1, "expires_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    assert json.loads(told[3][1].removeprefix("data: ")) == {"state": "connecting", "reason": "paired"}
    assert ": still here" in answer.text


async def test_a_pairing_that_nobody_finishes_ends_with_a_timeout() -> None:
    async with running_api() as api:
        key = await created(api)
        api.directory.watch = Watch([Progress("created", "pairing_timeout", over=True)])
        answer = await api.client.get(f"/instance/{key}/qr/stream")
        assert answer.text.split("\n\n")[1].startswith("event: timeout")
        assert (await api.client.get(f"/instance/{'0' * 32}/qr/stream")).status_code == 404


# --- what a caller knows an instance by -------------------------------------------------------------------------------


async def test_what_is_given_of_an_instance_is_changed_and_the_rest_stays() -> None:
    async with running_api() as api:
        key = await created(api)
        body = {"name": "Sales", "external_id": "crm-7", "metadata": {"team": 1}}
        assert (await api.client.patch(f"/instance/{key}", json=body)).status_code == 200
        shown = (await api.client.patch(f"/instance/{key}", json={"name": None})).json()
        assert (shown["name"], shown["external_id"], shown["metadata"]) == (None, "crm-7", {"team": 1})
        assert (await api.client.get(f"/instance/{key}")).json()["external_id"] == "crm-7"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": "x" * 201}, 400, "name"),
        ({"metadata": "x"}, 400, "metadata"),
        ({"metadata": {"a": "x" * 20_000}}, 400, "metadata"),
        ({"settings": {"ignore_groups": True}}, 501, "settings.ignore_groups"),
    ],
)
async def test_a_wrong_change_of_an_instance_changes_nothing(body: dict[str, object], status: int, field: str) -> None:
    async with running_api() as api:
        key = await created(api)
        answer = await api.client.patch(f"/instance/{key}", json={"external_id": "new", **body})
        assert (answer.status_code, answer.json()["details"]) == (status, {"field": field})
        assert api.store.rows[key].external_id is None


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_tells_what_happened_and_how_bad_it_is() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def row(seq: int, state: str) -> LogRow:
        return LogRow(seq, "connection.update", json.dumps({"data": {"state": state}}), at)

    async with running_api() as api:
        key = await created(api)
        api.store.log.entries = [row(9, "failed"), row(5, "stale"), row(2, "online")]
        shown = (await api.client.get(f"/instance/{key}/log")).json()["entries"]
        bad = (await api.client.get(f"/instance/{key}/log?level=warning&limit=7&cursor=3")).json()["entries"]
        wrong = await api.client.get(f"/instance/{key}/log?level=loud")
    assert [(one["seq"], one["level"]) for one in shown] == [(9, "error"), (5, "warning"), (2, "info")]
    assert shown[0] | {"at": None} == {
        "at": None, "level": "error", "event": "connection.update", "seq": 9, "detail": {"state": "failed"},
    }  # fmt: skip
    assert [one["seq"] for one in bad] == [9, 5]
    assert api.store.log.asked == [(0, 100, None), (0, 7, "3")]
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "level"})
