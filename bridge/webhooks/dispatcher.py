"""Delivers: claims lanes, lets each be worked on by a task of its own, records how the attempts ended.

One task, the pump, talks to the store: in one go it records what ended since and claims what is due. It sleeps until
something was committed, something ended, or a second is over. The lanes' tasks only post; retries are rows, not sleeps.
"""

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

import structlog
import trio

from bridge.domain.ids import EndpointId, NodeId
from bridge.domain.lanes import Answer, Case, Decision, Fate, decide
from bridge.net.guard import Guard
from bridge.store.deliveries import Attempted, ClaimedLane, Deliveries, Pending, Released
from bridge.store.endpoints import Endpoints
from bridge.store.errors import StoreUnavailable
from bridge.store.notices import Notices
from bridge.webhooks.breaker import DISABLE_AFTER_S, NOTE_AFTER_S, Breaker
from bridge.webhooks.limits import Limits, Stats
from bridge.webhooks.notice import FAILED_REASON, GONE_REASON, paused
from bridge.webhooks.post import Poster

log = structlog.get_logger()

POLL_S = 1.0
"""How long something that nobody told us of may stay unseen."""
GATHER_S = 0.02
"""How long the record of an attempt may wait for company while nothing depends on it."""
OUTAGE_S = 0.5
LEASE_S = 90.0
LEASE_MARGIN_S = 10.0
"""What must be left of a lease beyond an attempt's own timeout."""
TIDY_S = 10.0
CLEANUP_S = 1.5


class DeliveryStore(Protocol):
    """The part of the store that delivery needs."""

    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def endpoints(self) -> Endpoints: ...
    @property
    def notices(self) -> Notices: ...

    async def until(self, healthy: bool) -> object:
        """Return when PostgreSQL is, or is not, there."""


