"""The statements of queries.sql, a connection on which some of them are prepared, and what comes back of them."""

from collections.abc import Mapping, Sequence
from importlib import resources

import trio
from psycopg.pq.abc import PGresult

from receiver.errors import ConnectionLost
from receiver.libpq import Connection

_SET_UP_DEADLINE_S = 5.0


def _file(name: str) -> str:
    return resources.files("receiver").joinpath(name).read_text(encoding="utf-8")


def _load() -> Mapping[str, str]:
    """Return the named blocks of queries.sql."""
    blocks = _file("queries.sql").split("-- name: ")[1:]
    return {name.strip(): sql for name, _, sql in (block.partition("\n") for block in blocks)}


_QUERIES, _SCHEMA = _load(), _file("schema.sql")


async def connect(url: str, names: Sequence[str], *, schema: bool = False) -> Connection:
    """Connect, make the schema if asked, and prepare the statements `names`; raise `ConnectionLost`."""
    connection = await Connection.open(url)
    try:
        with trio.fail_after(_SET_UP_DEADLINE_S):
            await connection.run(_QUERIES["set_up"])
            if schema:
                await connection.run(_QUERIES["schema_lock"] + _SCHEMA)
            for name in names:
                await connection.prepare(name, _QUERIES[name])
    except trio.TooSlowError as error:
        connection.close()
        raise ConnectionLost("no answer while setting up") from error
    except BaseException:
        connection.close()
        raise
    return connection


def encoded(values: Sequence[str | int | float | None]) -> list[bytes | None]:
    """Return parameters in PostgreSQL's text form."""
    return [None if value is None else str(value).encode() for value in values]


def value(result: PGresult, row: int, column: int) -> str | None:
    """Return one value of a result in its text form."""
    found = result.get_value(row, column)
    return None if found is None else found.decode()


def text(result: PGresult, row: int, column: int) -> str:
    """Return one value that is never null."""
    found = value(result, row, column)
    assert found is not None
    return found


def row(result: PGresult, number: int) -> list[str | None]:
    """Return all values of a row."""
    return [value(result, number, column) for column in range(result.nfields)]


def as_bytes(hexadecimal: str) -> bytes:
    """Return a bytea that came in its text form."""
    return bytes.fromhex(hexadecimal.removeprefix("\\x"))
