"""Groups, and calls that ring, over the API, with the real engine and the sandbox as WhatsApp: what the others' phones
see of each call, what comes back of what they do, and every refusal. One bridge for all of it, because a start costs
more than the calls.
"""

from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.stack import Stack, running_stack, until

pytestmark = pytest.mark.engine

OWNER, MEMBER = "4915100000001", "4915100000002"
ANN, BEA, SHY = "4915100000003", "4915100000004", "4915100000005"
LONG, SHORT = "5511987654321", "551187654321"
NOBODY = "4915199999999"


async def refused(stack: Stack, method: str, path: str, **body: Any) -> tuple[int, str]:
    answer = await stack.api.request(method, path, json=body or None)
    return answer.status_code, answer.json()["code"]


async def shown(stack: Stack, group: str) -> dict[str, Any]:
    """Return the group as it is at WhatsApp."""
    async with httpx2.AsyncClient(base_url=stack.ready["sandbox"], trust_env=False) as sandbox:
        found: dict[str, Any] = (await sandbox.get(f"/groups/{group}")).raise_for_status().json()
    return found


async def roles(stack: Stack, group: str) -> dict[str, str]:
    return {member["phone"]: member["role"] for member in (await shown(stack, group))["members"]}


async def told(stack: Stack, key: str, group: str, kind: str, change: str) -> bool:
    """Say whether an instance's event of this kind told that change of the group."""
    events = [one["body"] for one in await stack.received(type=kind)]
    mine = [one["data"] for one in events if one["instance"] == key and one["data"]["group_id"] == group]
    return any(change in one or change in one.get("changes", ()) for one in mine)


def outcomes(answer: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one["participant"], one["status"], one["error"]) for one in answer["results"]]


async def test_groups_from_the_first_call_to_the_last(tmp_path: Path) -> None:
    async with running_stack(tmp_path / "data") as stack:
        for phone, name in ((ANN, "Ann"), (BEA, "Bea"), (SHY, "Shy"), (SHORT, "Caio")):
            await stack.sandbox.create_phone(phone, name)
        await stack.sandbox.change_profile(SHY, privacy={"groupadd": "none"})
        keys = await stack.pair_all((OWNER, MEMBER))
        owner, member = keys[OWNER], keys[MEMBER]
        await reject_call(stack, owner)
        group = await make(stack, owner)
        await change(stack, owner, member, group)
        await change_members(stack, owner, group)
        await invite(stack, owner, member, group)
        await ask_to_join(stack, owner, member, group)
        await refuse_members(stack, member, group)
        await leave(stack, owner, member, group)
        await refuse_strangers(stack, member, group)


async def reject_call(stack: Stack, owner: str) -> None:
    """Reject a call as the event names it: by the caller's number, and by the LID."""

    async def offered(call_id: str) -> bool:
        return any(one["body"]["data"]["call_id"] == call_id for one in await stack.received(type="call.offer"))

    async def rejected(call_id: str) -> bool:
        moments = [one for one in await stack.sandbox.moments(ANN) if one.call_id == call_id]
        return [(one.kind, one.state, one.sender) for one in moments] == [("call", "rejected", OWNER)]

    for name in ("from", "lid"):
        call_id = await stack.sandbox.ring(ANN, OWNER)
        await until(partial(offered, call_id))
        told = [one["body"]["data"] for one in await stack.received(type="call.offer")]
        offer = next(one for one in told if one["call_id"] == call_id)
        caller = offer["from"] if name == "from" else offer["sender"]["lid"]
        body = {"instance_key": owner, "call_id": call_id, "from": caller}
        assert (await stack.call("POST", "/call/reject", **body))["status"] == "rejected"
        await until(partial(rejected, call_id))


