"""Spreads starts so that their database connections do not add up.

The engine opens two connections per session and keeps them, even after a stop, until they have idled for the time that
its URL names. Many starts in a row can use up what PostgreSQL allows, and a session without a connection can't decrypt.
"""

from collections import deque

import trio

CONNECTIONS_PER_START = 2


class Pace:
    """Lets starts through while those of the last `window_s` seconds fit into `connections`."""

    def __init__(self, connections: int, window_s: float) -> None:
        self._starts = max(1, connections // CONNECTIONS_PER_START)
        self._window_s = window_s
        self._due: deque[float] = deque()
        """When the latest starts give their connections back, oldest first."""

    async def wait(self) -> None:
        """Return when one more start fits; in the order of the calls."""
        now = trio.current_time()
        while self._due and self._due[0] <= now:
            self._due.popleft()
        begin = now if len(self._due) < self._starts else self._due[-self._starts]
        self._due.append(begin + self._window_s)
        await trio.sleep_until(begin)
