"""One PostgreSQL connection driven by Trio through psycopg's documented libpq wrapper (`psycopg.pq`).

Why not psycopg's own connection in a thread: each hand-over to a thread and back costs more than the statement itself.
Measured at 500 webhooks/s on two cores: 0.99 ms of CPU each with a synchronous connection in one thread that commits
in groups, 0.52 ms like this, everything else the same.
"""

import struct
from collections.abc import Callable, Sequence

import psycopg
import trio
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn, PGresult

from receiver.errors import ConnectionLost, QueryFailed

TEXT, BIGINT, INTEGER, BYTEA = 25, 20, 23, 17
"""Type numbers of pg_type that arrays are made of."""

_CONNECT_TIMEOUT_S = 3
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Connection:
    """A connection for one task at a time. A call that is cancelled or raises `ConnectionLost` leaves it unusable."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._pgconn.nonblocking = 1

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to `url` (URL or key=value), or raise `ConnectionLost` after 3 s per address.

        libpq resolves names by blocking, hence the thread: once per connection it does not matter.
        """
        conninfo = make_conninfo(
            url, connect_timeout=_CONNECT_TIMEOUT_S, application_name="receiver", client_encoding="UTF8", **_KEEPALIVES
        )
        pgconn = await trio.to_thread.run_sync(pq.PGconn.connect, conninfo.encode(), abandon_on_cancel=True)
        if pgconn.status != pq.ConnStatus.OK:
            raise ConnectionLost(_first_line(pgconn))
        return cls(pgconn)

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._pgconn.status != pq.ConnStatus.BAD:
            trio.lowlevel.notify_closing(self._pgconn.socket)
        self._pgconn.finish()

    async def run(self, script: str) -> None:
        """Run statements without parameters, in one transaction unless they say otherwise."""
        await self._ask(lambda: self._pgconn.send_query(script.encode()))

    async def prepare(self, name: str, statement: str) -> None:
        """Give `statement` a name for `call`."""
        await self._ask(lambda: self._pgconn.send_prepare(name.encode(), statement.encode()))

    async def call(self, name: str, values: Sequence[bytes | None], *, binary: bool) -> PGresult:
        """Run a prepared statement; `binary` is the format of the values. The rows come back as text."""
        formats = [pq.Format.BINARY if binary else pq.Format.TEXT] * len(values)
        return await self._ask(lambda: self._pgconn.send_query_prepared(name.encode(), values, formats))

    async def _ask(self, send: Callable[[], None]) -> PGresult:
        try:
            send()
            results = await self._results()
        except (psycopg.Error, OSError) as error:
            raise ConnectionLost(type(error).__name__) from error
        for result in results:
            if result.status not in _GOOD:
                self._raise(result)
        return results[-1]

    async def _results(self) -> list[PGresult]:
        pgconn, results, ended = self._pgconn, list[PGresult](), False
        while pgconn.flush():
            await trio.lowlevel.wait_writable(pgconn.socket)
        await trio.lowlevel.wait_readable(pgconn.socket)
        pgconn.consume_input()
        while not ended:
            while pgconn.is_busy():
                await trio.lowlevel.wait_readable(pgconn.socket)
                pgconn.consume_input()
            result = pgconn.get_result()
            ended = result is None
            if result is not None:
                results.append(result)
        return results

    def _raise(self, result: PGresult) -> None:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if self._pgconn.status == pq.ConnStatus.BAD or not sqlstate:
            raise ConnectionLost(_first_line(self._pgconn))
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
        raise QueryFailed(sqlstate, message.decode(errors="replace"))


def binary_array(type_number: int, values: Sequence[bytes | None]) -> bytes:
    """Return a one-dimensional array in PostgreSQL's binary form: no quoting, so nothing to escape from.

    Source: array_recv in PostgreSQL's src/backend/utils/adt/arrayfuncs.c.
    """
    parts = [struct.pack("!iiIii", 1, 1, type_number, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            parts += (struct.pack("!i", len(value)), value)
    return b"".join(parts)


def _first_line(pgconn: PGconn) -> str:
    lines = pgconn.get_error_message().strip().splitlines()
    return lines[0] if lines else "no reason given"
