"""The pairing of an instance as server-sent events: each new QR code, a pairing code, and how it ends."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import trio

from bridge.api.directory import Progress, Watch
from bridge.api.schemas import encode
from bridge.api.tenure import Tenure

HEARTBEAT_S = 15.0
STREAM_MAX_S = 600.0
"""A pairing takes less than three minutes; whoever looks on for longer comes again."""


async def follow(watch: Watch, stopping: trio.Event, tenure: Tenure) -> AsyncIterator[bytes]:
    """Yield `qr`, `code`, then `paired` or `timeout`, which is the last; comments in between while nothing happens.

    It ends without either when the key of whoever looks on is revoked or expires.
    """
    yield b": the pairing\nretry: 3000\n\n"
    end = trio.current_time() + STREAM_MAX_S
    told: Progress | None = None
    seen = watch.look()
    while True:
        for name, data in _news(told, seen):
            yield _frame(name, data)
        told = seen
        if seen.over or stopping.is_set() or trio.current_time() > end:
            return
        with tenure.held() as held:
            seen = await watch.next(told, HEARTBEAT_S)
        if held.cancelled_caught or tenure.over:
            return
        if seen == told:
            yield b": still here\n\n"


def _news(told: Progress | None, seen: Progress) -> list[tuple[str, dict[str, object]]]:
    """Return the events that tell one state of things from the next."""
    news: list[tuple[str, dict[str, object]]] = []
    if seen.qr is not None and (told is None or told.qr != seen.qr):
        shown = {"code": seen.qr.code, "attempt": seen.qr.attempt, "expires_at": _utc(seen.qr.expires_at)}
        news.append(("qr", shown))
    if seen.code is not None and (told is None or told.code != seen.code):
        news.append(("code", {"pairing_code": seen.code.code, "expires_at": _utc(seen.code.expires_at)}))
    if seen.over:
        news.append(("paired" if seen.paired else "timeout", {"state": seen.state, "reason": seen.reason}))
    return news


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _frame(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))
