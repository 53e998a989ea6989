"""Turns what was measured into the lines of the table: value, bare neonize's, target, and what limits."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from ops.bench.figures import Figure, Footprint, Load, Sends
from ops.bench.limits import explain
from ops.bench.product import ENGINE_IDLE_S
from ops.bench.sessions import Recovery, Sessions
from ops.bench.texts import Texts
from ops.bench.texts_in import P99_LIMIT_MS

MEMORY_MB, BACK_S, P99_MS, RATE_SHARE, IN_TURN_PER_S, AT_ONCE_PER_S = 400, 20, 50, 0.6, 110, 250
MANY = 200
"""The sizes of the targets hold for so many sessions."""


def of_sessions(found: Sessions) -> Iterator[Figure]:
    """Return the lines about memory, connections and coming back."""
    bare = {footprint.sessions: footprint for footprint in found.bare}
    footprints = [(f"{footprint.sessions} idle sessions", footprint) for footprint in found.bridge]
    if found.restarted is not None and found.bridge:
        footprints.append((f"{found.restarted.sessions} idle sessions after a restart", found.restarted))
    for name, footprint in footprints:
        beside = bare.get(footprint.sessions)
        many = footprint.sessions >= MANY
        yield Figure(
            f"memory in all, {name}",
            "MB PSS",
            footprint.total(),
            beside.total() if beside else None,
            f"< {MEMORY_MB}" if many else "",
            footprint.total() < MEMORY_MB if many else None,
            _where(footprint),
            {"bridge": asdict(footprint), "bare": asdict(beside) if beside else None},
        )
    if footprints:
        last = footprints[-1][1]
        beside = bare.get(last.sessions)
        yield Figure(
            f"database connections of {last.sessions} idle sessions",
            "",
            last.engine_connections,
            beside.engine_connections if beside else None,
            "0",
            last.engine_connections == 0,
            f"idle_session_timeout, here {ENGINE_IDLE_S} s, for both",
        )
    if found.recovery is not None:
        yield _back(found.recovery, found.bare_recovery)
    if found.soon_recovery is not None:
        yield _back(found.soon_recovery, found.bare_recovery, f" with BRIDGE_ENGINE_IDLE_S={ENGINE_IDLE_S}")


def _where(footprint: Footprint) -> str:
    parts = sorted(footprint.pss_mb.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {mb:.0f} in {footprint.processes[name]}" for name, mb in parts if name != "sandbox")
    return f"{text} processes; RSS {footprint.total('rss'):.0f}; sandbox apart {footprint.pss_mb.get('sandbox', 0):.0f}"


def _back(bridge: Recovery, bare: Recovery | None, how: str = "") -> Figure:
    many = bridge.sessions >= MANY
    return Figure(
        f"{bridge.sessions} sessions online after kill -9, from the restart{how}",
        "s",
        round(bridge.online_s, 1),
        round(bare.online_s, 1) if bare else None,
        f"< {BACK_S}" if many else "",
        bridge.online_s < BACK_S if many else None,
        f"ready after {bridge.ready_s:.1f} s; "
        + explain(bridge.usage, waiting="logins wait for their pace or for each other"),
        {"bridge": asdict(bridge), "bare": asdict(bare) if bare else None},
    )


def of_texts(bridge: Texts, bare: Texts) -> Iterator[Figure]:
    """Return the lines about texts in and out."""
    if bridge.steady is not None and bare.steady is not None:
        yield from _steady(bridge.steady, bare.steady)
        yield from _highest(bridge, bare)
    if bridge.in_turn is not None and bare.in_turn is not None:
        yield from _out("texts out, one after the other", bridge.in_turn, bare.in_turn, IN_TURN_PER_S)
    if bridge.at_once is not None and bare.at_once is not None:
        yield from _out("texts out, 20 at once over all", bridge.at_once, bare.at_once, AT_ONCE_PER_S)


def _steady(bridge: Load, bare: Load) -> Iterator[Figure]:
    what = f"texts in at {bridge.rate:g}/s"
    waiting = f"round trips and commits, not CPU (generator {bridge.late_p99_ms} ms late at p99)"
    limit = explain(bridge.usage, waiting=waiting)
    both = {"bridge": asdict(bridge), "bare": asdict(bare)}
    ours, theirs = bridge.latency, bare.latency
    yield Figure(f"{what}, p50", "ms", ours.p50_ms, theirs.p50_ms)
    yield Figure(f"{what}, p99", "ms", ours.p99_ms, theirs.p99_ms, f"< {P99_MS}", ours.p99_ms < P99_MS, limit, both)
    yield Figure(
        f"{what}, CPU s per 1,000 (sandbox apart)",
        "s",
        _per_1000(bridge),
        _per_1000(bare),
        limit=f"{_parts(bridge.cpu_per_1000())}; bare: {_parts(bare.cpu_per_1000())}; "
        f"{bridge.usage.commits / bridge.sent:.1f} transactions per text, bare: {bare.usage.commits / bare.sent:.1f}",
    )


def _per_1000(load: Load) -> float:
    return round(load.usage.cpu_total_s("sandbox") / max(load.arrived, 1) * 1000, 2)


def _parts(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _highest(bridge: Texts, bare: Texts) -> Iterator[Figure]:
    ours, theirs = bridge.highest, bare.highest
    goal = RATE_SHARE * theirs.rate if theirs else None
    hardest = ours or bridge.runs[-1]
    yield Figure(
        f"texts in, highest rate held for {hardest.seconds:g} s with p99 < 0.5 s",
        "per s",
        ours.rate if ours else 0,
        theirs.rate if theirs else 0,
        f">= {goal:g} (0.6 of bare)" if goal else "",
        (ours.rate if ours else 0) >= goal if goal else None,
        f"bare's was held for {theirs.seconds if theirs else 0:g} s; "
        f"next that did not hold: {_named(bridge)} (bare: {_named(bare)}); "
        + explain(hardest.usage, waiting="waiting, not CPU")
        + f"; CPU s per 1,000: {_parts(hardest.cpu_per_1000())}",
        {
            "next_not_held_per_s": {"bridge": _not_held(bridge), "bare": _not_held(bare)},
            "bridge": [asdict(run) for run in bridge.runs],
            "bare": [asdict(run) for run in bare.runs],
        },
    )
    most = [max(texts.runs, key=lambda run: run.rate) for texts in (bridge, bare)]
    yield Figure(
        f"texts in, arrivals while {most[0].rate:g}/s (bare: {most[1].rate:g}/s) are sent",
        "per s",
        most[0].arrivals_per_s,
        most[1].arrivals_per_s,
        limit=f"generator sent {most[0].achieved_per_s}/s; " + explain(most[0].usage, waiting="waiting, not CPU"),
    )
    full = [max(run.capacity_per_s for run in texts.runs) for texts in (bridge, bare)]
    yield Figure(
        "texts in, rate that would fill the cores, by CPU per text",
        "per s",
        full[0],
        full[1],
        f">= {RATE_SHARE * full[1]:.0f} (0.6 of bare)",
        full[0] >= RATE_SHARE * full[1],
        "CPU time per text in the cheapest run, generator included; other load moves it little",
    )


def _not_held(texts: Texts) -> float | None:
    """Return the lowest rate above the highest that held which was tried and did not hold."""
    best = texts.highest.rate if texts.highest else 0.0
    failed = [run.rate for run in texts.runs if run.rate > best and not run.held(P99_LIMIT_MS)]
    return min(failed, default=None)


def _named(texts: Texts) -> str:
    rate = _not_held(texts)
    return "none" if rate is None else f"{rate:g}"


def _transactions(sends: Sends) -> float:
    return round(sends.usage.commits / sends.count, 1)


def _out(name: str, bridge: Sends, bare: Sends, goal: float) -> Iterator[Figure]:
    yield Figure(
        name,
        "per s",
        bridge.per_s,
        bare.per_s,
        f">= {goal:g}",
        bridge.per_s >= goal,
        f"{_transactions(bridge)} transactions per text (bare: {_transactions(bare)}); "
        + explain(bridge.usage, waiting="round trips and commits, not CPU"),
        {"bridge": asdict(bridge), "bare": asdict(bare)},
    )
    for quantile in ("p50_ms", "p99_ms"):
        yield Figure(
            f"{name}, {quantile[:3]}", "ms", getattr(bridge.latency, quantile), getattr(bare.latency, quantile)
        )
