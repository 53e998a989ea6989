"""Many idle sessions: their memory, and how long it takes until all are back."""

import time
from dataclasses import dataclass, field

import trio

from ops.bench.bare import running_bare, running_sandbox
from ops.bench.figures import Footprint, Usage
from ops.bench.narrator import say
from ops.bench.plan import Plan
from ops.bench.product import ENGINE_IDLE_S, SOON_IDLE, Product, running_product
from ops.bench.rig import Rig, running_rig

REST_S = ENGINE_IDLE_S + 1.0
"""After the last login, before memory is read."""


@dataclass(slots=True)
class Recovery:
    """How long it took until all sessions were online again, from the start of the process."""

    sessions: int
    ready_s: float | None
    online_s: float
    usage: Usage


@dataclass(slots=True)
class Sessions:
    """What was found, for the product and for bare neonize."""

    bridge: list[Footprint] = field(default_factory=list)
    bare: list[Footprint] = field(default_factory=list)
    restarted: Footprint | None = None
    """The product's memory when its sessions came back by themselves, not one by one through pairing."""
    recovery: Recovery | None = None
    soon_recovery: Recovery | None = None
    """With engine connections that idle for 5 s only."""
    bare_recovery: Recovery | None = None
    notes: list[str] = field(default_factory=list)


async def measure(plan: Plan) -> Sessions:
    """Pair numbers step by step, read memory, kill, wait, and do the same with bare neonize on the same devices."""
    found = Sessions()
    async with running_rig() as rig:
        async with running_product(rig) as product:
            await _grow(plan, rig, product, found)
            if plan.wants("recovery"):
                await _come_back(rig, product, found)
        await _bare(plan, rig, product, found)
    return found


async def _grow(plan: Plan, rig: Rig, product: Product, found: Sessions) -> None:
    deadline = trio.current_time() + plan.pairing_s
    for size in plan.sizes:
        with trio.move_on_at(deadline) as scope:
            await product.pair(size)
        if scope.cancelled_caught:
            found.notes.append(f"only {len(product.numbers)} of {size} sessions were paired within {plan.pairing_s} s")
        size = len(product.numbers)  # noqa: PLW2901
        say(f"bridge: {size} sessions are paired")
        if plan.wants("memory"):
            found.bridge.append(await _rest(rig, product, size))
        if scope.cancelled_caught:
            return


async def _rest(rig: Rig, product: Product, size: int) -> Footprint:
    await trio.sleep(REST_S)
    await rig.until_engines_idle()
    footprint = product.meter.footprint(size)
    say(f"bridge: {size} idle sessions take {footprint.total()} MB")
    return footprint


async def _come_back(rig: Rig, product: Product, found: Sessions) -> None:
    """Kill and restart twice: as it is by default, and with the short idle time that memory is read with."""
    found.recovery = await _restart(product)
    found.soon_recovery = await _restart(product, **SOON_IDLE)
    found.restarted = await _rest(rig, product, len(product.numbers))


async def _restart(product: Product, **settings: str) -> Recovery:
    count = len(product.numbers)
    await product.end(kill=True)
    before, began = product.meter.read(), time.monotonic()
    await product.start(**settings)
    ready_s = time.monotonic() - began
    await product.until_online(count)
    online_s = time.monotonic() - began
    say(f"bridge: {count} sessions back {online_s:.1f} s after the start, ready after {ready_s:.1f} s; {settings}")
    return Recovery(count, ready_s, online_s, product.meter.usage(before))


async def _bare(plan: Plan, rig: Rig, product: Product, found: Sessions) -> None:
    numbers = product.numbers
    async with running_sandbox(rig) as sandbox:
        if plan.wants("memory"):
            async with running_bare(rig, sandbox) as bare:
                done = 0
                for size in [footprint.sessions for footprint in found.bridge]:
                    await bare.login(numbers[done:size])
                    done = size
                    await trio.sleep(REST_S)
                    await rig.until_engines_idle()
                    found.bare.append(bare.meter.footprint(size))
                    say(f"bare neonize: {size} idle sessions take {found.bare[-1].total()} MB")
        if plan.wants("recovery"):
            began = time.monotonic()
            async with running_bare(rig, sandbox) as bare:
                before = bare.meter.read()
                await bare.login(numbers)
                online_s = time.monotonic() - began
                usage = bare.meter.usage(before)
                found.bare_recovery = Recovery(len(numbers), None, online_s, usage)
                say(f"bare neonize: {len(numbers)} sessions online after {online_s:.1f} s")
