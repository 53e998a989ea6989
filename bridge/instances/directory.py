"""All instances of this bridge: starts an actor for each, and is where callers find them.

It is the child `instances` of the root: a supervisor of its own that parks an actor which crashes too often, so that
one number's trouble is never another's.
"""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
import trio

from bridge import meters
from bridge.domain import signals as sig
from bridge.domain.ids import InstanceKey
from bridge.domain.session import Needs, State
from bridge.ids import new_instance_key
from bridge.instances import announce
from bridge.instances.actor import InstanceActor
from bridge.instances.calls import ASK_S, Calls
from bridge.instances.errors import (
    AlreadyConnected,
    Busy,
    InstanceDown,
    SendUnknown,
)
from bridge.instances.messages import Delete, Emit, Logout, Message, Pace, Send, Told
from bridge.instances.pairing import Watch, ask_for_code
from bridge.instances.parts import Parts
from bridge.instances.qr import PairCode, QrCode
from bridge.instances.refs import Connecting
from bridge.instances.removal import erase, forget_journal
from bridge.instances.sends import chosen
from bridge.store.errors import InstanceNotFound, StoreError
from bridge.store.rows import InstanceRow
from supervisor import (
    ActorDown,
    Backoff,
    Change,
    ChildExists,
    ChildSpec,
    DeadlineExceeded,
    Intensity,
    MailboxFull,
    NoSuchChild,
    NotRunning,
    Parking,
    Snapshot,
    StartFailed,
    Supervisor,
)
from supervisor import State as ChildState

T = TypeVar("T")

log = structlog.get_logger()

INTENSITY = Intensity(max_restarts=8, period_s=60)
PARKING = Parking(retry_after_s=120)
BACKOFF = Backoff(first_s=0.1, max_s=15)
STOP_S = 10.0
START_AGAIN_S = 30.0
REASON_CHARS = 300
CHILD = "instance "
"""The children's names in the process tree are this and the instance's key."""


