"""Says in one line what limits a figure, from the CPU time that each part used while it was measured."""

from collections.abc import Mapping

from ops.bench.figures import Usage

SINGLE_THREADED = ("bridge", "receiver", "sandbox")
"""Each of these does its work in one thread: a whole core is all it can use."""
FULL_THREAD, FULL_MACHINE = 0.85, 0.9
CROWDED = 0.1
"""Of the machine in use by strangers: worth a warning."""


def shares(usage: Usage) -> str:
    """Return each part's use of one core, the largest first, and that of strangers."""
    parts = sorted(usage.cpu_s, key=lambda group: -usage.cpu_s[group])
    text = ", ".join(f"{group} {usage.share(group):.2f}{_inside(usage, group)}" for group in parts)
    text += f", bench {usage.bench_s / usage.seconds:.2f}"
    return f"{text} of {usage.cores} cores; strangers {usage.others_s / usage.seconds:.2f}"


def _inside(usage: Usage, group: str) -> str:
    if group != "postgres" or not usage.postgres_s:
        return ""
    inside: Mapping[str, float] = {
        k: v / usage.seconds for k, v in usage.postgres_s.items() if v / usage.seconds > 0.01
    }
    return " (" + ", ".join(f"{name} {share:.2f}" for name, share in inside.items()) + ")" if inside else ""


def explain(usage: Usage, *, waiting: str) -> str:
    """Return what limits: a full thread, a full machine, or else `waiting`, with the shares that show it."""
    ours = usage.cpu_total_s() + usage.bench_s
    used = (ours + usage.others_s) / usage.seconds / usage.cores
    full = [group for group in SINGLE_THREADED if usage.share(group) >= FULL_THREAD]
    if full:
        verdict = f"one thread is full: {full[0]}"
    elif used >= FULL_MACHINE:
        verdict = f"the machine is full ({used:.0%})"
    else:
        verdict = waiting
    if usage.others_s / usage.seconds / usage.cores > CROWDED:
        verdict += ", and strangers compete for it"
    return f"{verdict}: {shares(usage)}"
