"""The instances. What a session writes carries its owner and epoch, and is refused after another owner took over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bridge.domain.ids import Epoch, InstanceKey, NodeId
from bridge.store import cursors
from bridge.store.errors import DeviceTaken, InstanceNotFound, StaleOwner
from bridge.store.fetch import fetch_all, fetch_one, run
from bridge.store.pool import Pool
from bridge.store.queries import load
from bridge.store.rows import InstanceRow, Page

_SQL = load("instances")
PAGE_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class AppState:
    """What a phone has shared with a device: keys, collections that they open, and whether the name was among them."""

    keys: int
    collections: int
    named: bool


class Instances:
    """The repository of instances and of what whatsmeow keeps for their devices."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        key: InstanceKey,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        settings: Mapping[str, object] | None = None,
    ) -> InstanceRow:
        """Make an instance: created, paused, without an owner."""
        params = {
            "key": key,
            "name": name,
            "external_id": external_id,
            "metadata": Jsonb(dict(metadata)),
            "settings": Jsonb(dict(settings or {})),
        }
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["create"], params, InstanceRow)
        assert row is not None
        return row

    async def get(self, key: InstanceKey) -> InstanceRow | None:
        async with self._pool.connection() as conn:
            return await fetch_one(conn, _SQL["get"], {"key": key}, InstanceRow)

    async def list(
        self,
        *,
        state: str | None = None,
        external_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        only: frozenset[str] | None = None,
    ) -> Page[InstanceRow]:
        """Return up to `limit` (1 to 1,000) instances, of `only` these keys, oldest first; raise `InvalidCursor`."""
        limit = max(1, min(limit, PAGE_LIMIT))
        after_at, after_key = cursors.time(cursor) if cursor is not None else (None, None)
        params = {
            "state": state,
            "external_id": external_id,
            "after_at": after_at,
            "after_key": after_key,
            "limit": limit,
            "only": None if only is None else list(only),
        }
        async with self._pool.connection() as conn:
            rows = await fetch_all(conn, _SQL["page"], params, InstanceRow)
        items = tuple(rows[:limit])
        return Page(items, cursors.at_time(items[-1].created_at, items[-1].key) if len(rows) > limit else None)

    async def wanted(self) -> tuple[InstanceRow, ...]:
        """Return every instance; `desired` tells which of them should run."""
        async with self._pool.connection() as conn:
            return tuple(await fetch_all(conn, _SQL["wanted"], {}, InstanceRow))

    async def change(self, key: InstanceKey, changes: Mapping[str, object]) -> InstanceRow:
        """Change `name`, `external_id`, `metadata` or some `settings`; raise `InstanceNotFound`."""
        given = {f"has_{name}": name in changes for name in ("name", "external_id", "metadata")}
        values = {name: changes.get(name) for name in ("name", "external_id")}
        kept = {"metadata": Jsonb(changes.get("metadata")), "settings": Jsonb(changes.get("settings") or {})}
        params = {"key": key, **given, **values, **kept}
        async with self._pool.connection() as conn:
            row = await fetch_one(conn, _SQL["change"], params, InstanceRow)
        if row is None:
            raise InstanceNotFound(instance=key)
        return row

    async def set_desired(self, key: InstanceKey, desired: str) -> None:
        """Store what should run (running, paused); raise `InstanceNotFound`."""
        async with self._pool.connection() as conn:
            if await run(conn, _SQL["set_desired"], {"key": key, "desired": desired}) == 0:
                raise InstanceNotFound(instance=key)

    async def claim(self, key: InstanceKey, node: NodeId) -> Epoch:
        """Make `node` the owner and return its epoch; raise `InstanceNotFound`."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["claim"], {"key": key, "node": node})).fetchone()
        if row is None:
            raise InstanceNotFound(instance=key)
        return Epoch(row[0])

    async def set_state(
        self,
        key: InstanceKey,
        owner: NodeId,
        epoch: Epoch,
        *,
        state: str,
        reason: str | None = None,
        needs: str = "none",
        next_retry_at: datetime | None = None,
    ) -> None:
        """Store the session's state; `since` moves when the state is another one. Raise `StaleOwner`."""
        values = {"state": state, "reason": reason, "needs": needs, "next_retry_at": next_retry_at}
        await self._write("set_state", key, owner, epoch, values)

    async def set_restriction(
        self, key: InstanceKey, owner: NodeId, epoch: Epoch, restriction: Mapping[str, object] | None
    ) -> None:
        """Store what WhatsApp refuses for a while, None when that is over. Raise `StaleOwner`."""
        value = None if restriction is None else Jsonb(dict(restriction))
        await self._write("set_restriction", key, owner, epoch, {"restriction": value})

    async def set_identity(
        self,
        key: InstanceKey,
        owner: NodeId,
        epoch: Epoch,
        *,
        jid: str,
        lid: str | None = None,
        push_name: str | None = None,
    ) -> None:
        """Store who the instance is paired as; None leaves what is known of that device. Raise `StaleOwner`.

        Raises `DeviceTaken` when another instance has this jid.
        """
        try:
            await self._write("set_identity", key, owner, epoch, {"jid": jid, "lid": lid, "push_name": push_name})
        except psycopg.errors.UniqueViolation as exc:
            raise DeviceTaken(instance=key) from exc
        await self.tune_engine_tables()  # whoever is paired has made them, if need be

    async def set_push_name(self, key: InstanceKey, owner: NodeId, epoch: Epoch, push_name: str) -> None:
        """Store the name that the user shows to others; raise `StaleOwner`."""
        await self._write("set_push_name", key, owner, epoch, {"push_name": push_name})

    async def clear_identity(self, key: InstanceKey, owner: NodeId, epoch: Epoch) -> None:
        """Store that the instance is not paired any more; raise `StaleOwner`."""
        await self._write("clear_identity", key, owner, epoch, {})

    async def delete(self, key: InstanceKey) -> bool:
        """Delete it with its commands; return whether there was one. Its events are still delivered."""
        async with self._pool.connection() as conn:
            return await run(conn, _SQL["delete"], {"key": key}) > 0

    async def device_exists(self, jid: str) -> bool:
        """Tell whether whatsmeow has the keys of this device, so that it can log in without a QR code."""
        async with self._pool.connection() as conn:
            ready = await (await conn.execute(_SQL["device_tables_ready"])).fetchone()
            if ready is None or not ready[0]:
                return False
            found = await (await conn.execute(_SQL["device_exists"], {"jid": jid})).fetchone()
            return found is not None and bool(found[0])

    async def app_state(self, jid: str) -> AppState:
        """Return how much the engine has of what the phone shares with this device, which it knows."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_SQL["app_state"], {"jid": jid})).fetchone()
        assert row is not None
        return AppState(*row)

    async def tune_engine_tables(self) -> None:
        """Spare the engine commits that change nothing, and note what it does not tell, once it has its tables."""
        async with self._pool.connection() as conn:
            await conn.execute(_SQL["tune_engine_tables"])

    async def forget_session(self, jid: str) -> int:
        """Delete everything that whatsmeow keeps for this device of ours; return how many rows were named for that.

        The tables are read from the catalogue, for each release of whatsmeow brings new ones; not all of them hang on
        the device by a foreign key.
        """
        deleted = 0
        async with self._pool.transaction() as conn:
            for table, our_jid, any_jid in await (await conn.execute(_SQL["device_columns"])).fetchall():
                query = sql.SQL("delete from {} where {} = %s").format(
                    sql.Identifier("whatsapp", table), sql.Identifier(our_jid or any_jid)
                )
                deleted += (await conn.execute(query, (jid,))).rowcount
        return deleted

    async def _write(
        self, query: str, key: InstanceKey, owner: NodeId, epoch: Epoch, values: Mapping[str, object]
    ) -> None:
        params = {"key": key, "owner": owner, "epoch": epoch, **values}
        async with self._pool.connection() as conn:
            if await run(conn, _SQL[query], params) == 0:
                raise StaleOwner(instance=key, epoch=epoch)
