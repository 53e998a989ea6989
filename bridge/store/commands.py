"""The commands: what callers asked instances to do, each once for its idempotency key, with its outcome."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from bridge.domain.ids import CommandId, Epoch, InstanceKey, NodeId
from bridge.store.errors import CommandClosed, IdempotencyMismatch, InstanceNotFound
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.prepared import Statement
from bridge.store.queries import load
from bridge.store.rows import CommandRow, Page, Recovered

_SQL = load("commands")
_INSERT, _START = Statement(_SQL["insert"]), Statement(_SQL["start"])
OUTBOX_STATES = ("queued", "scheduled", "failed")


class Commands:
    """The repository of commands."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert(
        self,
        id: CommandId,
        instance: InstanceKey,
        *,
        kind: str,
        body: Mapping[str, object],
        state: str,
        idempotency_key: str | None = None,
        request_hash: bytes | None = None,
        owner: NodeId | None = None,
        epoch: Epoch = Epoch(0),  # noqa: B008 -- a number
        send_at: datetime | None = None,
        durable: bool = True,
    ) -> CommandRow:
        """Store a command that is queued or running; or return the earlier one, with `inserted` False.

        One that is not `durable` is seen by everybody at once, but survives a crash of PostgreSQL only from the next
        durable commit on, whoever makes that.

        Raises `IdempotencyMismatch` when the earlier request was another one, and `InstanceNotFound`.
        """
        params = {
            "id": id,
            "instance_key": instance,
            "kind": kind,
            "body": Jsonb(dict(body)),
            "state": state,
            "idempotency_key": idempotency_key,
            "request_hash": request_hash,
            "owner": owner,
            "epoch": epoch,
            "send_at": send_at,
            "durable": durable,
        }
        try:
            async with self._pool.connection() as conn:
                while not (rows := await conn.call(_INSERT, params)):
                    earlier = await fetch_one(conn, _SQL["repeated"], params, CommandRow)
                    if earlier is not None:  # else it was withdrawn just now
                        return _of_request(earlier, request_hash)
        except psycopg.errors.ForeignKeyViolation as exc:
            raise InstanceNotFound(instance=instance) from exc
        return CommandRow(
            id,
            instance,
            kind,
            body,
            state,
            idempotency_key,
            request_hash,
            message_id=None,
            result=None,
            owner=owner,
            epoch=epoch,
            created_at=rows[0][0],
            finished_at=None,
            send_at=send_at,
        )

    async def get(self, id: CommandId) -> CommandRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["get"], {"id": id}, CommandRow)

    async def repeated(self, instance: InstanceKey, idempotency_key: str, request_hash: bytes) -> CommandRow | None:
        """Return the command of an earlier request with this key; raise `IdempotencyMismatch` if it was another."""
        params = {"instance_key": instance, "idempotency_key": idempotency_key}
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["repeated"], params, CommandRow)
        return None if row is None else _of_request(row, request_hash)

    async def start(self, id: CommandId, owner: NodeId, epoch: Epoch, *, durable: bool = True) -> None:
        """Store that the engine is about to have a queued command; raise `CommandClosed` when it is not queued.

        `durable` is what it is for `insert`.
        """
        params = {"id": id, "owner": owner, "epoch": epoch, "durable": durable}
        async with self._pool.connection() as conn:
            if not await conn.call(_START, params):
                raise CommandClosed(command=id)

    async def finish(
        self,
        id: CommandId,
        state: str,
        message_id: str | None = None,
        result: Mapping[str, object] | None = None,
    ) -> CommandRow:
        """Store the outcome (sent, failed, unknown).

        Raises `CommandClosed` when a known outcome is stored already.
        """
        params = {
            "id": id,
            "state": state,
            "message_id": message_id,
            "result": None if result is None else Jsonb(dict(result)),
        }
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["finish"], params, CommandRow)
        if row is None:
            raise CommandClosed(command=id)
        return row

    async def withdraw(self, id: CommandId) -> None:
        """Forget a command that nobody began, with its idempotency key; one with an outcome stays."""
        async with self._pool.connection() as conn:
            await run(conn, _SQL["withdraw"], {"id": id})

    async def outbox(
        self, instance: InstanceKey, states: Collection[str], *, limit: int, cursor: str | None
    ) -> Page[CommandRow]:
        """Return one page of the sends that are `queued`, `scheduled` or `failed`, oldest first, to the millisecond."""
        params = {
            "instance_key": instance,
            "after": cursor or "",
            "limit": limit + 1,
            **{state: state in states for state in OUTBOX_STATES},
        }
        async with self._pool.connection() as conn:
            rows = await fetch_all(conn, _SQL["outbox"], params, CommandRow)
        return Page(tuple(rows[:limit]), rows[limit - 1].id if len(rows) > limit else None)

    async def recover(self, instance: InstanceKey) -> Recovered:
        """Call what an earlier owner had begun unknown, and return that and what is queued, oldest first."""
        async with self._pool.connection() as conn:
            rows = await fetch_all(conn, _SQL["recover"], {"instance_key": instance}, CommandRow)
        return Recovered(
            unknown=tuple(row for row in rows if row.state == "unknown"),
            queued=tuple(row for row in rows if row.state == "queued"),
        )


def _of_request(row: CommandRow, request_hash: bytes | None) -> CommandRow:
    """Return the row of an earlier request; raise `IdempotencyMismatch` when it was another request."""
    if row.request_hash != request_hash:
        raise IdempotencyMismatch(command=row.id)
    return replace(row, inserted=False)
