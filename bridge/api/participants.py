"""Finds whom a call about a group names, and tells what became of each of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bridge.api.directory import Directory
from bridge.api.recipients import person
from bridge.api.schemas_groups import Result
from bridge.domain.groups import Action, Group, Member, Refused
from bridge.domain.identity import Recipient, Server, phone_of
from bridge.domain.ids import InstanceKey

UNKNOWN, NOT_ANSWERED = "unknown_recipient", "not_answered"
Done = Literal["added", "removed", "promoted", "demoted"]
DONE: Mapping[Action, Done] = {"add": "added", "remove": "removed", "promote": "promoted", "demote": "demoted"}
_WHY: Mapping[int, str] = {403: "privacy", 408: "left_recently", 409: "already_a_member"}
"""What WhatsApp's codes are seen to mean; it documents none."""
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody whom a request names."""

    given: str
    who: Recipient
    jid: str | None
    """Under which WhatsApp knows this person; None: it knows no such number."""


async def find_people(directory: Directory, key: InstanceKey, texts: Sequence[str]) -> list[Named]:
    """Return whom the texts of `participants` name, numbers in the spelling that WhatsApp knows.

    Raises `InvalidRecipientField` before anybody is asked, or what the directory raises.
    """
    people = [person(f"participants[{n}]", text) for n, text in enumerate(texts)]
    phones = [one.phone for one in people if one.phone is not None]
    lookups = await directory.look_up(key, phones, fresh=False) if phones else ()
    found = {one.found.phone: one.found for one in lookups}
    named = []
    for text, who in zip(texts, people, strict=True):
        known = found.get(who.phone or "")
        jid = who.jid if who.phone is None else None if known is None or not known.exists else known.jid or who.jid
        named.append(Named(text, who, jid))
    return named


def addresses(named: Iterable[Named], group: Group) -> dict[str, str]:
    """Return what to name WhatsApp for each JID: a member as the group lists them, anybody else by the JID."""
    jids = dict.fromkeys(one.jid for one in named if one.jid is not None)
    return {jid: next((one.address for one in group.members if one.is_at(jid)), jid) for jid in jids}


def results(
    named: Iterable[Named], listed: Mapping[str, str], outcomes: Sequence[Refused | Member], action: Action
) -> list[Result]:
    """Return what became of each who was named, in that order."""
    return [_result(one, listed, outcomes, action) for one in named]


def _result(one: Named, listed: Mapping[str, str], outcomes: Sequence[Refused | Member], action: Action) -> Result:
    if one.jid is None:
        return _of(one.given, None, one.who.jid, UNKNOWN, action)
    for outcome in outcomes:
        member = outcome.member if isinstance(outcome, Refused) else outcome
        if member.is_at(one.jid) or member.is_at(listed[one.jid]):
            return _of(one.given, member, one.jid, why(outcome, action), action)
    return _of(one.given, None, one.jid, NOT_ANSWERED, action)


def refused(one: Refused) -> Result:
    """Return the result of somebody who was not taken into a new group, named as WhatsApp does."""
    return _of(one.member.jid or one.member.address, one.member, one.member.address, why(one, "add"), "add")


def why(outcome: Refused | Member, action: Action) -> str | None:
    """Return why something was not done for somebody, None when it was."""
    if isinstance(outcome, Member):
        return None
    if outcome.error == _NOT_FOUND:
        return UNKNOWN if action == "add" else "not_a_member"
    return _WHY.get(outcome.error, f"refused_{outcome.error}")


def _of(given: str, member: Member | None, jid: str, error: str | None, action: Action) -> Result:
    known = [jid] if member is None else [one for one in (member.jid, member.lid, member.address, jid) if one]
    lid = next((one for one in known if one.endswith(f"@{Server.LID.value}")), None)
    phone = next((found for one in known if (found := phone_of(one))), None)
    status = DONE[action] if error is None else "failed"
    return Result(given, known[0], lid, phone, status, error)
