"""Texts in: from the scheduled send at a simulated contact to the arrival at the receiver.

The load generator is the sandbox. It sends on a schedule, and latency counts from the scheduled time, so that a
generator which falls behind does not hide what its delay would have shown (coordinated omission). The schedule is known
from the sandbox's oracle: it began no later than the first text was sent, and each text carries its number.
"""

from collections.abc import Callable, Sequence

import trio

from ops.bench.candidate import Candidate, Number
from ops.bench.figures import Latency, Load, rank
from ops.bench.search import Search, Tried, next_try

CONTACT = "491700000001"
P99_LIMIT_MS = 500.0
SETTLE_S, STALL_S = 60.0, 4.0
_runs = iter(range(1_000_000))


async def warm_up(candidate: Candidate, numbers: Sequence[Number]) -> None:
    """Open the Signal sessions between the contact and every number."""
    await candidate.sandbox.create_phone(CONTACT, "Load")
    await run(candidate, numbers, rate=20, seconds=2 * len(numbers) / 20)


async def run(candidate: Candidate, numbers: Sequence[Number], *, rate: float, seconds: float) -> Load:
    """Send texts to the numbers in turn at a steady rate, wait for the last arrival, and measure all of it."""
    count, prefix = round(rate * seconds), f"load{next(_runs)}"
    sandbox = candidate.sandbox
    await sandbox.trim_oracle()
    came = await candidate.arrived()
    before = candidate.meter.read()
    sent = await sandbox.send_many(CONTACT, [number.phone for number in numbers], count=count, rate=rate, prefix=prefix)
    await _settle(candidate, came + count)
    usage = candidate.meter.usage(before)
    arrivals = await candidate.arrivals(prefix)
    known = await sandbox.oracle(phone=CONTACT)
    sent_at = {int((message.text or "").rpartition(" ")[2]): message.sent_at for message in known if message.text}
    start = min(at - index / rate for index, at in sent_at.items())
    late = sorted(at - start - index / rate for index, at in sent_at.items())
    latency = [at - start - index / rate for index, at in arrivals.items()]
    return Load(
        rate=rate,
        seconds=seconds,
        sent=count,
        achieved_per_s=round(count / max(sent.seconds, (count - 1) / rate), 1),
        late_p99_ms=round(rank(late, 0.99) * 1e3, 2),
        arrived=len(arrivals),
        arrivals_per_s=_middle_rate(sorted(arrivals.values())),
        latency=Latency.of(latency, missing=count - len(arrivals)),
        usage=usage,
    )


async def _settle(candidate: Candidate, goal: int) -> None:
    """Wait until everything has arrived, or nothing more does."""
    last, moved = -1, trio.current_time()
    with trio.move_on_after(SETTLE_S):
        while (now := await candidate.arrived()) < goal:
            if now != last:
                last, moved = now, trio.current_time()
            if trio.current_time() - moved > STALL_S:
                return
            await trio.sleep(0.25)


def _middle_rate(times: Sequence[float]) -> float:
    """Return arrivals per second between the first and the last tenth."""
    first, last = len(times) // 10, len(times) * 9 // 10
    if last - first < 2 or times[last] <= times[first]:
        return 0.0
    return round((last - first) / (times[last] - times[first]), 1)


async def highest(
    candidate: Candidate, numbers: Sequence[Number], search: Search, *, tell: Callable[[Candidate, Load], None]
) -> tuple[Load | None, list[Load]]:
    """Return the run at the highest rate that was held, None if none was, and all runs in their order.

    When none was held for the full time, it is the best one of those that were held for a shorter one.
    """
    runs: list[Load] = []
    tried: list[Tried] = []
    while (ahead := next_try(search, tried)) is not None:
        seconds = search.hold_s if ahead.full else search.probe_s
        runs.append(await run(candidate, numbers, rate=ahead.rate, seconds=seconds))
        tried.append(Tried(ahead.rate, ahead.full, runs[-1].held(P99_LIMIT_MS)))
        tell(candidate, runs[-1])
    held = [(one.full, one.rate, run) for one, run in zip(tried, runs, strict=True) if one.held]
    return max(held, key=lambda entry: entry[:2])[2] if held else None, runs
