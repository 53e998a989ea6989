"""The event that tells that an endpoint gets nothing any more, for the other endpoints and for those who pull."""

import msgspec

from bridge.ids import new_event_id
from bridge.store.endpoints import EndpointRow
from bridge.store.notices import Notice
from bridge.webhooks.envelope import VERSION, rfc3339

GONE_REASON = "the receiver answered 410 Gone"
FAILED_REASON = "every attempt has failed for 5 days"
TYPE, NAME = "webhook.paused", "webhook_paused"
EVERY_INSTANCE = "*"


def paused(row: EndpointRow, at: float) -> Notice:
    """Return `webhook.paused`, emitted when an endpoint is paused or disabled by the bridge; `at` is the time."""
    id, instance = new_event_id(), row.instance_key or EVERY_INSTANCE
    head: dict[str, object] = {
        "id": id,
        "type": TYPE,
        "event": NAME,
        "event_type": NAME,
        "version": VERSION,
        "instance": instance,
        "external_id": None,
        "metadata": {},
    }
    tail = {
        "timestamp": rfc3339(at),
        "received_at": rfc3339(at),
        "flags": {"offline": False, "history": False, "replayed": False, "from_me": False},
        "me": {"phone": None, "jid": None, "lid": None},
        "data": {"webhook_id": row.id, "state": row.state, "reason": row.reason},
    }
    head_text, tail_text = msgspec.json.encode(head).decode(), msgspec.json.encode(tail).decode()
    return Notice(id, row.id, instance, TYPE, NAME, head_text[:-1] + ',"seq":', "," + tail_text[1:])