class Directory(Calls):
    """Finds actors by their instance's key."""

    def __init__(
        self, parts: Parts, *, intensity: Intensity = INTENSITY, backoff: Backoff = BACKOFF, parking: Parking = PARKING
    ) -> None:
        self._new_supervisor = partial(
            Supervisor,
            "instances",
            intensity=intensity,
            backoff=backoff,
            parking=parking,
            on_change=self._child_changed,
        )
        self._retry_parked_s = parking.retry_after_s
        self._count = meters.counting("instances")
        self._parts = parts
        self._store = parts.store
        self._actors: dict[InstanceKey, InstanceActor] = {}
        self._supervisor = self._new_supervisor()

    def snapshot(self) -> Snapshot:
        """Return the actors' part of the process tree."""
        return self._supervisor.snapshot()

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the actors of all instances until `stop`; one that cannot start is tried again, beside the others."""
        self._actors.clear()
        self._supervisor = self._new_supervisor()
        async with trio.open_nursery() as nursery, trio.open_nursery() as self._helpers:
            await nursery.start(partial(self._supervisor.run, stop=stop))
            for row in await self._store.instances.wanted():
                self._actors[row.key] = InstanceActor(row.key, self._parts)
                self._helpers.start_soon(self._start_in_the_end, row.key)
            self._helpers.start_soon(self._leave_without_store)
            task_status.started()
            await stop.wait()
            self._helpers.cancel_scope.cancel()

    async def _leave_without_store(self) -> None:
        """Close all sessions when PostgreSQL is away: a text that comes to an engine without it can't be decrypted."""
        while True:
            await self._store.until(False)
            log.warning("instances.store_lost")
            for actor in self._actors.values():
                self._helpers.start_soon(self._leave, actor)
            await self._store.until(True)

    async def _leave(self, actor: InstanceActor) -> None:
        with suppress(ActorDown, MailboxFull):
            await actor.leave()

    async def _start_in_the_end(self, key: InstanceKey) -> None:
        while key in self._actors:  # until somebody deletes it
            try:
                await self._start(key)
            except StartFailed as error:
                cause = error.__cause__ or error
                log.error("instance.start_failed", instance=key, error=type(cause).__name__)
                await self._mark_failed(key, f"start_failed: {cause}", START_AGAIN_S)
                await trio.sleep(START_AGAIN_S)
            except ChildExists:  # a call has begun to start it
                await trio.sleep(START_AGAIN_S)
                if self._supervisor.child(CHILD + key) is not None:
                    return
            except NotRunning:
                return
            else:
                return

    def _child_changed(self, change: Change) -> None:
        self._count(change)
        if change.state is ChildState.PARKED:
            key = InstanceKey(change.child.removeprefix(CHILD))
            log.error("instance.parked", instance=key, error=change.error)
            self._helpers.start_soon(self._mark_failed, key, f"parked: {change.error}", self._retry_parked_s)

    async def _mark_failed(self, key: InstanceKey, reason: str, retry_after_s: float) -> None:
        """Store that the instance does not run; its actor, which would store it otherwise, is not there."""
        if key not in self._actors:
            return
        try:
            epoch = await self._store.instances.claim(key, self._parts.node)
            await self._store.instances.set_state(
                key,
                self._parts.node,
                epoch,
                state=State.FAILED.value,
                reason=reason[:REASON_CHARS],
                needs=Needs.OPERATOR.value,
                next_retry_at=datetime.now(UTC) + timedelta(seconds=retry_after_s),
            )
        except StoreError as error:
            log.warning("instance.not_marked", instance=key, code=error.code)

    async def _start(self, key: InstanceKey) -> InstanceActor:
        actor = self._actors.setdefault(key, InstanceActor(key, self._parts))
        spec = ChildSpec(
            CHILD + key,
            actor.run,
            shutdown_s=STOP_S,
            start_timeout_s=math.inf,
            inspect=lambda: {"state": actor.session.state.value, "mailbox": actor.depth, "held": dict(actor.held)},
        )
        await self._supervisor.start_child(spec)
        return actor

    def _find(self, key: InstanceKey) -> InstanceActor:
        actor = self._actors.get(key)
        if actor is None:
            raise InstanceNotFound(instance=key)
        return actor

    async def _ask(self, actor: InstanceActor, message: Message, deadline_s: float = ASK_S) -> object:
        try:
            return await actor.ask(message, deadline_s)
        except MailboxFull:
            raise Busy(retry_after_s=1) from None
        except (ActorDown, DeadlineExceeded) as error:
            if isinstance(message, Send) and not error.certain:
                raise SendUnknown(
                    command=message.message.command
                ) from None  # its row stays running: recovery settles it
            raise InstanceDown(retry_after_s=2) from None

    async def _ask_or_restart(self, key: InstanceKey, message: Message, deadline_s: float = ASK_S) -> None:
        """Ask, and start an actor that is parked: an operator's word counts for more than its past."""
        try:
            await self._ask(self._find(key), message, deadline_s)
        except InstanceDown:
            await self.restart(key)
            await self._ask(self._find(key), message, deadline_s)

    async def _row(self, key: InstanceKey) -> InstanceRow:
        row = await self._store.instances.get(key)
        if row is None:
            raise InstanceNotFound(instance=key)
        return row

    # --- the calls ----------------------------------------------------------------------------------------------------

    async def create(
        self,
        name: str | None,
        external_id: str | None,
        metadata: Mapping[str, object],
        *,
        key: InstanceKey | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> InstanceRow:
        """Make an unpaired instance, under `key` if that is given, and start its actor."""
        row = await self._store.instances.create(key or new_instance_key(), name, external_id, metadata, settings)
        actor = await self._start(row.key)
        event = announce.lifecycle(row.key, type_="instance.created", name="instance_created", at=time.time())
        await self._ask(actor, Emit(event))
        return row

    async def connect(self, key: InstanceKey, wait_s: float) -> Connecting:
        """Make it run; wait up to `wait_s` for a QR code when it is unpaired, for being online when it is paired."""
        actor = self._find(key)
        if actor.session.state is State.ONLINE:
            return Connecting("already_connected", State.ONLINE.value)
        paired = actor.session.paired
        await self._ask_or_restart(key, Told(sig.ConnectAsked()))
        with trio.move_on_after(wait_s):
            while actor.qr.current is None and actor.session.state is State.CONNECTING:
                await actor.changed()
        status = "connecting"
        if actor.qr.current is not None:
            status = "qr_generated"
        elif paired:
            status = "already_logged_in"
        return Connecting(status, actor.session.state.value)

    async def qr(self, key: InstanceKey, wait_s: float) -> QrCode | None:
        """Return the code that is shown now, or None when none came in `wait_s`; raise `AlreadyConnected`."""
        actor = self._find(key)
        with trio.move_on_after(wait_s):
            while actor.qr.current is None:
                if actor.session.paired:
                    raise AlreadyConnected(state=actor.session.state.value)
                await actor.changed()
        return actor.qr.current

    def qr_codes(self) -> dict[InstanceKey, str]:
        """Return the QR codes that are shown now."""
        boards = ((key, actor.qr.current) for key, actor in self._actors.items())
        return {key: shown.code for key, shown in boards if shown is not None}

    async def pair_code(self, key: InstanceKey, phone: str, *, notify: bool) -> PairCode:
        """Make an unpaired instance run, and return a code for the owner of `phone`; raise `AlreadyConnected`."""
        actor = self._find(key)
        if actor.session.paired:
            raise AlreadyConnected(state=actor.session.state.value)
        await self._ask_or_restart(key, Told(sig.ConnectAsked()))
        return await ask_for_code(self._find(key), phone, notify=notify)

    def watch_pairing(self, key: InstanceKey) -> Watch:
        """Return what shows how the pairing of this instance goes on."""
        return Watch(self._find(key))

    async def change(self, key: InstanceKey, changes: Mapping[str, object]) -> InstanceRow:
        """Change `name`, `external_id`, `metadata` or some `settings`; they count from now on."""
        row = await self._store.instances.change(key, changes)
        if changes.get("settings"):
            with suppress(InstanceDown):  # it reads the row when it starts
                await self._ask(self._find(key), Pace(chosen(row.settings)))
        with suppress(AttributeError):  # an actor that has not started has no inbox, and reads the row later
            self._find(key).inbox.relabel(row.external_id, row.metadata)
        return row

    def heard_ago_s(self, key: InstanceKey) -> float | None:
        """Return how long ago WhatsApp gave this instance a sign of life; None while there is no connection."""
        actor = self._actors.get(key)
        return actor.pulse.age_s if actor is not None and actor.online else None

    async def logout(self, key: InstanceKey) -> InstanceRow:
        """Unlink the device at WhatsApp; the instance stays and can be paired again. Raise `NotConnected`."""
        await self._ask(self._find(key), Logout(), deadline_s=2 * ASK_S)
        return await self._row(key)

    async def disconnect(self, key: InstanceKey) -> InstanceRow:
        """Leave WhatsApp and stay away, also after a restart; the session stays paired."""
        await self._ask_or_restart(key, Told(sig.PauseAsked()))
        return await self._row(key)

    async def restart(self, key: InstanceKey) -> InstanceRow:
        """End the actor and start it again from the store, also when it is parked."""
        self._find(key)
        try:
            try:
                await self._supervisor.restart_child(CHILD + key)
            except NoSuchChild:  # it has never started
                await self._start(key)
        except StartFailed as error:
            raise InstanceDown(str(error.__cause__ or error)) from error
        return await self._row(key)

    async def delete(self, key: InstanceKey) -> None:
        """Log out, forget the session, and remove the instance; its events are still delivered."""
        try:
            await self._ask(self._find(key), Delete(), 2 * ASK_S)
        except InstanceDown:
            await self._delete_without_actor(key)
        with suppress(NoSuchChild):
            await self._supervisor.delete_child(CHILD + key)
        self._actors.pop(key, None)
        await forget_journal(self._parts.engines, key)
        await self._store.instances.delete(key)

    async def _delete_without_actor(self, key: InstanceKey) -> None:
        """Start the actor to have it log out; where it cannot start, do without."""
        try:
            await self.restart(key)
        except InstanceDown:
            del self._actors[key]  # nobody tries to start it any more
            await erase(self._store, key, self._parts.node)
        else:
            await self._ask(self._find(key), Delete(), 2 * ASK_S)

    @property
    def actors(self) -> Mapping[InstanceKey, InstanceActor]:
        """All actors, running or not."""
        return self._actors
