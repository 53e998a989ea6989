"""Runs a named query and returns its rows as values."""

from collections.abc import Mapping
from typing import LiteralString, TypeVar

from psycopg.rows import class_row

from bridge.store.trio_psycopg import TrioConnection

T = TypeVar("T")


async def fetch_one(conn: TrioConnection, query: LiteralString, params: Mapping[str, object], row: type[T]) -> T | None:
    """Return the first row of `query` as a `row`, or None when there is none."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchone()


async def fetch_all(conn: TrioConnection, query: LiteralString, params: Mapping[str, object], row: type[T]) -> list[T]:
    """Return all rows of `query`, each as a `row`."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchall()


async def run(conn: TrioConnection, query: LiteralString, params: Mapping[str, object]) -> int:
    """Run `query` and return how many rows it touched."""
    cursor = await conn.execute(query, params)
    return cursor.rowcount
