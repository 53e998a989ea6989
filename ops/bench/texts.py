"""Texts in and out, the same measurements for the product and for bare neonize."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.bench import texts_in, texts_out
from ops.bench.bare import running_bare, running_sandbox
from ops.bench.candidate import Candidate, Number
from ops.bench.figures import Load, Sends
from ops.bench.narrator import say
from ops.bench.plan import Plan
from ops.bench.product import running_product
from ops.bench.rig import running_rig


@dataclass(slots=True)
class Texts:
    """What was found about one candidate."""

    steady: Load | None = None
    highest: Load | None = None
    """At the highest rate that was held; its `seconds` say for how long."""
    runs: list[Load] = field(default_factory=list)
    in_turn: Sends | None = None
    at_once: Sends | None = None


async def measure(plan: Plan) -> tuple[Texts, Texts]:
    """Return what was found about the product and about bare neonize, over the same devices."""
    async with running_rig() as rig:
        async with running_product(rig) as product:
            await product.pair(plan.instances)
            say(f"bridge: {plan.instances} sessions are paired")
            bridge = await _texts(plan, product, product.numbers)
        async with running_sandbox(rig) as sandbox, running_bare(rig, sandbox) as bare:
            await bare.login(product.numbers)
            return bridge, await _texts(plan, bare, product.numbers)


async def _texts(plan: Plan, candidate: Candidate, numbers: Sequence[Number]) -> Texts:
    found = Texts()
    if plan.wants("texts-in"):
        await texts_in.warm_up(candidate, numbers)
        found.steady = await texts_in.run(candidate, numbers, rate=plan.steady_rate, seconds=plan.steady_s)
        _tell(candidate, found.steady)
        found.highest, found.runs = await texts_in.highest(candidate, numbers, plan.search, tell=_tell)
        if found.highest is None and found.steady.held(texts_in.P99_LIMIT_MS):
            found.highest = found.steady
    if plan.wants("texts-out"):
        await texts_out.warm_up(candidate, numbers)
        found.in_turn = await texts_out.in_turn(candidate, numbers, plan.in_turn)
        found.at_once = await texts_out.at_once(candidate, numbers, plan.at_once)
        say(f"{candidate.name}: out {found.in_turn.per_s}/s in turn, {found.at_once.per_s}/s at once")
    return found


def _tell(candidate: Candidate, load: Load) -> None:
    say(
        f"{candidate.name}: in at {load.rate:g}/s for {load.seconds:g} s: p50 {load.latency.p50_ms} ms, "
        f"p99 {load.latency.p99_ms} ms, {load.arrived} of {load.sent} arrived, at {load.arrivals_per_s}/s"
    )
