"""What handlers have to be called with, as rows: over a connection that one receiver at a time holds.

Whoever asks waits until the database answers. Asking twice does no harm: an outcome is recorded where its row is
still there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
import trio
from psycopg.pq.abc import PGresult

from receiver import statements
from receiver.errors import ConnectionLost, QueryFailed
from receiver.handlers import HandlerName
from receiver.libpq import Connection
from receiver.statements import encoded, text
from receiver.store import pause_s

log = structlog.get_logger()

_STATEMENTS = ("own_handlers", "due", "next_due", "done", "again", "park", "sweep")
_DEADLINE_S = 10.0
_ASK_AGAIN_S = 1.0
"""How often a receiver that stands by asks whether the other one has gone."""


@dataclass(frozen=True, slots=True)
class Run:
    """The head of a lane: an event that a handler is to be called with, and how often that was tried before."""

    cursor: int
    lane: str
    attempts: int
    webhook_id: str
    received_at: str
    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None
    body: bytes


class Runs:
    """The rows of all handlers of a receiver."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._lock = trio.Lock()
        self.owned = False

    def close(self) -> None:
        """Give the connection up, and with it the right to call handlers."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self.owned = None, False

    async def due(self, handler: HandlerName, busy: Iterable[str], limit: int) -> tuple[Run, ...]:
        """Return heads of lanes that may be called now, none of a lane in `busy`."""
        result = await self._ask("due", handler, _array(busy), limit)
        return tuple(_run(result, row) for row in range(result.ntuples))

    async def next_due_s(self, handler: HandlerName, busy: Iterable[str]) -> float | None:
        """Return in how many seconds the next lane may be called; None when nothing waits."""
        found = statements.value(await self._ask("next_due", handler, _array(busy)), 0, 0)
        return None if found is None else float(found)

    async def done(self, handler: HandlerName, cursor: int) -> None:
        """Record that the handler has dealt with it."""
        await self._ask("done", handler, cursor)

    async def again(self, handler: HandlerName, cursor: int, delay_s: float, error: str) -> None:
        """Record a failure after which it is tried again."""
        await self._ask("again", handler, cursor, delay_s, error)

    async def park(self, handler: HandlerName, cursor: int, error: str) -> None:
        """Record a failure after which it is tried no more."""
        await self._ask("park", handler, cursor, error)

    async def sweep(self) -> None:
        """Forget the lanes in which nothing waits."""
        await self._ask("sweep")

    async def _ask(self, name: str, *values: str | int | float | None) -> PGresult:
        failures = 0
        async with self._lock:
            while True:
                try:
                    with trio.fail_after(_DEADLINE_S):
                        connection = await self._connected()
                        if connection is not None:
                            return await connection.call(name, encoded(values), binary=False)
                except (ConnectionLost, QueryFailed, trio.TooSlowError) as error:
                    failures += 1
                    self.close()
                    log.warning("runs.not_reached", query=name, reason=str(error))
                except BaseException:
                    self.close()  # cancelled in the middle of a statement
                    raise
                await trio.sleep(_ASK_AGAIN_S if failures == 0 else pause_s(failures + 1))

    async def _connected(self) -> Connection | None:
        """Return the connection if handlers are ours to call, else None."""
        if self._connection is None:
            self._connection = await statements.connect(self._url, _STATEMENTS)
        if not self.owned:
            result = await self._connection.call("own_handlers", [], binary=False)
            self.owned = text(result, 0, 0) == "t"
        return self._connection if self.owned else None


def _array(values: Iterable[str]) -> str:
    """Return a text[] in its text form, every element quoted."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def _run(result: PGresult, row: int) -> Run:
    value = statements.row(result, row)
    seq = value[7]
    return Run(
        cursor=int(text(result, row, 0)),
        lane=text(result, row, 1),
        attempts=int(text(result, row, 2)),
        webhook_id=text(result, row, 3),
        received_at=text(result, row, 4),
        instance=value[5],
        type=value[6],
        seq=None if seq is None else int(seq),
        chat=value[8],
        body=statements.as_bytes(text(result, row, 9)),
    )
