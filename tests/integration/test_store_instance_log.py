"""The log of an instance: its own events among many others, page by page, in bounded steps."""

import json

import pytest

from bridge.domain.events import Event
from bridge.store import instance_log
from bridge.store.errors import InvalidCursor
from bridge.store.store import Store
from tests.support.hooks import owned, text_event


def change(number: int) -> Event:
    data = {"state": f"state {number}"}
    return Event("connection.update", "connected", f"connection:{number}", 1_700_000_000.0, data)


async def test_an_instances_own_events_are_found_among_its_messages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_log, "WINDOW", 4)
    instance = await owned(store)
    events = [change(1), *(text_event(f"M{n}") for n in range(10)), change(2), change(3)]
    await instance.append(*events)
    last = len(events)
    seen, cursor, pages = [], None, 0
    while True:
        page = await store.log.page(instance.key, last_seq=last, limit=1, cursor=cursor)
        seen += [(row.seq, json.loads(row.body)["data"]["state"]) for row in page.items]
        pages, cursor = pages + 1, page.next_cursor
        if cursor is None:
            break
    assert seen == [(13, "state 3"), (12, "state 2"), (1, "state 1")]
    assert pages == 4  # one of them, in the middle of the messages, is empty
    other = await owned(store)
    assert (await store.log.page(other.key, last_seq=0, limit=10, cursor=None)).items == ()
    for wrong in ("x", "-1", "1" * 30):
        with pytest.raises(InvalidCursor):
            await store.log.page(instance.key, last_seq=last, limit=1, cursor=wrong)
