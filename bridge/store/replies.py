"""Answers of calls with an Idempotency-Key: kept for a day, so that a repeated call is answered and not done again."""

from dataclasses import asdict, dataclass
from datetime import datetime

from bridge.store.errors import IdempotencyMismatch, InProgress
from bridge.store.fetch import fetch_one, run
from bridge.store.housekeeping import COMMANDS_S
from bridge.store.pool import Pool
from bridge.store.queries import load

_SQL = load("replies")

RUNS_S = 180.0
"""After so long a call that has not been finished was cut off by a crash: longer than any of these may take."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call: whose it is, what it does, its Idempotency-Key, and 32 bytes that are equal where it means the same."""

    key_id: str
    """The API key's; empty while none is asked for."""
    route: str
    idempotency_key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Begun:
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class _Found:
    request_hash: bytes
    status: int | None
    body: bytes | None


class Replies:
    """The repository of such answers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, asked: Asked) -> Reply | datetime:
        """Return the earlier answer; or when this call began, which is its name from now on: `finish` or `forget` it.

        Raises `IdempotencyMismatch` when the earlier call meant something else, `InProgress` while it runs.
        """
        params = {**asdict(asked), "keep_s": COMMANDS_S, "runs_s": RUNS_S}
        async with self._pool.connection() as conn:
            begun = await fetch_one(conn, _SQL["begin"], params, _Begun)
            if begun is not None:
                return begun.begun_at
            found = await fetch_one(conn, _SQL["find"], params, _Found)
        if found is not None and found.request_hash != asked.request_hash:
            raise IdempotencyMismatch
        if found is None or found.status is None or found.body is None:
            raise InProgress
        return Reply(found.status, bytes(found.body))

    async def finish(self, asked: Asked, begun_at: datetime, reply: Reply) -> None:
        """Keep the answer."""
        params = {**asdict(asked), **asdict(reply), "begun_at": begun_at}
        async with self._pool.connection() as conn:
            await run(conn, _SQL["finish"], params)

    async def forget(self, asked: Asked, begun_at: datetime) -> None:
        """Let the next call with this key begin anew: this one has failed."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["forget"], {**asdict(asked), "begun_at": begun_at})
