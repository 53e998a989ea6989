"""The actor of one instance: one task that takes everything that happens to the instance, in order.

It owns the engine session, asks `bridge.domain.session.decide` what to do about each signal, stores the new state and
then carries out the effects. What the engine reports is committed before it is acknowledged to the engine's journal.
When its engine dies it crashes, and its supervisor starts it again from the store.
"""

import math
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
import trio

from bridge.domain import effects as fx
from bridge.domain import signals as sig
from bridge.domain.ids import InstanceKey
from bridge.domain.questions import Question
from bridge.domain.session import Needs, Session, State, decide
from bridge.engine.answers import answer
from bridge.engine.errors import EngineDown, EngineError
from bridge.engine.journal import Record
from bridge.engine.session import Session as EngineSession
from bridge.instances import announce
from bridge.instances.inbox import Inbox
from bridge.instances.leaving import not_online, unlink
from bridge.instances.messages import Cancel, Delete, Emit, Logout, Lost, Message, Pace, Reported, Send, StoreLost, Told
from bridge.instances.parts import Parts
from bridge.instances.phonebook import Phonebook
from bridge.instances.pulse import Pulse
from bridge.instances.qr import QrBoard
from bridge.instances.recovery import remembered, restricted_for_s
from bridge.instances.sends import Sends
from bridge.instances.settling import settled
from bridge.store.errors import StoreUnavailable
from supervisor import Actor, ActorDown, Failed

T = TypeVar("T")

log = structlog.get_logger()

MAILBOX_SIZE = 1000
DRAIN_S = 5.0
CLEAN_UP_S = 5.0
QUESTION_S = 20.0
QUESTIONS_AT_ONCE = 2
"""Less than what a host leaves beside the outbox's sends."""
BATCH = 256
"""Records that are committed together at the most."""


