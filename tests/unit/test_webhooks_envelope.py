"""The body of a webhook: the documented fields, in text that every receiver can store."""

import json

from bridge.domain.events import Event, Flags
from bridge.domain.ids import InstanceKey
from bridge.webhooks.envelope import InstanceView, draft, rfc3339

KEY = InstanceKey("a" * 32)
VIEW = InstanceView(KEY, "crm-7", {"tenant": "acme"}, "491700:3@s.whatsapp.net", "7@lid")


def body(event: Event, view: InstanceView = VIEW, seq: int = 42) -> dict[str, object]:
    made = draft(event, view, 1_700_000_002.5)
    found = json.loads(f"{made.head}{seq}{made.tail}")
    assert isinstance(found, dict)
    return found


def event(data: dict[str, object], at: float = 1_700_000_001.25) -> Event:
    return Event("message.received", "image_received", "key", at, data, flags=Flags(offline=True))


def test_an_envelope_has_the_documented_fields_in_the_documented_order() -> None:
    found = body(event({"text": "hello"}))
    assert list(found) == [
        "id",
        "type",
        "event",
        "event_type",
        "version",
        "instance",
        "external_id",
        "metadata",
        "seq",
        "timestamp",
        "received_at",
        "flags",
        "me",
        "data",
    ]
    assert str(found.pop("id")).startswith("evt_")
    assert found == {
        "type": "message.received",
        "event": "image_received",
        "event_type": "image_received",
        "version": "1",
        "instance": KEY,
        "external_id": "crm-7",
        "metadata": {"tenant": "acme"},
        "seq": 42,
        "timestamp": "2023-11-14T22:13:21.250Z",
        "received_at": "2023-11-14T22:13:22.500Z",
        "flags": {"offline": True, "history": False, "replayed": False, "from_me": False},
        "me": {"phone": "491700", "jid": "491700:3@s.whatsapp.net", "lid": "7@lid"},
        "data": {"text": "hello"},
    }


def test_an_instance_that_is_not_paired_has_no_phone() -> None:
    assert body(event({}), InstanceView(KEY))["me"] == {"phone": None, "jid": None, "lid": None}


def test_a_text_that_postgresql_would_refuse_is_made_storable() -> None:
    made = draft(event({"a\0": ["b\0", {"c": "\ud83d alone", "d": "\\u0000", "e": 1, "f": None}]}), VIEW, 0.0)
    text = f"{made.head}1{made.tail}"
    assert json.loads(text)["data"] == {
        "a\ufffd": ["b\ufffd", {"c": "\ufffd alone", "d": "\\u0000", "e": 1, "f": None}]
    }
    text.encode()
    assert "\0" not in text


def test_a_clock_beyond_all_dates_does_not_stop_an_event() -> None:
    for at in (float("inf"), float("nan"), -1.0, 1e30):
        assert rfc3339(at) == "1970-01-01T00:00:00.000Z"
    assert body(event({}, at=1e30))["timestamp"] == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_700_000_000.999999) == "2023-11-14T22:13:20.999Z"
