"""A command's outcome and the event that tells of it are one transaction."""

import time

import pytest

from bridge.domain.events import Event, Outcome
from bridge.domain.ids import CommandId, Epoch, InstanceKey
from bridge.ids import new_command_id, new_instance_key, new_node_id
from bridge.store.errors import StaleOwner
from bridge.store.rows import InstanceRow
from bridge.store.store import Store
from bridge.webhooks.envelope import InstanceView, draft


async def owned(store: Store) -> InstanceRow:
    """Return an instance with an owner."""
    key = new_instance_key()
    await store.instances.create(key, None, None, {})
    await store.instances.claim(key, new_node_id())
    row = await store.instances.get(key)
    assert row is not None
    return row


async def running_command(store: Store, key: InstanceKey) -> CommandId:
    row = await store.commands.insert(
        new_command_id(), key, kind="text", body={"to": "x", "text": "y"}, state="running"
    )
    return row.id


async def report(store: Store, row: InstanceRow, command: CommandId, state: str, *, epoch: int | None = None) -> None:
    event = Event(
        type="message.status",
        name="message_sent",
        dedup_key=f"{state}:{command}",
        at=time.time(),
        data={},
        outcome=Outcome(command, state, "3EB0" if state == "sent" else None),
    )
    assert row.owner is not None
    await store.events.append(
        row.key, row.owner, Epoch(epoch or row.epoch), [draft(event, InstanceView(row.key), time.time())]
    )


async def state_of(store: Store, command: CommandId) -> tuple[str, str | None, bool]:
    row = await store.commands.get(command)
    assert row is not None
    return row.state, row.message_id, row.finished_at is not None


async def test_a_reported_outcome_ends_the_command(store: Store) -> None:
    row = await owned(store)
    command = await running_command(store, row.key)
    await report(store, row, command, "sent")
    assert await state_of(store, command) == ("sent", "3EB0", True)


async def test_an_outcome_under_an_old_epoch_changes_nothing(store: Store) -> None:
    row = await owned(store)
    command = await running_command(store, row.key)
    with pytest.raises(StaleOwner):
        await report(store, row, command, "sent", epoch=row.epoch + 1)
    assert await state_of(store, command) == ("running", None, False)


async def test_an_unknown_outcome_may_become_known_and_a_known_one_stays(store: Store) -> None:
    row = await owned(store)
    command = await running_command(store, row.key)
    await report(store, row, command, "unknown")
    assert (await state_of(store, command))[0] == "unknown"
    await report(store, row, command, "sent")
    await report(store, row, command, "failed")
    assert await state_of(store, command) == ("sent", "3EB0", True)