class InstanceActor(Actor[Message]):
    """Runs one instance. Each start begins with what the store says, under a new epoch."""

    def __init__(self, key: InstanceKey, parts: Parts) -> None:
        super().__init__(capacity=MAILBOX_SIZE)
        self.key = key
        self.qr = QrBoard()
        self.session = Session()
        self.pulse = Pulse(parts.self_check_s)
        self._parts = parts
        self.phonebook = Phonebook(lambda question: self.query(question, QUESTION_S))
        self._questions = trio.CapacityLimiter(QUESTIONS_AT_ONCE)
        self._store = parts.store
        self._changed = trio.Event()
        self._engine: EngineSession | None = None
        self._retry = trio.CancelScope()
        self._opening = trio.CancelScope()

    async def changed(self) -> None:
        """Wait until the session's state or its QR code has changed."""
        async with trio.open_nursery() as nursery:

            async def first(wait: object) -> None:
                await wait()  # type: ignore[operator]
                nursery.cancel_scope.cancel()

            nursery.start_soon(first, self._changed.wait)
            nursery.start_soon(first, self.qr.changed)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(  # noqa: ASYNC128 -- started by the base class
        self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Live once; however it ends, the engine session ends with it."""
        try:
            await super().run(stop=stop, task_status=task_status)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP_S):
                await self._close_engine()
            self._wake()

    async def leave(self) -> None:
        """Leave WhatsApp now, beside whatever the actor is waiting for: what is not delivered to us stays with them."""
        if self._engine is not None:
            await self._close_engine()
            self.tell(StoreLost())

    async def on_start(self) -> None:
        """Take the instance over, store what an earlier process left behind, and decide what should run."""
        await self._store.ready(math.inf)
        epoch = await self._store.instances.claim(self.key, self._parts.node)
        row = await self._store.instances.get(self.key)
        assert row is not None
        self.session = remembered(row)
        self.qr.clear()
        self._pump_ended = trio.Event()
        self._pump_ended.set()
        parts = self._parts
        self.inbox = Inbox(self._store, row, parts.node, epoch, parts.incoming)
        self.sends = Sends(parts, row, self.inbox, self._online_engine, self.phonebook.forget)
        await self.nursery.start(self.sends.run)
        await self._replay()
        await self.sends.recover()
        self.nursery.start_soon(self.pulse.run, self._online_engine, lambda signal: self.tell(Told(signal)))
        self.tell(Told(sig.Booted(restricted_for_s(row))))

    async def on_stop(self) -> None:
        """Let the sends that were promised finish; what the engine still reports stays in its journal."""
        with trio.move_on_after(DRAIN_S):
            await self.sends.drained()

    async def handle(self, message: Message) -> object:
        """Do the next thing; what this raises crashes the actor."""
        match message:
            case Reported(session, records):
                await self._take(session, records)
            case Told(signal):
                await self._apply(signal)
            case Send(outgoing):
                return await self.sends.take(outgoing, self.session)
            case Cancel(command):
                return await self.sends.cancel(command)
            case Pace(profile):
                await self.sends.pace(profile)
            case Emit(event):
                await self.inbox.emit([event])
            case Lost(session, error):
                if session is self._engine:
                    log.warning("instance.engine_lost", instance=self.key, error=error)
                    await self._apply(sig.EngineLost())
            case Logout():
                return await self._logout()
            case Delete():
                await self._delete()
            case StoreLost():
                raise StoreUnavailable("The actor waits for it from its start.")
        return None

    # --- what the engine reports --------------------------------------------------------------------------------------

    async def _replay(self) -> None:
        """Store what the last process was told and did not store; of its signals only identities still matter."""
        records = await self._parts.engines.drain(self.key)
        for start in range(0, len(records), BATCH):
            for signal in await self.inbox.take(records[start : start + BATCH]):
                if isinstance(signal, sig.PairSucceeded | sig.LoggedOut):
                    self.session = await self._settle_identity(signal)
        if records:
            log.info("journal.replayed", instance=self.key, records=len(records))
            await self._parts.engines.clear(self.key, records[-1].seq)

    async def _settle_identity(self, signal: sig.PairSucceeded | sig.LoggedOut) -> Session:
        if isinstance(signal, sig.PairSucceeded):
            await self._effect(fx.SaveIdentity(signal.jid, signal.lid))
            return Session(State.RECONNECTING, "paired", Needs.NONE, paired=True, wanted=True)
        decision = decide(Session(State.ONLINE, paired=True, wanted=True), signal)
        await self._effect(fx.ForgetDevice())
        return decision.session

    async def _take(self, session: EngineSession, records: Sequence[Record]) -> None:
        if session is self._engine:
            self.pulse.took(records)
        for signal in await self.inbox.take(records):
            if session is self._engine:
                await self._apply(signal)
        session.ack(records[-1].seq)

    async def _pump(self, session: EngineSession, before: trio.Event, ended: trio.Event) -> None:
        """Hand the session's records to the actor, batch by batch, after those of the session before it."""
        try:
            await before.wait()
            self.inbox.begin()
            async for record in session.events:
                batch = (record, *session.take_waiting(BATCH - 1))
                await self.ask(Reported(session, batch), math.inf)
        except EngineDown as error:
            self.tell(Lost(session, str(error)))
        except ActorDown:
            log.debug("instance.stopping", instance=self.key)  # what was not taken is in the journal
        finally:
            ended.set()

    # --- decisions ----------------------------------------------------------------------------------------------------

    async def _apply(self, signal: sig.Signal) -> None:
        before = self.session
        decision = decide(before, signal)
        self.session = decision.session
        if before.state is not decision.session.state:
            self._retry.cancel()
        if before != decision.session:
            await self._store_state(before, decision.effects)
        for effect in decision.effects:
            await self._effect(effect)
        self.sends.release()
        self._wake()

    async def _store_state(self, before: Session, effects: Sequence[fx.Effect]) -> None:
        session = self.session
        state, reason = session.state.value, session.reason
        log.info("instance.state", instance=self.key, epoch=self.inbox.epoch, state=state, reason=reason)
        retry = next((effect.delay_s for effect in effects if isinstance(effect, fx.RetryAfter)), None)
        await self._store.instances.set_state(
            self.key,
            self._parts.node,
            self.inbox.epoch,
            state=session.state.value,
            reason=session.reason,
            needs=session.needs.value,
            next_retry_at=datetime.now(UTC) + timedelta(seconds=retry) if retry is not None else None,
        )
        if before.wanted != session.wanted:
            await self._store.instances.set_desired(self.key, "running" if session.wanted else "paused")
        if session.state is not State.AWAITING_PAIRING:
            self.qr.clear()

    async def _effect(self, effect: fx.Effect) -> None:
        match effect:
            case fx.OpenSession() | fx.OpenPairing():
                self._open_engine(pairing=isinstance(effect, fx.OpenPairing))
            case fx.AwaitAppState():
                await settled(self._store.instances, self.inbox.view.jid)
                await self._store.engine_notes.forget(self.inbox.view.jid or "")
            case fx.CloseSession():
                await self._close_engine()
            case fx.SaveIdentity(jid, lid):
                await self._store.instances.set_identity(
                    self.key, self._parts.node, self.inbox.epoch, jid=jid, lid=lid, push_name=None
                )
                self.inbox.identify(jid, lid)
            case fx.SavePushName(name):
                await self.inbox.rename(name)
            case fx.ForgetDevice():
                await self._forget_device()
            case fx.ShowQr(code, expires_at):
                self.qr.show(code, expires_at)
                await self._store.instances.tune_engine_tables()  # by now the engine has made them
            case fx.ShowPairCode(code, expires_at):
                self.qr.show_pair_code(code, expires_at)
                await self.inbox.emit([announce.pair_code(self.key, code=code, at=time.time(), expires_at=expires_at)])
            case fx.RetryAfter(delay_s):
                self._retry.cancel()
                self._retry = trio.CancelScope()
                self.nursery.start_soon(self._tell_later, delay_s * random.uniform(1.0, 1.2), self._retry)  # noqa: S311
            case fx.Announce(name):
                await self.inbox.announce(self.session, name)
            case fx.Crash():
                raise EngineDown

    async def _tell_later(self, delay_s: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(delay_s)
            self.tell(Told(sig.RetryDue()))

    # --- the engine session -------------------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Whether a message that comes now would be sent."""
        return self._online_engine() is not None

    @property
    def held(self) -> Mapping[str, int]:
        """How many sends pacing holds, by reason."""
        return self.sends.held() if hasattr(self, "sends") else {}

    @property
    def engine(self) -> EngineSession | None:
        """The session, while it is online."""
        return self._online_engine()

    async def query(self, question: Question[T], timeout_s: float) -> T:
        """Ask WhatsApp over the open session; raise `NotConnected`, or `EngineError`. A few at once, others wait."""
        async with self._questions:
            engine = self._online_engine()
            if engine is None:
                raise not_online(self.session)
            answered = await answer(engine, question, timeout_s)
            self.pulse.heard()
            return answered

    @property
    def pairing_engine(self) -> EngineSession | None:
        """The session over which a pairing code can be asked for."""
        return self._engine if self.session.state is State.AWAITING_PAIRING else None

    def _online_engine(self) -> EngineSession | None:
        return self._engine if self.session.state in (State.ONLINE, State.STALE) else None

    def _open_engine(self, *, pairing: bool) -> None:
        """Begin to open a session; the actor goes on meanwhile, and closing it ends the attempt."""
        self._opening = trio.CancelScope()
        self.nursery.start_soon(self._open, self._opening, self.inbox.view.jid if not pairing else None)

    async def _open(self, scope: trio.CancelScope, jid: str | None) -> None:
        engines = self._parts.engines
        with scope:
            if jid is not None and not await self._store.instances.device_exists(jid):
                self.tell(Told(sig.LoggedOut("device_missing")))  # the library would end its process over it
                return
            try:
                engine = await (engines.pair(self.key) if jid is None else engines.open(self.key, jid))
            except EngineError as error:
                self.tell(Told(sig.ConnectFailed(str(error))))
                return
            self._engine = engine
            before, self._pump_ended = self._pump_ended, trio.Event()
            self.nursery.start_soon(self._pump, engine, before, self._pump_ended)

    async def _close_engine(self) -> None:
        self._opening.cancel()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    async def _forget_device(self) -> None:
        jid = self.inbox.view.jid
        await self._store.instances.clear_identity(self.key, self._parts.node, self.inbox.epoch)
        if jid is not None:
            await self._store.instances.forget_session(jid)
        self.inbox.identify(None, None)

    async def _logout(self) -> Failed | None:
        failed = await unlink(self._online_engine(), self.session)
        if failed is None:
            await self._apply(sig.LoggedOut("asked"))
        return failed

    async def _delete(self) -> None:
        """Log out where that is possible: a linked device that nobody answers for should not stay on the phone."""
        await unlink(self._online_engine(), self.session)
        await self._close_engine()
        await self._forget_device()
        phone, now = self.inbox.phone, time.time()
        deleted = announce.lifecycle(self.key, type_="instance.deleted", name="instance_deleted", phone=phone, at=now)
        await self.inbox.emit([deleted])

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
