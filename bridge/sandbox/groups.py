"""Groups: who is in them, and the queries by which a client makes and changes them.

Members are known by their LID (addressing mode `lid`). What is here is what sending to a group and reading from it
needs; the notifications of changes are not sent.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from bridge.sandbox.accounts import Account, Accounts, Device
from bridge.sandbox.nodes import GROUP_SERVER, LID_SERVER, Jid, Node
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.state import State

_FIRST_ID: Final = 120363000000000001


@dataclass(slots=True, eq=False)
class Group:
    """A group. `members` maps a LID's user part to its role: `superadmin`, `admin` or empty."""

    id: str
    subject: str
    creator: str
    created: str
    members: dict[str, str] = field(default_factory=dict)

    @property
    def jid(self) -> Jid:
        return Jid(self.id, GROUP_SERVER)


class Groups:
    """All groups, in memory and in the state."""

    def __init__(self, state: State, accounts: Accounts) -> None:
        self._state = state
        self._accounts = accounts
        self._groups: dict[str, Group] = {}
        for group_id, body in state.rows("SELECT id, body FROM chat_group"):
            self._groups[group_id] = Group(id=group_id, **json.loads(body))

    def members_of(self, group: Jid) -> Iterable[Account]:
        """Return the accounts in a group, none if there is no such group."""
        found = self._groups.get(group.user)
        if found is None:
            return []
        accounts = (self._accounts.find(Jid(lid, LID_SERVER)) for lid in found.members)
        return [account for account in accounts if account is not None]

    def find(self, group: Jid | None) -> Group | None:
        return self._groups.get(group.user) if group else None

    def of(self, account: Account) -> list[Group]:
        """Return the groups that an account is in."""
        return [group for group in self._groups.values() if account.lid_user in group.members]

    def create(self, creator: Account, subject: str, members: Iterable[Account]) -> Group:
        group = Group(str(_FIRST_ID + len(self._groups)), subject, creator.lid_user, now_text())
        group.members[creator.lid_user] = "superadmin"
        for account in members:
            group.members.setdefault(account.lid_user, "")
        self._groups[group.id] = group
        self.save(group)
        return group

    def save(self, group: Group) -> None:
        body = {"subject": group.subject, "creator": group.creator, "created": group.created, "members": group.members}
        self._state.run("INSERT OR REPLACE INTO chat_group VALUES (?, ?)", group.id, json.dumps(body))

    def describe(self, group: Group) -> Node:
        """Return a group as it stands in answers and notifications."""
        creator = Jid(group.creator, LID_SERVER)
        creator_account = self._accounts.find(creator)
        attrs: Attrs = {
            "id": group.id,
            "creator": creator,
            "creator_pn": creator_account.jid if creator_account else None,
            "subject": group.subject,
            "s_t": group.created,
            "s_o": creator,
            "creation": group.created,
            "addressing_mode": "lid",
            "size": str(len(group.members)),
            "a_v_id": "1",
            "p_v_id": "1",
        }
        members = [self._member(lid, role) for lid, role in group.members.items()]
        return Node("group", attrs, [*members, Node("member_add_mode", {}, b"all_member_add")])

    def _member(self, lid: str, role: str) -> Node:
        jid = Jid(lid, LID_SERVER)
        account = self._accounts.find(jid)
        return Node("participant", {"jid": jid, "phone_number": account.jid if account else None, "type": role})

    def answer(self, device: Device, node: Node) -> tuple[list[Node] | None, int]:
        """Return the content of the answer to a `w:g2` query, or None and the error's code."""
        asked = node.children()[0] if node.children() else Node("")
        to = node.jid("to")
        match asked.tag:
            case "create":
                named = (self._accounts.find(jid) for jid in _jids(asked))
                group = self.create(device.account, asked.text("subject"), [a for a in named if a is not None])
                return [self.describe(group)], 0
            case "participating":
                return [Node("groups", {}, [self.describe(group) for group in self.of(device.account)])], 0
            case "leave":
                return self._leave(device, asked), 0
        found = self.find(to)
        return (None, 404) if found is None else self._about(found, asked)

    def _about(self, group: Group, asked: Node) -> tuple[list[Node] | None, int]:
        """Answer a query about one group."""
        match asked.tag:
            case "query":
                return [self.describe(group)], 0
            case "invite":
                return [Node("invite", {"code": "CODE" + group.id})], 0
            case "subject":
                group.subject = asked.data().decode("utf-8", "replace")
                self.save(group)
                return [], 0
            case "add" | "remove" | "promote" | "demote":
                return [self._change(group, asked, _CHANGES[asked.tag])], 0
        return None, 501

    def _change(self, group: Group, asked: Node, change: Callable[[dict[str, str], str], None]) -> Node:
        changed = []
        for jid in _jids(asked):
            account = self._accounts.find(jid)
            if account is not None:
                change(group.members, account.lid_user)
                changed.append(Node("participant", {"jid": account.lid}))
        self.save(group)
        return Node(asked.tag, {}, changed)

    def _leave(self, device: Device, asked: Node) -> list[Node]:
        left = []
        for entry in asked.all("group"):
            group = self.find(entry.jid("id"))
            if group is not None and group.members.pop(device.account.lid_user, None) is not None:
                self.save(group)
                left.append(Node("group", {"id": group.jid}))
        return [Node("leave", {}, left)]


def _jids(asked: Node) -> list[Jid]:
    found = (entry.jid("jid") for entry in asked.all("participant"))
    return [jid for jid in found if jid is not None]


def _set_role(role: str) -> Callable[[dict[str, str], str], None]:
    def change(members: dict[str, str], lid: str) -> None:
        members[lid] = role

    return change


def _remove(members: dict[str, str], lid: str) -> None:
    members.pop(lid, None)


_CHANGES: Final = {
    "add": _set_role(""),
    "remove": _remove,
    "promote": _set_role("admin"),
    "demote": _set_role(""),
}
