"""The outcome of a command together with the events that tell of it: one transaction, so neither is there alone."""

from collections.abc import Sequence

from bridge.domain.ids import CommandId, Epoch, InstanceKey, NodeId
from bridge.store.commands import Commands
from bridge.store.events import Draft, Ingest
from bridge.store.pool import Pool


class Outcomes:
    """Writes outcomes."""

    def __init__(self, pool: Pool, commands: Commands, events: Ingest) -> None:
        self._pool = pool
        self._commands = commands
        self._events = events

    async def conclude(
        self,
        command: CommandId,
        state: str,
        message_id: str | None,
        *,
        key: InstanceKey,
        owner: NodeId,
        epoch: Epoch,
        drafts: Sequence[Draft],
    ) -> None:
        """Store that `command` ended as `state` (sent, failed, unknown), and its events.

        Raises `StaleOwner`, `CommandClosed` or `StoreUnavailable`; then neither is stored.
        """
        async with self._pool.transaction() as conn:
            await self._events.append_in(conn, key, owner, epoch, drafts)
            await self._commands.finish(command, state, message_id, conn=conn)
        self._events.committed()
