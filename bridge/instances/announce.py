"""Events that an instance emits about itself: connection updates and the outcome of its sends. Pure."""

from datetime import UTC, datetime

from bridge.domain.events import Event, Flags, MessageRow, Outcome
from bridge.domain.ids import CommandId, InstanceKey
from bridge.domain.session import Session
from bridge.instances.outbox import Outgoing


def connection_update(
    key: InstanceKey, session: Session, *, name: str, phone: str | None, at: float, occasion: str
) -> Event:
    """Return `connection.update`, emitted when the session's state has changed.

    `occasion` tells one change from the next one; a repeated report of the same occasion is stored once.
    """
    data = {
        "instance_key": key,
        "phone_number": phone or "",
        "status": name,
        "timestamp": int(at),
        "state": session.state.value,
        "reason": session.reason,
        "needs": session.needs.value,
    }
    return Event(type="connection.update", name=name, dedup_key=f"connection:{occasion}", at=at, data=data)


def pair_code(key: InstanceKey, *, code: str, at: float, expires_at: float) -> Event:
    """Return `connection.pair_code`, emitted when there is a code for the phone's owner to type in."""
    data = {
        "instance_key": key,
        "phone_number": "",
        "status": "pair_code",
        "timestamp": int(at),
        "pairing_code": code,
        "expires_at": datetime.fromtimestamp(expires_at, UTC).isoformat().replace("+00:00", "Z"),
    }
    return Event(
        type="connection.pair_code", name="pair_code", dedup_key=f"pair_code:{code}:{at:.6f}", at=at, data=data
    )


def lifecycle(key: InstanceKey, *, type_: str, name: str, at: float, phone: str | None = None) -> Event:
    """Return `instance.created` or `instance.deleted`."""
    data = {"instance_key": key, "phone_number": phone or "", "status": name, "timestamp": int(at)}
    return Event(type=type_, name=name, dedup_key=type_, at=at, data=data)


def push_name(key: InstanceKey, jid: str | None, name: str, *, at: float) -> Event:
    """Return `contact.update` about ourselves: the name that others see is another."""
    data = {"instance_key": key, "jid": jid, "push_name": name, "timestamp": int(at), "changes": {"push_name": name}}
    return Event(type="contact.update", name="push_name_setting", dedup_key=f"push_name:{at:.6f}", at=at, data=data)


def sent(
    command: CommandId,
    *,
    kind: str,
    to: str,
    sender: str,
    message_id: str,
    text: str | None,
    at: float,
    has_row: bool = True,
    metadata: object = None,
) -> Event:
    """Return `message.status` sent: WhatsApp has acknowledged the message. Dispatched in the lane of its chat."""
    data = {**_about(command, message_id, to, "sent", metadata), "kind": kind}
    row = MessageRow(
        chat=to, sender=sender, message_id=message_id, from_me=True, kind=kind, status="sent", at=at, text=text
    )
    return Event(
        type="message.status",
        name="message_sent",
        dedup_key=f"sent:{command}",
        at=at,
        data=data,
        chat=to,
        flags=Flags(from_me=True),
        message=row if has_row else None,
        outcome=Outcome(command, "sent", message_id),
    )


def not_sent(
    command: CommandId, *, to: str, status: str, error: str, code: str, at: float, metadata: object = None
) -> Event:
    """Return `message.status` failed or unknown, under the original's name `message_error`."""
    data = {**_about(command, None, to, status, metadata), "error": error, "code": code}
    return Event(
        type="message.status",
        name="message_error",
        dedup_key=f"{status}:{command}",
        at=at,
        data=data,
        chat=to,
        flags=Flags(from_me=True),
        outcome=Outcome(command, status, error=error),
    )


def cancelled(message: Outgoing, *, at: float) -> Event:
    """Return `message.status` cancelled: a call took the message back before it was begun."""
    data = _about(message.command, None, message.to, "cancelled", message.body.get("metadata"))
    return Event(
        type="message.status",
        name="message_cancelled",
        dedup_key=f"cancelled:{message.command}",
        at=at,
        data=data,
        chat=message.to,
        flags=Flags(from_me=True),
        outcome=Outcome(message.command, "cancelled"),
    )


def _about(command: CommandId, message_id: str | None, to: str, status: str, metadata: object) -> dict[str, object]:
    data: dict[str, object] = {
        "command_id": command,
        "message_id": message_id,
        "chat_id": to,
        "to": to,
        "status": status,
    }
    return data if metadata is None else {**data, "metadata": metadata}
