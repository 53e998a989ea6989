"""Commands that an earlier owner of an instance left open: nothing is sent twice, nothing stays open."""

import time

from bridge.instances import announce
from bridge.instances.inbox import Inbox
from bridge.instances.outbox import OutgoingText
from bridge.store.rows import CommandRow
from bridge.store.store import Store

UNKNOWN = "the bridge was stopped in the middle of the send: look at the chat before you send it again"


async def settle_commands(store: Store, inbox: Inbox) -> list[OutgoingText]:
    """Report every command that may have been sent as unknown; return those that were queued and never begun."""
    recovered = await store.commands.recover(inbox.view.key)
    events = [
        announce.text_not_sent(row.id, to=str(row.body["to"]), status="unknown", error=UNKNOWN, at=time.time())
        for row in recovered.unknown
    ]
    await inbox.emit(events)
    return [outgoing(row) for row in recovered.queued]


def outgoing(row: CommandRow) -> OutgoingText:
    """Return the text that a command's row asks for."""
    reply_to = row.body.get("reply_to")
    return OutgoingText(
        command=row.id,
        to=str(row.body["to"]),
        text=str(row.body["text"]),
        reply_to=str(reply_to) if reply_to is not None else None,
        queued=row.state == "queued",
    )
