"""What an instance begins with: its session as it was, and the commands that an earlier owner left open.

Nothing is sent twice, nothing stays open.
"""

import math
import time
from datetime import UTC, datetime

from bridge.domain.pacing import Restriction
from bridge.domain.session import Needs, Session, State
from bridge.instances import announce
from bridge.instances.errors import SendUnknown
from bridge.instances.inbox import Inbox
from bridge.instances.outbox import Outgoing
from bridge.store.rows import CommandRow, InstanceRow
from bridge.store.store import Store

UNKNOWN = "the bridge was stopped in the middle of the send: look at the chat before you send it again"


async def settle_commands(store: Store, inbox: Inbox) -> list[Outgoing]:
    """Report every command that may have been sent as unknown; return those that were queued and never begun."""
    recovered = await store.commands.recover(inbox.view.key)
    events = [
        announce.not_sent(
            row.id, to=str(row.body["to"]), status="unknown", error=UNKNOWN, code=SendUnknown.code, at=time.time()
        )
        for row in recovered.unknown
    ]
    await inbox.emit(events)
    return [outgoing(row) for row in recovered.queued]


def outgoing(row: CommandRow) -> Outgoing:
    """Return the message that a command's row asks for."""
    not_before = row.send_at.timestamp() if row.send_at is not None else 0.0
    expires_at = math.inf
    if (ttl_s := row.body.get("ttl_s")) is not None:
        expires_at = (not_before or row.created_at.timestamp()) + float(str(ttl_s))
    return Outgoing(
        row.id,
        row.kind,
        str(row.body["to"]),
        row.body,
        not_before=not_before,
        expires_at=expires_at,
        queued=row.state == "queued",
    )


def remembered(row: InstanceRow) -> Session:
    """Return the session as the store knows it; nothing is open yet."""
    return Session(
        state=State(row.state),
        reason=row.reason,
        needs=Needs(row.needs),
        paired=row.jid is not None,
        wanted=row.desired == "running",
    )


def restricted_for_s(row: InstanceRow) -> float:
    """Return for how long WhatsApp still refuses the number, in seconds."""
    if row.state != State.RESTRICTED or row.next_retry_at is None:
        return 0.0
    return max(0.0, (row.next_retry_at - datetime.now(UTC)).total_seconds())


def restriction_of(row: InstanceRow) -> Restriction | None:
    """Return what WhatsApp last refused to the number, if that was not overcome."""
    if row.restriction is None:
        return None
    stored = row.restriction
    return Restriction(float(stored["since"]), float(stored["until"]), int(stored["strikes"]), str(stored["kind"]))