class Dispatcher:
    """A supervised child; may be run again after it ended."""

    def __init__(
        self,
        store: DeliveryStore,
        *,
        node: NodeId,
        allow_private: Iterable[str] = (),
        limits: Limits | None = None,
        alone: bool = True,
        poster: Poster | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 -- spreads load, hides nothing
    ) -> None:
        """`alone` says that no other node delivers from this database."""
        self._store = store
        self._node = node
        self._alone = alone
        self._limits = limits or Limits()
        self._poster = poster or Poster(Guard(allow_private))
        self._jitter = jitter
        self._breakers: dict[EndpointId, Breaker] = {}
        self._attempted: list[Attempted] = []
        self._released: list[Released] = []
        self._halted: dict[EndpointId, tuple[str, str]] = {}
        """Endpoints that are to be paused or disabled, and why."""
        self._failing: dict[EndpointId, float | None] = {}
        """Since when endpoints have only failed, or that they are well again, to be stored."""
        self._hastened: dict[EndpointId, frozenset[str] | None] = {}
        self._due: list[float] = []
        self._running: set[tuple[EndpointId, str]] = set()
        self._wakes = 0
        self._signal = trio.Event()
        self._nap = trio.CancelScope()
        self._claimed_at = -inf
        self._outage = False
        self._lost = False
        """PostgreSQL was away, perhaps between two of our statements: what it committed last may be gone."""
        self._stopping = False
        self._counts = dict.fromkeys(Fate, 0)

    def wake(self) -> None:
        """Say that there may be something to deliver: after a commit, or on a hint from another node."""
        self._wakes += 1
        self._signal.set()

    def forgive(self, id: EndpointId) -> None:
        """Let an endpoint go on that was held or paused: all its lanes are due now."""
        if (breaker := self._breakers.get(id)) is not None:
            breaker.forget()
        self._hastened[id] = None
        self.wake()

    @property
    def stats(self) -> Stats:
        counts = self._counts
        held = tuple(id for id, breaker in self._breakers.items() if breaker.probe_at is not None)
        return Stats(
            delivered=counts[Fate.DELIVERED],
            failed=counts[Fate.RETRY],
            parked=counts[Fate.PARKED],
            dead=counts[Fate.DEAD],
            in_flight=len(self._running),
            held=held,
        )

    async def run(self, *, stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until `stop`; then let attempts end that have begun, record them, and end.

        Raises `StoreUnavailable` when PostgreSQL does not answer at the start; later it waits for it.
        """
        self._attempted, self._released, self._stopping = [], [], False
        self._breakers.clear()
        self._running.clear()
        await self._store.deliveries.release(self._node, alone=self._alone)
        try:
            async with trio.open_nursery() as lanes, trio.open_nursery() as helpers:
                helpers.start_soon(self._tidy)
                helpers.start_soon(self._watch)
                helpers.start_soon(self._stop_on, stop, lanes.cancel_scope)
                task_status.started()
                while not self._stopping or self._running:
                    await self._pump(lanes, claim=await self._wait())
                helpers.cancel_scope.cancel()
        finally:
            with trio.move_on_after(CLEANUP_S, shield=True):
                await self._poster.tidy(everything=True)
                await self._record_the_rest()

    async def _stop_on(self, stop: trio.Event, lanes: trio.CancelScope) -> None:
        await stop.wait()
        self._stopping = True
        self._signal.set()
        await trio.sleep(self._limits.drain_s)
        lanes.cancel()

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_S)
            await self._poster.tidy()

    async def _watch(self) -> None:
        while True:
            await self._store.until(False)
            self._lost = True
            self.wake()
            await self._store.until(True)

    async def _wait(self) -> bool:
        """Sleep until there is something to do; return whether to look for due lanes too, or to record only."""
        if self._outage:
            await trio.sleep(OUTAGE_S)
            return True
        now = trio.current_time()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        claim_at = min(self._claimed_at + POLL_S, self._due[0] if self._due else inf)
        with trio.move_on_at(claim_at) as self._nap:
            if self._attempted:
                self._nap.deadline = min(claim_at, now + GATHER_S)
            await self._signal.wait()
        claim = self._signal.is_set() or trio.current_time() >= claim_at
        self._signal = trio.Event()
        return claim

    async def _pump(self, nursery: trio.Nursery, *, claim: bool) -> None:
        """Record what ended, claim what is due, start its tasks."""
        attempted, released = self._attempted, self._released
        self._attempted, self._released = [], []
        lanes: tuple[ClaimedLane, ...] = ()
        claim = claim and not self._stopping
        claimed_at = trio.current_time()
        try:
            if not claim or self._outage or self._lost or self._hastened or self._halted or self._failing:
                await self._store.deliveries.settle(self._node, attempted, released)
                await self._mend()
                attempted, released = [], []
            if self._outage or self._lost:  # claims may have been made without our hearing of it, or settlements lost
                self._lost = False
                await self._store.deliveries.release(self._node, alone=False, keep=self._ours)
            if claim:
                lanes = await self._settle_and_claim(attempted, released, claimed_at)
                self._claimed_at = claimed_at
        except StoreUnavailable as error:
            # To record it twice changes nothing; to claim before it is recorded would attempt again what has arrived.
            self._restore(attempted, released)
            log.warning("webhook.store_unavailable", error=str(error))
            self._outage = True
            return
        except BaseException:
            self._restore(attempted, released)
            raise
        self._outage = False
        # One that is ours already comes back when PostgreSQL has lost its claim; now that is made again.
        ours = self._ours
        lanes = tuple(lane for lane in lanes if (lane.destination.id, lane.key) not in ours)
        self._note_more(lanes, claimed=claim)
        for lane in lanes:
            breaker = self._breaker(lane.destination.id)
            if lane.replays:
                breaker.replaying += 1
            else:
                breaker.busy += 1
            self._running.add((lane.destination.id, lane.key))
            nursery.start_soon(self._run_lane, lane, breaker, claimed_at + LEASE_S)

    @property
    def _ours(self) -> set[tuple[EndpointId, str]]:
        """The lanes that are worked on, and those whose end is still to be recorded."""
        return self._running | {(lane.endpoint_id, lane.key) for lane in self._released}

    def _note_more(self, lanes: tuple[ClaimedLane, ...], *, claimed: bool) -> None:
        """Remember for which endpoints there was no room: their next lane is claimed as soon as one ends."""
        if not claimed:
            return
        given = Counter((lane.destination.id, lane.replays) for lane in lanes)
        for breaker in self._breakers.values():
            breaker.more = False
        for (id, replays), count in given.items():
            room = self._limits.replays if replays else self._limits.per_endpoint
            breaker = self._breaker(id)
            taken = breaker.replaying if replays else breaker.busy
            breaker.more |= count + taken >= room or len(self._running) + len(lanes) >= self._limits.lanes

    def _restore(self, attempted: list[Attempted], released: list[Released]) -> None:
        self._attempted, self._released = attempted + self._attempted, released + self._released

    async def _settle_and_claim(
        self, attempted: list[Attempted], released: list[Released], now: float
    ) -> tuple[ClaimedLane, ...]:
        free = self._free(None, now)
        replays = self._limits.replays
        busy = {
            id: (self._free(breaker, now), 0 if breaker.probe_at is not None else replays - breaker.replaying)
            for id, breaker in self._breakers.items()
        }
        return await self._store.deliveries.settle_and_claim(
            self._node,
            attempted,
            released,
            free=free,
            replays=replays,
            busy={id: left for id, left in busy.items() if left != (free, replays)},
            per_lane=self._limits.per_lane,
            lease_s=LEASE_S,
        )

    async def _mend(self) -> None:
        """Store what became of endpoints: gone, failing for long, well again, whose lanes are then due."""
        while self._halted:
            id, (state, reason) = next(iter(self._halted.items()))
            row = await self._store.endpoints.set_state(id, state, reason)
            if row is not None:
                await self._store.notices.announce(paused(row, time.time()))
                self._signal.set()
            del self._halted[id]
        while self._failing:
            id, since = next(iter(self._failing.items()))
            await self._store.endpoints.note_failing(id, since)
            del self._failing[id]
        while self._hastened:
            id, keys = next(iter(self._hastened.items()))
            await self._store.deliveries.hasten(id, None if keys is None else sorted(keys))
            del self._hastened[id]

    def _free(self, breaker: Breaker | None, now: float) -> int:
        """Return how many lanes an endpoint may be given; `None` is one that has none yet."""
        wanted, busy = (self._limits.per_endpoint, 0) if breaker is None else (breaker.free(now), breaker.busy)
        return min(wanted, max(self._limits.lanes - len(self._running), 1 if busy == 0 else 0))

    def _breaker(self, id: EndpointId) -> Breaker:
        if (breaker := self._breakers.get(id)) is None:
            breaker = self._breakers[id] = Breaker(self._limits.per_endpoint)
        return breaker

    async def _run_lane(self, lane: ClaimedLane, breaker: Breaker, lease_until: float) -> None:
        """Post a lane's deliveries one after the other, until one is to be tried again or the lease runs out."""
        to, wakes, wait_s = lane.destination, self._wakes, 0.0
        try:
            for pending in lane.deliveries:
                if self._stopping or trio.current_time() + to.timeout_s + LEASE_MARGIN_S > lease_until:
                    break
                answer = await self._post(lane, pending)
                decision = self._judge(lane, pending, breaker, answer)
                self._attempted.append(
                    Attempted(
                        to.id,
                        lane.key,
                        pending.event_id,
                        decision.fate,
                        answer.status,
                        answer.error,
                        decision.wait_s,
                        answer.duration_ms,
                        answer.body,
                    )
                )
                self._recorded(soon=False)
                if decision.fate is Fate.RETRY:
                    wait_s = decision.wait_s or 0.0
                    break
        finally:
            if lane.replays:
                breaker.replaying -= 1
            else:
                breaker.busy -= 1
            self._running.discard((to.id, lane.key))
            self._released.append(Released(to.id, lane.key, wait_s))
            if wait_s:
                heapq.heappush(self._due, trio.current_time() + wait_s)
            # What was committed meanwhile may be waiting for this lane; else there is time for company.
            self._recorded(soon=self._stopping or breaker.more or wakes != self._wakes or len(lane.deliveries) > 1)

    async def _post(self, lane: ClaimedLane, pending: Pending) -> Answer:
        try:
            return await self._poster.post(lane.destination, pending)
        except Exception as error:  # a fault of ours must not end the deliveries of all others
            log.exception("webhook.attempt_crashed", endpoint=lane.destination.id, event_id=pending.event_id)
            return Answer(None, f"internal: {type(error).__name__}")

    def _judge(self, lane: ClaimedLane, pending: Pending, breaker: Breaker, answer: Answer) -> Decision:
        """Decide, and let the endpoint's breaker know."""
        to, now, wall = lane.destination, trio.current_time(), time.time()
        failing_since = wall if pending.first_failed_at is None else pending.first_failed_at
        case = Case(
            attempts=pending.attempts + 1,
            age_s=wall - pending.created_at,
            max_age_s=to.max_age_s,
            endpoint_well=breaker.succeeded_at is not None and breaker.succeeded_at > failing_since,
        )
        decision = decide(answer, case, jitter=self._jitter())
        self._counts[decision.fate] += 1
        if answer.ok:
            waiting = breaker.succeeded(lane.key, wall)
            if to.failing_since is not None:
                self._failing[to.id] = None
            if waiting is None or waiting:
                self._hastened[to.id] = waiting
                self._signal.set()
            return decision
        if breaker.failed(lane.key, answer, now, jitter=self._jitter()):
            log.warning("webhook.endpoint_held", endpoint=to.id, status=answer.status, error=answer.error)
        if breaker.probe_at is not None:
            heapq.heappush(self._due, breaker.probe_at)
        since = breaker.failing_since(wall, to.failing_since)
        if to.failing_since is None and wall - since >= NOTE_AFTER_S:
            self._failing[to.id] = since
        if decision.pause_endpoint:
            self._halted[to.id] = ("paused", GONE_REASON)
            log.warning("webhook.endpoint_paused", endpoint=to.id, status=answer.status)
        elif wall - since >= DISABLE_AFTER_S:
            self._halted[to.id] = ("disabled", FAILED_REASON)
            log.error("webhook.endpoint_disabled", endpoint=to.id, error=answer.error)
        if decision.fate is not Fate.RETRY:
            log.warning("webhook.delivery_given_up", endpoint=to.id, event_id=pending.event_id, fate=decision.fate)
        return decision

    def _recorded(self, *, soon: bool) -> None:
        if soon:
            self._signal.set()
        else:
            self._nap.deadline = min(self._nap.deadline, trio.current_time() + GATHER_S)

    async def _record_the_rest(self) -> None:
        attempted, released = self._attempted, self._released
        self._attempted, self._released = [], []
        try:
            await self._store.deliveries.settle(self._node, attempted, released)
        except Exception:  # the end of a crash: what is lost here is delivered again
            log.exception("webhook.record_lost", attempts=len(attempted))
