"""What a reader of the feed asked for, and the feed as a page or as server-sent events."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import trio

from bridge.api.call import Call
from bridge.api.problems import Forbidden, InvalidField, UnknownKey
from bridge.api.stores import Feed
from bridge.api.tenure import Tenure
from bridge.domain.ids import InstanceKey
from bridge.store.errors import StoreUnavailable
from bridge.store.feed import PAGE, Entry, Filter, wanted

EVERY_INSTANCE = "*"
LATEST = "latest"
INSTANCES_MAX = 1_000
TYPES_MAX = 100
PAGE_BYTES = 2_000_000
"""Of the events in one answer; one that is larger comes alone."""
HEARTBEAT_S = 15.0
"""Of silence, after which a stream says that it is there: below the 30 to 60 s after which proxies cut."""
STREAM_MAX_S = 3_600.0
"""A stream ends after an hour, and when its key is good no more: its reader comes back with its cursor."""
RECONNECT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads what, and from where on."""

    wanted: Filter
    after: int


async def reader(call: Call, feed: Feed, after: str | None) -> Reader:
    """Read the parameters `instance_key`, `types`, `after` and `after_seq`; `after` is what else names a cursor.

    Raises `InvalidField`, `Forbidden`, `StoreUnavailable`.
    """
    instances = _instances(call)
    types = [type_ for type_ in (call.query("types") or "").split(",") if type_ not in {"", "*"}]
    if len(types) > TYPES_MAX:
        raise InvalidField("types", f"names more than {TYPES_MAX}")
    return Reader(wanted(instances, call.only, types), await _after(call, feed, instances, after))


def _instances(call: Call) -> Sequence[str] | None:
    named = [key for key in ",".join(call.request.args.getlist("instance_key")).split(",") if key]
    header = call.headers.get(b"x-instance-key", b"").decode("latin-1")
    named = named or ([header] if header else [])
    if not named or EVERY_INSTANCE in named:
        return None
    if len(named) > INSTANCES_MAX or any(len(key) != 32 for key in named):
        raise InvalidField(
            "instance_key", f"must be up to {INSTANCES_MAX} keys of instances, separated by commas, or `*`"
        )
    if call.only is not None and not call.only.issuperset(named):
        raise Forbidden("It belongs to other instances.")
    return named


async def _after(call: Call, feed: Feed, instances: Sequence[str] | None, given: str | None) -> int:
    text = given or call.query("after")
    seq = call.query("after_seq")
    if text is not None:
        if text == LATEST:
            return await feed.head()
        if text.isascii() and text.isdigit() and len(text) <= 18:
            return int(text)
        raise InvalidField("after", "must be a cursor that an earlier answer gave, or `latest`")
    if seq is None:
        return 0
    if instances is None or len(instances) != 1:
        raise InvalidField("after_seq", "needs one `instance_key`: `seq` counts per instance")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= 18):
        raise InvalidField("after_seq", "must be the `seq` of an event")
    return await feed.position_of(InstanceKey(instances[0]), int(seq))


async def page(
    feed: Feed, reader: Reader, *, limit: int, wait_s: float, stopping: trio.Event, tenure: Tenure
) -> tuple[list[Entry], int]:
    """Return up to `limit` events and the cursor behind them; wait up to `wait_s` for the first one.

    Raises `UnknownKey` when the reader's key is revoked or expires meanwhile.
    """
    entries: list[Entry] = []
    after, size = reader.after, 0
    deadline = trio.current_time() + wait_s
    while True:
        changed = feed.changed
        batch = await feed.read(after, reader.wanted, limit=min(limit - len(entries), PAGE))
        for entry in batch.entries:
            size += len(entry.body)
            if entries and size > PAGE_BYTES:
                return entries, entries[-1].position
            entries.append(entry)
        after = batch.after
        if len(entries) >= limit or (entries and not batch.more):
            return entries, after
        if not batch.more:
            with tenure.held() as held:
                in_time = await _either(changed, stopping, deadline - trio.current_time())
            if held.cancelled_caught:
                raise UnknownKey
            if not in_time:
                return entries, after


async def events(feed: Feed, reader: Reader, stopping: trio.Event, tenure: Tenure) -> AsyncIterator[bytes]:
    """Yield the feed as server-sent events: all that there is behind the cursor, then what comes, until the end.

    When PostgreSQL does not answer it ends, and its reader comes back with the last id that it saw. So it does when the
    reader's key is revoked or expires.
    """
    yield f": the feed\nretry: {RECONNECT_MS}\n\n".encode()
    after, told = reader.after, reader.after
    end = trio.current_time() + STREAM_MAX_S
    while not stopping.is_set() and not tenure.over and trio.current_time() < end:
        changed = feed.changed
        try:
            batch = await feed.read(after, reader.wanted, limit=PAGE)
        except StoreUnavailable:
            return
        after = batch.after
        if batch.entries:
            told = after
            yield b"".join(_frame(entry) for entry in batch.entries)
        if batch.more:
            continue
        with tenure.held() as held:
            more = await _either(changed, stopping, HEARTBEAT_S)
        if not held.cancelled_caught and not more:
            # An id without data is remembered by the reader, so that it need not come through what is not for it again.
            yield b": still here\n\n" if told == after else b"id: %d\n: still here\n\n" % after
            told = after


def _frame(entry: Entry) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (entry.position, entry.body.encode())


async def _either(changed: trio.Event, stopping: trio.Event, timeout_s: float) -> bool:
    """Wait for one of two events; return whether something changed, or it is time to stop, before the timeout."""
    if stopping.is_set() or timeout_s <= 0:
        return False
    with trio.move_on_after(timeout_s):
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, changed)
            nursery.start_soon(wait, stopping)
        return not stopping.is_set()
    return False
