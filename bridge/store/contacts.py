"""The people whom an instance knows: read from what whatsmeow keeps of names, numbers and LIDs. Nothing is written."""

from collections.abc import Collection
from dataclasses import dataclass

from bridge.store import cursors
from bridge.store.fetch import fetch_all
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import Page

_SQL = load("contacts")
PAGE_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class ContactRow:
    """One person. At least one of `phone` (digits) and `lid` is there."""

    phone: str | None
    lid: str | None
    name: str | None
    """As the phone's address book has it."""
    push_name: str | None
    """As they call themselves."""
    business_name: str | None
    place: str
    """Where it stands in the order."""


class Contacts:
    """The repository of contacts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, jid: str, *, search: str | None, limit: int, cursor: str | None) -> Page[ContactRow]:
        """Return up to `limit` (1 to 1,000) people whom the device `jid` knows; raise `InvalidCursor`.

        `search` is a part of a name or a number.
        """
        limit = max(1, min(limit, PAGE_LIMIT))
        after = None if cursor is None else cursors.place(cursor)
        like = None if search is None else f"%{_escaped(search)}%"
        rows = await self._rows(jid, like=like, after=after, limit=limit)
        items = tuple(rows[:limit])
        return Page(items, cursors.at_place(items[-1].place) if len(rows) > limit else None)

    async def find(self, jid: str, *, phone: str | None = None, lid: str | None = None) -> ContactRow | None:
        """Return the person whom the device `jid` knows by this number or LID."""
        rows = await self._rows(jid, phone=phone, lid=lid, limit=1)
        return rows[0] if rows else None

    async def other_address(self, *, phone: str | None = None, lid: str | None = None) -> str | None:
        """Return the LID behind a number, or the number behind a LID; None when they were never met together."""
        query, params = ("lid_of", {"phone": phone}) if phone is not None else ("number_of", {"lid": lid})
        async with self._pool.connection() as conn:
            ready = await (await conn.execute(_SQL["tables_ready"])).fetchone()
            if ready is None or not ready[0]:
                return None
            row = await (await conn.execute(_SQL[query], params)).fetchone()
        return None if row is None else str(row[0])

    async def numbers(self, lids: Collection[str]) -> dict[str, str]:
        """Return the numbers (digits) behind those of the LIDs (their users) that were met with one."""
        async with self._pool.connection() as conn:
            ready = await (await conn.execute(_SQL["tables_ready"])).fetchone()
            if ready is None or not ready[0]:
                return {}
            rows = await (await conn.execute(_SQL["numbers_of"], {"lids": list(lids)})).fetchall()
        return {str(lid): str(number) for lid, number in rows}

    async def _rows(
        self,
        jid: str,
        *,
        like: str | None = None,
        phone: str | None = None,
        lid: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[ContactRow]:
        params = {"jid": jid, "like": like, "phone": phone, "lid": lid, "after": after, "limit": limit}
        async with self._pool.connection() as conn:
            ready = await (await conn.execute(_SQL["tables_ready"])).fetchone()
            if ready is None or not ready[0]:
                return []
            return await fetch_all(conn, _SQL["page"], params, ContactRow)


def _escaped(text: str) -> str:
    """Return `text` as a pattern that stands for itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
