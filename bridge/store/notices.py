"""Stores events that the bridge itself emits, about an endpoint and not about what WhatsApp said."""

from dataclasses import dataclass

from bridge.domain.ids import EndpointId, EventId
from bridge.store.fetch import run
from bridge.store.pool import Pool
from bridge.store.queries import load


@dataclass(frozen=True, slots=True)
class Notice:
    """An event about an endpoint; its body is `head`, the `seq` that it gets, and `tail`."""

    id: EventId
    about: EndpointId
    instance: str
    """The endpoint's instance, or `*`."""
    type: str
    name: str
    head: str
    tail: str


class Notices:
    """The repository of such events."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load("notices")

    async def announce(self, notice: Notice) -> None:
        """Store a notice, with a delivery for every other endpoint that wants it; nothing when its instance is gone."""
        params = {name: getattr(notice, name) for name in Notice.__slots__}
        async with self._pool.connection() as conn:
            await run(conn, self._sql["announce"], params)
