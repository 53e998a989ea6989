"""Statements that run often: each connection prepares them once, and calls them past psycopg's cursors.

A cursor looks up how to adapt each value at each query, which costs more than everything else in it. Here the adapters
live as long as the connection; they are psycopg's own, and so are the errors.
"""

import re
from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg import AsyncConnection, generators, pq
from psycopg import errors as e
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGresult

_PARAMETER = re.compile(r"%\((?P<name>[a-z_]+)\)s|%%")
_DONE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
_OUTDATED = (e.InvalidSqlStatementName, e.FeatureNotSupported)
"""What a prepared statement ends in that somebody deallocated, or whose tables have other columns now; nothing ran."""


class Statement:
    """SQL with parameters `%(name)s`, for `TrioConnection.call`. Make each once: a connection keeps what it prepared.

    The parameters go as text; PostgreSQL infers their types from where they stand: cast those for which it cannot.
    """

    __slots__ = ("formats", "names", "text")

    def __init__(self, sql: LiteralString) -> None:
        numbers: dict[str, int] = {}

        def numbered(found: re.Match[str]) -> str:
            name = found["name"]
            return "%" if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

        self.text = _PARAMETER.sub(numbered, sql).encode()
        self.names = tuple(numbers)
        self.formats = [PyFormat.TEXT] * len(numbers)


class Prepared:
    """What one connection has prepared."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self._pgconn = conn.pgconn
        self._adapt = Transformer(conn)
        self._names: dict[Statement, bytes] = {}
        self._made = 0

    def forget(self) -> None:
        """Prepare everything again: the server has forgotten it."""
        self._names.clear()

    def call(self, statement: Statement, params: Mapping[str, object]) -> PQGen[list[tuple[Any, ...]]]:
        """Run `statement` and return its rows; raise psycopg's errors."""
        adapt = self._adapt
        values = adapt.dump_sequence([params[name] for name in statement.names], statement.formats)
        formats = adapt.formats
        while True:
            name = self._names.get(statement)
            known = name is not None
            if name is None:
                name = yield from self._prepare(statement)
            self._pgconn.send_query_prepared(name, values, formats)
            result = yield from self._result()
            if result.status in _DONE:
                return self._rows(result)
            error = e.error_from_result(result, encoding=adapt.encoding)
            if not (known and isinstance(error, _OUTDATED) and self._idle):
                raise error
            del self._names[statement]

    def _prepare(self, statement: Statement) -> PQGen[bytes]:
        self._made += 1
        name = f"call_{self._made}".encode()
        self._pgconn.send_prepare(name, statement.text)
        result = yield from self._result()
        if result.status not in _DONE:
            raise e.error_from_result(result, encoding=self._adapt.encoding)
        self._names[statement] = name
        return name

    def _result(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from generators.execute(self._pgconn)
        return results[-1]

    def _rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        self._adapt.set_pgresult(result)
        try:
            return self._adapt.load_rows(0, result.ntuples, tuple)
        finally:
            self._adapt.set_pgresult(None)

    @property
    def _idle(self) -> bool:
        return self._pgconn.transaction_status == pq.TransactionStatus.IDLE
