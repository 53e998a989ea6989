"""Keeps starts and stops of clients apart from each other and from every other call of the library.

The library keeps plain Go maps keyed by client id. A start writes them until its QR callback or its first event, a stop
while it runs, and every other call reads them in its first microseconds; a write beside a read or a write kills the
process. So there is one writer at a time, which waits until no call is younger than `SETTLE_S` and holds back new ones.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SETTLE_S = 0.03
"""A call older than this has read the maps (measured, see the page on neonize)."""


class HeldBack(Exception):
    """A start or a stop was in the way until the deadline: the library was not called."""


class Gate:
    """Readers are calls, writers are starts and stops; a waiting writer goes before new readers."""

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._changed = threading.Condition()
        self._young: dict[object, float] = {}
        """When the calls began that have not returned."""
        self._writing = False
        self._writers_waiting = 0

    @contextmanager
    def call(self, deadline: float) -> Iterator[None]:
        """Hold writers off while the library is entered; raise `HeldBack` when that is not possible by `deadline`."""
        token = object()
        with self._changed:
            while self._writing or self._writers_waiting:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise HeldBack
                self._changed.wait(left_s)
            self._young[token] = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del self._young[token]
                self._changed.notify_all()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Be the only one in the library but for calls that are old enough."""
        with self._changed:
            self._writers_waiting += 1
            try:
                while self._writing:
                    self._changed.wait()
                self._writing = True
            finally:
                self._writers_waiting -= 1
        try:
            with self._changed:
                while (wait_s := self._youngest_wait_s()) > 0:
                    self._changed.wait(wait_s)
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _youngest_wait_s(self) -> float:
        if not self._young:
            return 0.0
        return max(self._young.values()) + self._settle_s - time.monotonic()
