"""Makes the body of a webhook: the text that every endpoint gets, at every attempt, byte for byte.

`seq` is known only inside the transaction that stores the event, so a draft is the text before it and the text after
it; SQL puts the number between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey
from bridge.ids import new_event_id
from bridge.store.events import YEAR_3000_S, Draft, storable

VERSION = "1"
_encode = msgspec.json.Encoder().encode
_NUL = b"\\u0000"


@dataclass(frozen=True, slots=True)
class InstanceView:
    """What an envelope says about the instance."""

    key: InstanceKey
    external_id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    jid: str | None = None
    lid: str | None = None

    @property
    def phone(self) -> str | None:
        """The digits of the paired device's JID."""
        if self.jid is None or not self.jid.endswith("@s.whatsapp.net"):
            return None
        return self.jid.partition("@")[0].partition(":")[0]


def draft(event: Event, instance: InstanceView, now: float) -> Draft:
    """Return the envelope of `event` without its `seq`; `now` is seconds since 1970."""
    event_id = new_event_id()
    head = {
        "id": event_id,
        "type": event.type,
        "event": event.name,
        "event_type": event.name,
        "version": VERSION,
        "instance": instance.key,
        "external_id": instance.external_id,
        "metadata": instance.metadata,
    }
    flags = event.flags
    tail = {
        "timestamp": rfc3339(event.at),
        "received_at": rfc3339(now),
        "flags": {
            "offline": flags.offline,
            "history": flags.history,
            "replayed": flags.replayed,
            "from_me": flags.from_me,
        },
        "me": {"phone": instance.phone, "jid": instance.jid, "lid": instance.lid},
        "data": event.data,
    }
    return Draft(event=event, id=event_id, head=_json(head)[:-1] + ',"seq":', tail="," + _json(tail)[1:])


def rfc3339(at: float) -> str:
    """Return a time in UTC, to the millisecond; a clock that is beyond all dates reads as 1970."""
    at = at if 0 <= at < YEAR_3000_S else 0.0
    return f"{_to_the_second(int(at))}.{int(at % 1 * 1000):03d}Z"


@lru_cache(maxsize=64)  # most events are of this second or of the one before
def _to_the_second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(value: Mapping[str, object]) -> str:
    """Return `value` as JSON that every receiver can store.

    A peer can put NUL into a text, which PostgreSQL's text and jsonb refuse, and half a surrogate pair, which UTF-8
    does: both become U+FFFD.
    """
    try:
        text = _encode(value)
    except UnicodeEncodeError:
        text = _encode(_storable(value))
    return (_encode(_storable(value)) if _NUL in text else text).decode()


def _storable(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case Mapping():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value
