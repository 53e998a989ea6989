"""Groups: who is in them and how they are set, kept in the state, and how they are described to clients.

Members are known by their LID (addressing mode `lid`). What may be changed by whom is in `group_changes.py`, what
clients ask in `group_queries.py`.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from bridge.sandbox.accounts import Account, Accounts
from bridge.sandbox.nodes import GROUP_SERVER, LID_SERVER, Jid, Node
from bridge.sandbox.relay import Attrs, now_text
from bridge.sandbox.state import State

_FIRST_ID: Final = 120363000000000001
OWNER, ADMIN, MEMBER = "superadmin", "admin", ""
"""The roles of members, as stanzas name them."""


@dataclass(slots=True, eq=False)
class Group:
    """A group. `members` maps a LID's user part to its role; times are seconds since 1970 as text."""

    id: str
    subject: str
    creator: str
    created: str
    members: dict[str, str] = field(default_factory=dict)
    subject_by: str = ""
    subject_at: str = ""
    description: str = ""
    description_id: str = ""
    description_by: str = ""
    description_at: str = ""
    picture: str = ""
    announce: bool = False
    """Only admins send."""
    locked: bool = False
    """Only admins change subject, description, picture and timer."""
    expiration_s: int = 0
    approval: bool = False
    """Who joins by the link is a member once an admin has added them."""
    requests: dict[str, str] = field(default_factory=dict)
    """Who waits for that, by the LID's user part, and since when."""
    invite: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def jid(self) -> Jid:
        return Jid(self.id, GROUP_SERVER)

    def is_admin(self, account: Account) -> bool:
        return self.members.get(account.lid_user) in (OWNER, ADMIN)


class Groups:
    """All groups, in memory and in the state."""

    def __init__(self, state: State, accounts: Accounts) -> None:
        self._state = state
        self._accounts = accounts
        self._groups: dict[str, Group] = {}
        self._revoked: set[str] = set()
        for group_id, body in state.rows("SELECT id, body FROM chat_group"):
            self._groups[group_id] = Group(**{"id": group_id, **json.loads(body)})

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._groups.values()))

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

    def by_invite(self, code: str) -> Group | None:
        """Return the group that an invite link leads to."""
        return next((group for group in self._groups.values() if group.invite == code), None)

    def was_revoked(self, code: str) -> bool:
        """Say whether there was such an invite link before it was reset (since the sandbox started)."""
        return code in self._revoked

    def reset_invite(self, group: Group) -> None:
        """Make the present invite link useless, and a new one."""
        self._revoked.add(group.invite)
        group.invite = secrets.token_urlsafe(16)

    def create(self, creator: Account, subject: str, members: Iterable[Account]) -> Group:
        group = Group(str(_FIRST_ID + len(self._groups)), subject, creator.lid_user, now_text())
        group.subject_by, group.subject_at = creator.lid_user, group.created
        group.members[creator.lid_user] = OWNER
        for account in members:
            group.members.setdefault(account.lid_user, MEMBER)
        self._groups[group.id] = group
        self.save(group)
        return group

    def save(self, group: Group) -> None:
        self._state.run("INSERT OR REPLACE INTO chat_group VALUES (?, ?)", group.id, json.dumps(asdict(group)))

    def may_send(self, account: Account, group: Group) -> bool:
        """Say whether this account may write into a group."""
        return account.lid_user in group.members and (not group.announce or group.is_admin(account))

    def describe(self, group: Group) -> Node:
        """Return a group as it stands in answers and notifications."""
        creator, subject_by = Jid(group.creator, LID_SERVER), Jid(group.subject_by or group.creator, LID_SERVER)
        attrs: Attrs = {
            "id": group.id,
            "creator": creator,
            "creator_pn": self._number_of(creator),
            "subject": group.subject,
            "s_t": group.subject_at or group.created,
            "s_o": subject_by,
            "s_o_pn": self._number_of(subject_by),
            "creation": group.created,
            "addressing_mode": "lid",
            "size": str(len(group.members)),
            "a_v_id": "1",
            "p_v_id": "1",
        }
        members = [self.member(Jid(lid, LID_SERVER), role) for lid, role in group.members.items()]
        return Node("group", attrs, [*members, Node("member_add_mode", {}, b"all_member_add"), *self._settings(group)])

    def member(self, jid: Jid, role: str = MEMBER) -> Node:
        """Return a member as it stands in lists: LID, phone number, role."""
        return Node("participant", {"jid": jid, "phone_number": self._number_of(jid), "type": role})

    def _settings(self, group: Group) -> list[Node]:
        settings = []
        if group.description:
            attrs: Attrs = {
                "id": group.description_id,
                "participant": Jid(group.description_by, LID_SERVER),
                "t": group.description_at,
            }
            settings.append(Node("description", attrs, [Node("body", {}, group.description.encode())]))
        if group.announce:
            settings.append(Node("announcement"))
        if group.locked:
            settings.append(Node("locked"))
        if group.approval:
            settings.append(Node("membership_approval_mode", {}, [Node("group_join", {"state": "on"})]))
        if group.expiration_s:
            settings.append(Node("ephemeral", {"expiration": str(group.expiration_s)}))
        return settings

    def _number_of(self, lid: Jid) -> Jid | None:
        account = self._accounts.find(lid)
        return account.jid if account else None
