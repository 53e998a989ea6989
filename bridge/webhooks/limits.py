"""How much delivery may have on its way at once, and what it has."""

from dataclasses import dataclass

from bridge.domain.ids import EndpointId


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be on its way at once."""

    per_endpoint: int = 16
    """Lanes of one endpoint, and so its connections."""
    lanes: int = 256
    """Of all endpoints; above it, each endpoint that has none on its way may still have one."""
    replays: int = 2
    """Lanes of replays of one endpoint, beside the others; none while it is only probed."""
    per_lane: int = 16
    """Deliveries of a lane that are claimed in one go."""
    drain_s: float = 2.5
    """At a stop, how long attempts may take that have begun."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the dispatcher did since it started, and what it does now."""

    delivered: int
    failed: int
    parked: int
    dead: int
    in_flight: int
    held: tuple[EndpointId, ...]
    """Endpoints that are only probed now."""
