"""How the receiver is: for whoever restarts it, for whoever balances, for Prometheus and for people."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import msgspec
import trio

from receiver.desk import Desks, Shown
from receiver.errors import StoreUnavailable, Unavailable
from receiver.http import Request, Response
from receiver.metrics import CONTENT_TYPE, Metrics, Snapshot
from receiver.store import Backlog, Store

_CHECK_DEADLINE_S = 2.0


class Status:
    """The routes that tell of the receiver itself."""

    def __init__(
        self,
        store: Store,
        desks: Desks,
        metrics: Metrics,
        *,
        refused: Mapping[str, int],
        streams: Callable[[], int],
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._desks = desks
        self._metrics = metrics
        self._refused = refused
        self._streams = streams
        self._stopping = stopping

    async def livez(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        if self._stopping():
            raise Unavailable("it is shutting down")
        await self._store.check(_CHECK_DEADLINE_S)
        return _json({"status": "ready"})

    async def health(self, request: Request) -> Response:
        database = "ok" if await self._is_database_up() else "unavailable"
        counts = {**self._store.counts(), "refused": dict(self._refused)}
        states = {handler.name: handler.state for handler in self._desks.shown()}
        well = database == "ok" and all(state in ("up", "standing_by") for state in states.values())
        status = "draining" if self._stopping() else "ok" if well else "degraded"
        return _json({"status": status, "database": database, "handlers": states, "since_start": counts})

    async def handlers(self, request: Request) -> Response:
        shown = [asdict(handler) | (asdict(backlog) if backlog else {}) for handler, backlog in await self._backlogs()]
        return _json({"handlers": shown})

    async def metrics(self, request: Request) -> Response:
        up = await self._is_database_up()
        snapshot = Snapshot(
            counts=self._store.counts(),
            refused=dict(self._refused),
            streams=self._streams(),
            database_up=up,
            handlers=await self._backlogs() if up else tuple((handler, None) for handler in self._desks.shown()),
        )
        return Response(200, self._metrics.render(snapshot), content_type=CONTENT_TYPE)

    async def _is_database_up(self) -> bool:
        try:
            await self._store.check(_CHECK_DEADLINE_S)
        except StoreUnavailable:
            await trio.lowlevel.checkpoint()
            return False
        return True

    async def _backlogs(self) -> tuple[tuple[Shown, Backlog | None], ...]:
        found = list[tuple[Shown, Backlog | None]]()
        await trio.lowlevel.checkpoint()
        for handler in self._desks.shown():
            try:
                found.append((handler, await self._store.backlog(handler.name)))
            except StoreUnavailable:
                found.append((handler, None))
        return tuple(found)


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))
