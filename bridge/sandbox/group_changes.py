"""What can be changed in a group, by whom, and what the members' clients are told of it.

Every change is a function in the table at the end: it gets the group, who asks, and what for; it refuses or changes the
group, and returns what is to be told. Clients come here by queries, simulated contacts by the control API.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.errors import BridgeError
from bridge.sandbox.accounts import Account
from bridge.sandbox.groups import ADMIN, MEMBER, OWNER, Group, Groups
from bridge.sandbox.nodes import Node
from bridge.sandbox.relay import Attrs, new_message_id, now_text

MAX_SUBJECT: Final = 100
MAX_DESCRIPTION: Final = 2048
MAX_MEMBERS: Final = 1024


class GroupRefused(BridgeError):
    """The group cannot be changed so."""

    code = "group_refused"
    status = 403

    def __init__(self, detail: str, wire: int = 403) -> None:
        """`wire` is the code that a client is told."""
        super().__init__(detail, wire=wire)
        self.wire = wire


class UnknownLink(GroupRefused):
    """The invite link leads to no group."""

    code = "unknown_link"
    status = 404


@dataclass(frozen=True, slots=True)
class Asked:
    """A change of a group. Which fields count depends on the change."""

    actor: Account
    text: str = ""
    id: str = ""
    seconds: int = 0
    accounts: Sequence[Account] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What a change leads to."""

    notice: Node | None = None
    """What members hear, those that have just left included."""
    joined: tuple[Account, ...] = ()
    """Who hears of the group as a whole, because it is new to them."""
    left: tuple[Account, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    """Of those that were named, by LID: who could not be changed, and why."""


def change(groups: Groups, group: Group, name: str, asked: Asked) -> Told:
    """Make a change; raise `GroupRefused` for one that is not allowed or that there is not."""
    kind = CHANGES.get(name)
    if kind is None:
        raise GroupRefused(f"{name!r}, there are: {', '.join(CHANGES)}", wire=501)
    if name != "join" and asked.actor.lid_user not in group.members:
        raise GroupRefused("not a member")
    if kind.admin(group) and not group.is_admin(asked.actor):
        raise GroupRefused("only admins may", wire=kind.refusal)
    told = kind.apply(groups, group, asked)
    groups.save(group)
    return told


def _subject(groups: Groups, group: Group, asked: Asked) -> Told:
    if not asked.text or len(asked.text) > MAX_SUBJECT:
        raise GroupRefused(f"a subject has 1 to {MAX_SUBJECT} characters", wire=406)
    group.subject, group.subject_by, group.subject_at = asked.text, asked.actor.lid_user, now_text()
    by = {"s_o": asked.actor.lid, "s_o_pn": asked.actor.jid}
    return Told(Node("subject", {"subject": group.subject, "s_t": group.subject_at, **by}))


def _description(groups: Groups, group: Group, asked: Asked) -> Told:
    if len(asked.text) > MAX_DESCRIPTION:
        raise GroupRefused(f"a description has at most {MAX_DESCRIPTION} characters", wire=406)
    group.description, group.description_id = asked.text, asked.id or new_message_id()
    group.description_by, group.description_at = asked.actor.lid_user, now_text()
    inside = Node("body", {}, asked.text.encode()) if asked.text else Node("delete")
    return Told(Node("description", {"id": group.description_id}, [inside]))


def _picture(groups: Groups, group: Group, asked: Asked) -> Told:
    group.picture = asked.id
    attrs: Attrs = {"jid": group.jid, "author": asked.actor.lid}
    return Told(Node("set", {**attrs, "id": asked.id}) if asked.id else Node("delete", attrs))


def _announce(groups: Groups, group: Group, asked: Asked) -> Told:
    group.announce = bool(asked.seconds)
    return Told(Node("announcement" if group.announce else "not_announcement", {"v_id": now_text()}))


def _locked(groups: Groups, group: Group, asked: Asked) -> Told:
    group.locked = bool(asked.seconds)
    return Told(Node("locked" if group.locked else "unlocked"))


def _approval(groups: Groups, group: Group, asked: Asked) -> Told:
    """Let who joins by the link wait, or not any more; those who wait go on to. Clients are not told."""
    group.approval = bool(asked.seconds)
    return Told()


def _ephemeral(groups: Groups, group: Group, asked: Asked) -> Told:
    group.expiration_s = asked.seconds
    attrs: Attrs = {"expiration": str(asked.seconds)}
    return Told(Node("ephemeral", attrs) if asked.seconds else Node("not_ephemeral"))


def _invite(groups: Groups, group: Group, asked: Asked) -> Told:
    groups.reset_invite(group)
    return Told(Node("invite", {"code": group.invite}))


def _add(groups: Groups, group: Group, asked: Asked) -> Told:
    refused = {str(account.lid): 409 for account in asked.accounts if account.lid_user in group.members}
    fresh = tuple(account for account in asked.accounts if str(account.lid) not in refused)
    if len(group.members) + len(fresh) > MAX_MEMBERS:
        raise GroupRefused(f"more than {MAX_MEMBERS} members", wire=419)
    for account in fresh:
        group.members[account.lid_user] = MEMBER
        group.requests.pop(account.lid_user, None)
    return Told(_list(groups, "add", fresh), joined=fresh, refused=refused)


def _remove(groups: Groups, group: Group, asked: Asked) -> Told:
    there, refused = _members(group, asked, lambda role: role != OWNER)
    for account in there:
        del group.members[account.lid_user]
    return Told(_list(groups, "remove", there), left=there, refused=refused)


def _promote(groups: Groups, group: Group, asked: Asked) -> Told:
    there, refused = _members(group, asked, lambda role: role == MEMBER)
    group.members.update({account.lid_user: ADMIN for account in there})
    return Told(_list(groups, "promote", there), refused=refused)


def _demote(groups: Groups, group: Group, asked: Asked) -> Told:
    there, refused = _members(group, asked, lambda role: role == ADMIN)
    group.members.update({account.lid_user: MEMBER for account in there})
    return Told(_list(groups, "demote", there), refused=refused)


def _leave(groups: Groups, group: Group, asked: Asked) -> Told:
    """Leave; when the last admin has left, the member of longest standing is one."""
    del group.members[asked.actor.lid_user]
    if group.members and not set(group.members.values()) & {OWNER, ADMIN}:
        group.members[next(iter(group.members))] = ADMIN
    return Told(_list(groups, "remove", (asked.actor,)), left=(asked.actor,))


def _join(groups: Groups, group: Group, asked: Asked) -> Told:
    if asked.actor.lid_user in group.members:
        return Told()
    if len(group.members) >= MAX_MEMBERS:
        raise GroupRefused(f"more than {MAX_MEMBERS} members", wire=419)
    if group.approval:
        group.requests.setdefault(asked.actor.lid_user, now_text())
        return Told()
    group.members[asked.actor.lid_user] = MEMBER
    notice = _list(groups, "add", (asked.actor,))
    return Told(notice and Node("add", {"reason": "invite"}, notice.content), joined=(asked.actor,))


def _members(group: Group, asked: Asked, fits: Callable[[str], bool]) -> tuple[tuple[Account, ...], dict[str, int]]:
    """Return those that are members and whose role fits, and with 404 or 406 those that do not."""
    there, refused = [], {}
    for account in asked.accounts:
        role = group.members.get(account.lid_user)
        if role is None:
            refused[str(account.lid)] = 404
        elif not fits(role):
            refused[str(account.lid)] = 406
        else:
            there.append(account)
    return tuple(there), refused


def _list(groups: Groups, tag: str, accounts: Sequence[Account]) -> Node | None:
    return Node(tag, {}, [groups.member(account.lid) for account in accounts]) if accounts else None


def _always(group: Group) -> bool:
    return True


def _never(group: Group) -> bool:
    return False


def _if_locked(group: Group) -> bool:
    return group.locked


@dataclass(frozen=True, slots=True)
class Change:
    """`admin` says whether only admins may, in a group that is set so; `refusal` is what others are told."""

    apply: Callable[[Groups, Group, Asked], Told]
    admin: Callable[[Group], bool]
    refusal: int = 403


CHANGES: Final[Mapping[str, Change]] = {
    "subject": Change(_subject, _if_locked),
    "description": Change(_description, _if_locked),
    "picture": Change(_picture, _if_locked),
    "ephemeral": Change(_ephemeral, _if_locked),
    "announce": Change(_announce, _always),
    "locked": Change(_locked, _always),
    "approval": Change(_approval, _always),
    "invite": Change(_invite, _always, 401),
    "add": Change(_add, _if_locked),
    "remove": Change(_remove, _always),
    "promote": Change(_promote, _always),
    "demote": Change(_demote, _always),
    "leave": Change(_leave, _never),
    "join": Change(_join, _never),
}