async def make(stack: Stack, owner: str) -> str:
    body = {"subject": "Orders", "participants": ["+49 151-0000 0003", LONG, SHY]}
    unknown = await refused(stack, "POST", f"/group/{owner}", **{**body, "participants": [ANN, NOBODY]})
    assert unknown == (422, "unknown_recipient")
    assert (await stack.call("GET", f"/group/{owner}"))["groups"] == []
    answers = [
        await stack.api.post(f"/group/{owner}", json=body, headers={"Idempotency-Key": "one group"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    made = answers[0].json()
    assert answers[1].json() == made
    group: str = made["group_id"]
    assert (made["subject"], made["own_role"], made["size"]) == ("Orders", "superadmin", 3)
    assert [(one["phone"], one["error"]) for one in made["not_added"]] == [(SHY, "privacy")]
    assert await roles(stack, group) == {OWNER: "superadmin", ANN: "member", SHORT: "member"}
    listed = await stack.call("GET", f"/group/{owner}")
    assert [one["group_id"] for one in listed["groups"]] == [group]
    people = (await stack.call("GET", f"/group/{owner}/{group}"))["participants"]
    assert {(one["phone"], one["role"]) for one in people} == {
        (OWNER, "superadmin"), (ANN, "member"), (SHORT, "member"),
    }  # fmt: skip
    assert all(one["lid"].endswith("@lid") and one["jid"] == f"{one['phone']}@s.whatsapp.net" for one in people)
    return group


async def change(stack: Stack, owner: str, member: str, group: str) -> None:
    body = {"action": "add", "participants": [MEMBER]}
    await stack.call("POST", f"/group/{owner}/{group}/participants", **body)
    await until(partial(told, stack, member, group, "group.update", "joined"))
    changed = await stack.call(
        "PATCH",
        f"/group/{owner}/{group}",
        subject="Orders 2",
        description="What came in",
        announce=True,
        locked=True,
        disappearing_s=86400,
    )
    assert (changed["subject"], changed["description"], changed["disappearing_s"]) == (
        "Orders 2",
        "What came in",
        86400,
    )
    there = await shown(stack, group)
    assert (there["subject"], there["description"], there["announce"], there["locked"], there["expiration_s"]) == (
        "Orders 2", "What came in", True, True, 86400,
    )  # fmt: skip
    for name in ("subject", "description", "announce", "locked"):
        await until(partial(told, stack, member, group, "group.update", name))
    assert await refused(stack, "PATCH", f"/group/{owner}/{group}", subject="x" * 101) == (400, "invalid_field")
    back = await stack.call("PATCH", f"/group/{owner}/{group}", description="", announce=False, disappearing_s=0)
    assert (back["description"], back["announce"], back["locked"], back["disappearing_s"]) == (None, False, True, 0)


async def change_members(stack: Stack, owner: str, group: str) -> None:
    async def ask(action: str, *people: str) -> list[tuple[str, str, str | None]]:
        path = f"/group/{owner}/{group}/participants"
        return outcomes(await stack.call("POST", path, action=action, participants=[*people]))

    assert await ask("add", BEA, NOBODY, ANN, SHY) == [
        (BEA, "added", None),
        (NOBODY, "failed", "unknown_recipient"),
        (ANN, "failed", "already_a_member"),
        (SHY, "failed", "privacy"),
    ]
    people = (await stack.call("GET", f"/group/{owner}/{group}"))["participants"]
    lid = next(one["lid"] for one in people if one["phone"] == ANN)
    assert await ask("promote", lid, LONG, SHY) == [
        (lid, "promoted", None), (LONG, "promoted", None), (SHY, "failed", "not_a_member"),
    ]  # fmt: skip
    assert (await roles(stack, group))[SHORT] == "admin"
    assert await ask("demote", LONG, BEA) == [(LONG, "demoted", None), (BEA, "failed", "refused_406")]
    assert await ask("remove", BEA, OWNER) == [(BEA, "removed", None), (OWNER, "failed", "refused_406")]
    expected = {OWNER: "superadmin", ANN: "admin", SHORT: "member", MEMBER: "member"}
    assert await roles(stack, group) == expected


async def invite(stack: Stack, owner: str, member: str, group: str) -> None:
    link = (await stack.call("GET", f"/group/{owner}/{group}/invite"))["invite_link"]
    assert link == (await shown(stack, group))["invite_link"]
    renewed = (await stack.call("POST", f"/group/{owner}/{group}/invite"))["invite_link"]
    assert renewed == (await shown(stack, group))["invite_link"] != link
    assert (await stack.call("POST", f"/group/{member}/{group}/leave"))["status"] == "left"
    assert MEMBER not in await roles(stack, group)
    join = f"/group/{member}/join"
    assert await refused(stack, "POST", join, invite_link=link) == (422, "invite_invalid")
    assert await refused(stack, "POST", join, invite_link="A" * 22) == (422, "invite_invalid")
    joined = await stack.call("POST", join, invite_link=renewed)
    assert (joined["status"], joined["group_id"], joined["group"]["own_role"]) == ("joined", group, "member")
    assert (await roles(stack, group))[MEMBER] == "member"


async def ask_to_join(stack: Stack, owner: str, member: str, group: str) -> None:
    """Join a group whose admin has to agree; the owner's phone sets it so, because the engine cannot."""
    path, requests = f"/groups/{group}", f"/group/{owner}/{group}/requests"
    await stack.call("POST", f"/group/{member}/{group}/leave")
    link = (await shown(stack, group))["invite_link"]
    async with httpx2.AsyncClient(base_url=stack.ready["sandbox"], trust_env=False) as sandbox:
        (await sandbox.patch(path, json={"phone": OWNER, "approval": True})).raise_for_status()
        assert (await stack.call("GET", requests))["requests"] == []
        asked = await stack.call("POST", f"/group/{member}/join", invite_link=link)
        assert asked == {"status": "requested", "group_id": group, "group": None}
        (waiting,) = (await stack.call("GET", requests))["requests"]
        assert (waiting["phone"], waiting["lid"].endswith("@lid"), waiting["requested_at"] > 0) == (MEMBER, True, True)
        (await sandbox.patch(path, json={"phone": OWNER, "approval": False})).raise_for_status()
    added = {"action": "add", "participants": [MEMBER]}
    assert outcomes(await stack.call("POST", f"/group/{owner}/{group}/participants", **added)) == [
        (MEMBER, "added", None)
    ]
    assert (await stack.call("GET", requests))["requests"] == []


async def refuse_members(stack: Stack, member: str, group: str) -> None:
    """Refuse what only admins may; the group is locked."""
    before = await shown(stack, group)
    path = f"/group/{member}/{group}"
    for method, what, body in (
        ("PATCH", "", {"subject": "mine"}),
        ("PATCH", "", {"description": "mine"}),
        ("PATCH", "", {"subject": "mine", "announce": True}),
        ("PATCH", "", {"disappearing_s": 604800}),
        ("POST", "/participants", {"action": "remove", "participants": [ANN]}),
        ("GET", "/invite", {}),
        ("POST", "/invite", {}),
        ("GET", "/requests", {}),
    ):
        assert await refused(stack, method, path + what, **body) == (403, "not_group_admin"), (method, what, body)
    assert await shown(stack, group) == before


async def leave(stack: Stack, owner: str, member: str, group: str) -> None:
    assert (await stack.call("POST", f"/group/{member}/{group}/leave"))["group_id"] == group
    assert MEMBER not in await roles(stack, group)
    await until(partial(told, stack, owner, group, "group.participants", "removed"))


async def refuse_strangers(stack: Stack, member: str, group: str) -> None:
    """Refuse everything about a group that the instance is not in, and about one that there is not."""
    people = {"action": "add", "participants": [ANN]}
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("GET", "", {}),
        ("PATCH", "", {"subject": "mine"}),
        ("PATCH", "", {"description": "mine"}),
        ("PATCH", "", {"locked": False}),
        ("POST", "/participants", people),
        ("GET", "/invite", {}),
        ("POST", "/invite", {}),
        ("GET", "/requests", {}),
        ("POST", "/leave", {}),
    )
    for method, what, body in calls:
        asked = (method, what, body)
        assert await refused(stack, method, f"/group/{member}/{group}{what}", **body) == (403, "not_in_group"), asked
        unknown = f"/group/{member}/120363999999999999@g.us{what}"
        assert await refused(stack, method, unknown, **body) == (404, "unknown_group"), asked
