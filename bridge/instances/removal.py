"""The end of an instance whose actor cannot even start: what an actor does at its deletion, without one."""

import time
from contextlib import suppress

import structlog

from bridge.domain.ids import InstanceKey, NodeId
from bridge.engine.errors import EngineError
from bridge.engine.pool import EnginePool
from bridge.instances import announce
from bridge.instances.inbox import Inbox
from bridge.store.errors import InstanceNotFound, StaleOwner
from bridge.store.store import Store

TRIES = 3
log = structlog.get_logger()


async def erase(store: Store, key: InstanceKey, node: NodeId) -> None:
    """Forget the session and say that the instance is deleted. Nobody can log out: the phone still lists the device."""
    for _ in range(TRIES):
        with suppress(StaleOwner):  # somebody noted at this moment that it does not run
            return await _erase(store, key, node)
    raise StaleOwner(instance=key)


async def _erase(store: Store, key: InstanceKey, node: NodeId) -> None:
    epoch = await store.instances.claim(key, node)
    row = await store.instances.get(key)
    if row is None:
        raise InstanceNotFound(instance=key)
    inbox = Inbox(store, row, node, epoch)
    if row.jid is not None:
        await store.instances.clear_identity(key, node, epoch)
        await store.instances.forget_session(row.jid)
        inbox.identify(None, None)
    now, phone = time.time(), inbox.phone
    await inbox.emit([announce.lifecycle(key, type_="instance.deleted", name="instance_deleted", phone=phone, at=now)])


async def forget_journal(engines: EnginePool, key: InstanceKey) -> None:
    """Remove the journal; one that cannot be removed is left, for it may be why the instance is deleted."""
    try:
        await engines.forget(key)
    except (EngineError, OSError) as error:
        log.warning("journal.not_removed", instance=key, error=str(error))
