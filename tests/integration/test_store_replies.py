"""Kept answers in PostgreSQL: one call at a time for a key, nobody else's answer, and nothing beyond its day."""

from dataclasses import replace
from datetime import datetime

import pytest

from bridge.store.errors import IdempotencyMismatch, InProgress
from bridge.store.replies import Asked, Reply
from bridge.store.store import Store

ASKED = Asked("key_1", "POST /presence", "k", b"h" * 32)
REPLY = Reply(200, b'{"status":"ok"}')


async def older(store: Store, hours: float) -> None:
    async with store.connection() as conn:
        await conn.execute("update bridge.reply set begun_at = begun_at - %s * interval '1 hour'", [hours])


async def begun(store: Store, asked: Asked = ASKED) -> datetime:
    found = await store.replies.begin(asked)
    assert isinstance(found, datetime)
    return found


async def test_an_answer_is_kept_for_who_asked_that(store: Store) -> None:
    await store.replies.finish(ASKED, await begun(store), REPLY)
    assert await store.replies.begin(ASKED) == REPLY
    with pytest.raises(IdempotencyMismatch):
        await store.replies.begin(replace(ASKED, request_hash=b"x" * 32))
    for other in ({"key_id": "key_2"}, {"route": "POST /x"}, {"idempotency_key": "l"}):
        await begun(store, replace(ASKED, **other))


async def test_a_call_that_runs_is_not_begun_again_until_it_was_cut_off(store: Store) -> None:
    first = await begun(store)
    with pytest.raises(InProgress):
        await store.replies.begin(ASKED)
    await older(store, 1)
    second = await begun(store)
    await store.replies.finish(ASKED, first, Reply(200, b"late"))
    with pytest.raises(InProgress):
        await store.replies.begin(ASKED)
    await store.replies.finish(ASKED, second, REPLY)
    assert await store.replies.begin(ASKED) == REPLY


async def test_a_call_that_failed_leaves_nothing(store: Store) -> None:
    await store.replies.forget(ASKED, await begun(store))
    await store.replies.finish(ASKED, await begun(store), REPLY)
    await store.replies.forget(ASKED, await begun(store, replace(ASKED, idempotency_key="l")))
    assert await store.replies.begin(ASKED) == REPLY


async def test_an_answer_is_forgotten_after_a_day(store: Store) -> None:
    await store.replies.finish(ASKED, await begun(store), REPLY)
    await older(store, 23)
    assert (await store.housekeeping.clean(audit_s=1e9))["replies"] == 0
    assert await store.replies.begin(ASKED) == REPLY
    await older(store, 2)
    again = await begun(store, replace(ASKED, request_hash=b"x" * 32))
    await store.replies.finish(ASKED, again, REPLY)
    await older(store, 25)
    assert (await store.housekeeping.clean(audit_s=1e9))["replies"] == 1
