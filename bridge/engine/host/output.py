"""The one thread that writes to the bridge: callbacks and calls only put things into its queue.

A queue of the C kind takes an element in well under a microsecond and never waits, so that a bridge that does not read
can't hold up a callback. Frames that wait together are written together.
"""

import os
import threading
from queue import SimpleQueue
from typing import Protocol

from bridge.engine.wire import FromHost, encode

WRITE_BYTES = 256 * 1024
"""About how much is gathered for one write."""


class Source(Protocol):
    """A session that has records to send."""

    def take_frames(self, limit_bytes: int) -> tuple[list[bytes], bool]:
        """Return the next frames, and whether more can be had at once."""


class Output:
    """Writes frames to a descriptor, in the order in which they were put, from a thread of its own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: SimpleQueue[bytes | Source | threading.Event] = SimpleQueue()
        threading.Thread(target=self._run, name="output", daemon=True).start()

    def put(self, message: FromHost) -> None:
        """Send a message after what is queued."""
        self._queue.put(encode(message))

    def wake(self, source: Source) -> None:
        """Ask `source` for its frames soon."""
        self._queue.put(source)

    def flush(self, timeout_s: float) -> None:
        """Wait until what is queued now has been written, or the time is over."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(timeout_s)

    def _run(self) -> None:
        while True:
            frames: list[bytes] = []
            marks: list[threading.Event] = []
            size = self._gather(self._queue.get(), frames, marks)
            while size < WRITE_BYTES and not self._queue.empty():
                size += self._gather(self._queue.get(), frames, marks)
            if not self._write(b"".join(frames)):
                return
            for mark in marks:
                mark.set()

    def _gather(
        self, element: bytes | Source | threading.Event, frames: list[bytes], marks: list[threading.Event]
    ) -> int:
        if isinstance(element, bytes):
            frames.append(element)
            return len(element)
        if isinstance(element, threading.Event):
            marks.append(element)
            return 0
        taken, more = element.take_frames(WRITE_BYTES)
        frames += taken
        if more:
            self._queue.put(element)
        return sum(map(len, taken))

    def _write(self, data: bytes) -> bool:
        """Return False when the bridge is gone: whoever reads its messages notices too, and ends the process."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BrokenPipeError:
                return False
        return True
