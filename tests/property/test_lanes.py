"""Random histories on a real PostgreSQL: a lane delivers in order, and nothing is lost."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import hypothesis.strategies as st
import trio
from hypothesis import HealthCheck, given, settings

from bridge.domain.ids import EndpointId, NodeId
from bridge.domain.lanes import PARK_AFTER, Answer, Case, Fate, decide
from bridge.domain.schedule import ASKED_MAX_S, LAST_WAIT_S, SLOW_WAIT_S
from bridge.ids import new_endpoint_id, new_node_id
from bridge.store.deliveries import Attempted, ClaimedLane, Released
from bridge.store.store import Store
from bridge.vault import Vault
from tests.support.hooks import MAIN_KEY, SECRET, Owned, owned, rows, run, text_event


@dataclass(frozen=True)
class Append:
    chats: tuple[int, ...]


@dataclass(frozen=True)
class Claim:
    node: int
    free: int
    per_lane: int


@dataclass(frozen=True)
class Work:
    """The node works on its first claimed lane; the attempts end like this, one after the other."""

    node: int
    fates: tuple[Fate, ...]
    settle_each: bool


@dataclass(frozen=True)
class Crash:
    """The node posted some of its first lane and died; its leases run out."""

    node: int
    posted: int


@dataclass(frozen=True)
class PassTime:
    kind: Literal["time"] = "time"


nodes = st.integers(0, 1)
steps = st.one_of(
    st.builds(Append, st.lists(st.integers(0, 1), min_size=1, max_size=4).map(tuple)),
    st.builds(Claim, nodes, st.integers(1, 3), st.integers(1, 3)),
    st.builds(
        Work,
        nodes,
        st.lists(st.sampled_from([Fate.DELIVERED] * 4 + list(Fate)), min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(Crash, nodes, st.integers(0, 2)),
    st.just(PassTime()),
)


@dataclass
class World:
    """The store, and what a receiver saw of it."""

    store: Store
    instance: Owned
    endpoint: EndpointId
    nodes: list[NodeId] = field(default_factory=lambda: [new_node_id(), new_node_id()])
    held: dict[int, list[ClaimedLane]] = field(default_factory=lambda: {0: [], 1: []})
    chat_of: dict[str, str] = field(default_factory=dict)
    seq_of: dict[str, int] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    out_of_order: set[str] = field(default_factory=set)
    """Parked: overtaken on purpose."""
    crashed: bool = False

    async def step(self, step: Append | Claim | Work | Crash | PassTime) -> None:
        match step:
            case Append(chats):
                events = [text_event(f"chat {chat}") for chat in chats]
                for event, stored in zip(events, await self.instance.append(*events), strict=True):
                    self.chat_of[stored.id], self.seq_of[stored.id] = event.chat, stored.seq
            case Claim(node, free, per_lane):
                self.held[node] += await self.claim(node, free, per_lane)
            case Work(node, fates, settle_each) if self.held[node]:
                await self.work(node, self.held[node].pop(0), fates, settle_each)
            case Crash(node, posted):
                self.crashed = self.crashed or bool(self.held[node])
                for lane in self.held[node][:1]:
                    self.arrived += [one.event_id for one in lane.deliveries[:posted]]
                self.held[node] = []
                await run(
                    self.store,
                    "update bridge.lane set claimed_until = now() where claimed_by = %s",
                    self.nodes[node],
                )
                self.nodes[node] = new_node_id()
            case PassTime():
                await run(self.store, "update bridge.lane set next_at = now() where next_at > now()")

    async def claim(self, node: int, free: int, per_lane: int) -> tuple[ClaimedLane, ...]:
        return await self.store.deliveries.settle_and_claim(
            self.nodes[node], (), (), free=free, busy={}, per_lane=per_lane, lease_s=60
        )

    async def work(self, node: int, lane: ClaimedLane, fates: tuple[Fate, ...], settle_each: bool) -> None:
        attempted: list[Attempted] = []
        wait_s = 0.0
        for one, fate in zip(lane.deliveries, fates, strict=False):
            if fate is Fate.DELIVERED:
                self.arrived.append(one.event_id)
            if fate is Fate.PARKED:
                self.out_of_order.add(one.event_id)
            attempted.append(Attempted(self.endpoint, lane.key, one.event_id, fate, 500, "no", 60.0))
            if fate is Fate.RETRY:
                wait_s = 60.0
                break
            if settle_each:
                await self.store.deliveries.settle(self.nodes[node], attempted, ())
                attempted = []
        released = [Released(self.endpoint, lane.key, wait_s)]
        await self.store.deliveries.settle(self.nodes[node], attempted, released)

    async def drain(self) -> None:
        """Deliver what is left, as a dispatcher that is well does."""
        for node in self.held:
            await self.step(Crash(node, 0))
        await self.step(PassTime())
        while lanes := await self.claim(0, 9, 9):
            for lane in lanes:
                await self.work(0, lane, (Fate.DELIVERED,) * 9, False)

    async def check(self) -> None:
        states = dict(
            await rows(
                self.store,
                "select event_id, state from bridge.delivery where endpoint_id = %s",
                self.endpoint,
            )
        )
        assert set(states) == set(self.seq_of)
        assert set(states.values()) <= {"delivered", "dead"}
        assert {id for id, state in states.items() if state == "delivered"} <= set(self.arrived)
        left = await rows(self.store, "select key from bridge.lane where endpoint_id = %s", self.endpoint)
        assert left == []
        if not self.crashed:
            assert len(self.arrived) == len(set(self.arrived))
        for chat in set(self.chat_of.values()):
            first = [
                self.seq_of[id]
                for id in dict.fromkeys(self.arrived)
                if self.chat_of[id] == chat and id not in self.out_of_order
            ]
            assert first == sorted(first)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=1, max_size=20))
async def test_any_history_keeps_each_lane_in_order_and_loses_nothing(
    database_url: str, history: list[Append | Claim | Work | Crash | PassTime]
) -> None:
    store, stop = (
        Store(database_url, vault=Vault(MAIN_KEY)),
        trio.Event(),
    )  # here, for Hypothesis runs each example in a loop of its own
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(store.run, stop=stop))
        instance, endpoint = await owned(store), new_endpoint_id()
        await store.endpoints.upsert(endpoint, instance.key, "http://203.0.113.1/", [], SECRET)
        world = World(store, instance, endpoint)
        for step in history:
            await world.step(step)
        await world.drain()
        await world.check()
        await store.endpoints.remove(endpoint)
        stop.set()


answers = st.builds(
    Answer,
    st.none() | st.integers(100, 599),
    timed_out=st.booleans(),
    retry_after_s=st.none() | st.floats(0, 1e12),
)
cases = st.builds(Case, st.integers(1, 100), st.floats(0, 1e6), st.floats(60, 604_800), st.booleans())


@given(answers, cases, st.floats(-1, 1))
def test_every_answer_has_one_fate_and_every_wait_its_bounds(answer: Answer, case: Case, jitter: float) -> None:
    decision = decide(answer, case, jitter=jitter)
    if answer.ok:
        assert decision.fate is Fate.DELIVERED
        return
    assert decision.fate is not Fate.DELIVERED
    assert decision.pause_endpoint == (answer.status == 410)
    if decision.fate is Fate.DEAD:
        assert case.age_s >= case.max_age_s and decision.wait_s is None
        return
    assert decision.wait_s is not None and 1 <= decision.wait_s <= max(LAST_WAIT_S * 1.2, ASKED_MAX_S)
    if answer.timed_out or answer.status == 429:
        assert decision.wait_s >= SLOW_WAIT_S
    if decision.fate is Fate.PARKED:
        assert case.attempts >= PARK_AFTER and case.endpoint_well
