"""What a supervision tree looks like at one moment, for health and metrics: read-only and detached from the tree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a node is."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"


class State(StrEnum):
    """Where a node is in its life."""

    STARTING = "starting"
    """Has not called started() yet, or waits for its turn to start."""
    RUNNING = "running"
    BACKOFF = "backoff"
    """Ended; is started again after a delay."""
    PARKED = "parked"
    """Ended too often; is left alone for minutes, or until it is restarted by a call."""
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Change:
    """A child went into a state; `error` is what its latest crash was."""

    child: str
    state: State
    error: str | None


_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One node and what is below it. `since_s` is the time in its state; `last_error` outlives restarts."""

    name: str
    kind: Kind
    state: State
    restarts: int = 0
    since_s: float = 0.0
    last_error: str | None = None
    detail: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    children: tuple["Snapshot", ...] = ()

    def child(self, *names: str) -> "Snapshot | None":
        """Return the node at the end of the path `names` below this one, or None."""
        node: Snapshot | None = self
        for name in names:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], "Snapshot"]]:
        """Yield (path, node) for this node and all below it, parents first."""
        path = (*path, self.name)
        yield path, self
        for child in self.children:
            yield from child.walk(path)

    def as_dict(self) -> dict[str, object]:
        """Return the tree as plain values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "state": self.state.value,
            "restarts": self.restarts,
            "since_s": round(self.since_s, 3),
            "last_error": self.last_error,
            "detail": dict(self.detail),
            "children": [child.as_dict() for child in self.children],
        }
