"""Who may change what in a group: every change against every role."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.sandbox.accounts import Account
from bridge.sandbox.group_changes import CHANGES, Asked, GroupRefused, change
from bridge.sandbox.group_notices import carry_out
from bridge.sandbox.groups import Group
from bridge.sandbox.phone import NotAllowed
from bridge.sandbox.state import State
from bridge.sandbox.world import World

OWNER, ADMIN, MEMBER, STRANGER = "4915100000001", "4915100000002", "4915100000003", "4915100000004"
SETTINGS = ("subject", "description", "picture", "ephemeral", "add")
ADMINS_ONLY = ("announce", "locked", "invite", "remove", "promote", "demote")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State(tmp_path / "sandbox.db")
    world = World.load(state)
    for number in (OWNER, ADMIN, MEMBER, STRANGER):
        world.phones.create(number, None)
    yield world
    state.close()


@pytest.fixture
def group(world: World) -> Group:
    made = world.groups.create(_who(world, OWNER), "Team", [_who(world, ADMIN), _who(world, MEMBER)])
    change(world.groups, made, "promote", Asked(_who(world, OWNER), accounts=[_who(world, ADMIN)]))
    return made


def _who(world: World, number: str) -> Account:
    return world.accounts.by_phone(number)


def _try(world: World, group: Group, name: str, number: str) -> int:
    """Return 0, or the code of the refusal."""
    try:
        change(world.groups, group, name, Asked(_who(world, number), text="text", seconds=1))
    except GroupRefused as refused:
        return refused.wire
    return 0


@pytest.mark.parametrize("name", [*SETTINGS, *ADMINS_ONLY, "leave"])
def test_who_is_no_member_changes_nothing(world: World, group: Group, name: str) -> None:
    assert _try(world, group, name, STRANGER) == 403


@pytest.mark.parametrize("name", ADMINS_ONLY)
def test_some_changes_are_for_admins(world: World, group: Group, name: str) -> None:
    assert _try(world, group, name, MEMBER) == CHANGES[name].refusal
    assert _try(world, group, name, ADMIN) == 0


@pytest.mark.parametrize("name", SETTINGS)
def test_others_only_where_the_group_is_locked(world: World, group: Group, name: str) -> None:
    assert _try(world, group, name, MEMBER) == 0
    change(world.groups, group, "locked", Asked(_who(world, OWNER), seconds=1))
    assert _try(world, group, name, MEMBER) == 403
    assert _try(world, group, name, ADMIN) == 0


def test_the_owner_is_neither_removed_nor_demoted(world: World, group: Group) -> None:
    owner = _who(world, OWNER)
    for name in ("remove", "demote"):
        told = change(world.groups, group, name, Asked(_who(world, ADMIN), accounts=[owner]))
        assert (told.notice, told.refused) == (None, {str(owner.lid): 406})
    assert group.members[owner.lid_user] == "superadmin"


def test_when_the_last_admin_leaves_another_member_is_one(world: World, group: Group) -> None:
    for number in (ADMIN, OWNER):
        change(world.groups, group, "leave", Asked(_who(world, number)))
    assert group.members == {_who(world, MEMBER).lid_user: "admin"}


def test_a_group_is_the_same_after_a_restart(world: World, group: Group) -> None:
    change(world.groups, group, "description", Asked(_who(world, OWNER), text="about"))
    change(world.groups, group, "announce", Asked(_who(world, OWNER), seconds=1))
    again = World.load(world.state).groups.find(group.jid)
    assert again is not None
    assert (again.description, again.announce, again.members, again.invite) == (
        "about",
        True,
        group.members,
        group.invite,
    )


def test_in_an_announcement_group_only_admins_send(world: World, group: Group) -> None:
    change(world.groups, group, "announce", Asked(_who(world, OWNER), seconds=1))
    world.phones.send(world.phones.find(ADMIN), str(group.jid), "I may")
    for number in (MEMBER, STRANGER):
        with pytest.raises(NotAllowed):
            world.phones.send(world.phones.find(number), str(group.jid), "may I?")


def test_a_subject_of_no_or_too_many_characters_is_refused(world: World, group: Group) -> None:
    for text in ("", "x" * 101):
        with pytest.raises(GroupRefused) as refused:
            change(world.groups, group, "subject", Asked(_who(world, OWNER), text=text))
        assert refused.value.wire == 406
    assert group.subject == "Team"


def test_who_lets_nobody_add_them_is_refused_by_whoever_asks(world: World, group: Group) -> None:
    shy = _who(world, STRANGER)
    world.profiles.set_privacy(shy, "groupadd", "none")
    told = carry_out(world, group, "add", Asked(_who(world, OWNER), accounts=[shy]))
    assert (told.refused, told.joined, shy.lid_user in group.members) == ({str(shy.lid): 403}, (), False)
    world.profiles.set_privacy(shy, "groupadd", "all")
    assert carry_out(world, group, "add", Asked(_who(world, OWNER), accounts=[shy])).joined == (shy,)
