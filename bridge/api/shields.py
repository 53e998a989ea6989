"""Protection from cancellation that can be taken away: what makes a shield safe to use in a server that must stop.

A peer that goes away cancels its handler, and a few things have to be finished nevertheless. A plain shield without end
would hold up the stop of the server for as long as the slowest of them takes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio

SCOPE_KEY = "bridge.shields"
"""Where a server leaves its shields in the ASGI scope, for the handlers to use."""


class Shields:
    """The shields of one server. After `expire_at` none of them lasts beyond that time."""

    def __init__(self) -> None:
        self._open: set[trio.CancelScope] = set()
        self._end = math.inf

    @contextmanager
    def hold(self, limit_s: float) -> Iterator[trio.CancelScope]:
        """Shield the body of the `with` for `limit_s` seconds at the most; see `cancelled_caught` of what it gives."""
        with trio.CancelScope(shield=True, deadline=min(trio.current_time() + limit_s, self._end)) as scope:
            self._open.add(scope)
            try:
                yield scope
            finally:
                self._open.discard(scope)

    def expire_at(self, deadline: float) -> None:
        """End every shield, present or future, at `deadline` on Trio's clock; `math.inf` allows them again."""
        self._end = deadline
        for scope in self._open:
            scope.deadline = min(scope.deadline, deadline)

    def __len__(self) -> int:
        return len(self._open)
