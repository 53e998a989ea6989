"""One WhatsApp session in its host: journal, backlog, and the thread that the library blocks for it."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from bridge.engine.codes import DROPPABLE, DURABLE, Code
from bridge.engine.host.output import Output
from bridge.engine.journal import Journal, JournalLocked, Place, Record
from bridge.engine.wire import Item, encode

WINDOW = 256
"""Records on their way to a consumer that it has not taken yet: a slow one must not fill the bridge's memory."""
BACKLOG_IN_MEMORY = 512
"""Records waiting for the window beyond which payloads are left in the journal and read again when their turn comes."""
HISTORY_BYTES = 8 << 20
"""A larger history sync is left out: half of what a frame to the bridge holds."""
LOCK_WAIT_S = 10.0
"""How long to wait for an earlier host of this session to be gone."""
QUIET_S = 0.15
"""After a disconnect: no callback for so long means that the library has handed over all that it acknowledged."""
IGNORED_AFTER_S = 0.5
"""A message is ignored at a reconnect, at the earliest; its own report has long left the library's channel by then."""
CALLS_AT_ONCE = 8
"""Calls of one session in the library; more would only wait there. Enough for sends and questions of an actor."""


class Life(Enum):
    STARTING = auto()
    LIVE = auto()
    CLOSING = auto()
    ENDED = auto()


class StillOwned(Exception):
    """Another engine host holds this session."""


def _journal(directory: Path, key: str) -> Journal:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return Journal(directory, key)
        except JournalLocked:
            if time.monotonic() > deadline:
                raise StillOwned(key) from None
            time.sleep(0.02)


class HostSession:
    """Takes what the library reports about one client, keeps it, and gives it to the output when there is room."""

    def __init__(self, key: str, opened: int, client: bytes, directory: Path, output: Output) -> None:
        """Take the journal and queue what is left in it; raise `StillOwned` or `OSError`."""
        self.key = key
        self.opened = opened
        self.client = client
        self.life = Life.STARTING
        self.settled = threading.Event()
        """Set when the library has stopped writing its maps for this start, or the start has failed."""
        self.ended = threading.Event()
        """Set when the library's blocking call has returned."""
        self.error = ""
        self.calls = threading.Semaphore(CALLS_AT_ONCE)
        self.records = 0
        self.slowest_append_s = 0.0
        self._output = output
        self._journal = _journal(directory, key)
        self._mutex = threading.Lock()
        self._backlog: deque[tuple[Record, Place | None]] = deque(self._journal.left)
        self._seq = self._journal.first_seq - 1
        self._journal.left = []
        self._sent_seq = 0
        self._sent = self._taken = 0
        """How many records were given to the output, and how many of them the consumer has taken."""
        self._waking = False
        self._ignored: list[str] = []
        self._last_record_at = 0.0
        self._wake()

    def run(self, start: Callable[["HostSession"], str]) -> None:
        """Run the client on this thread until it is stopped or fails."""
        try:
            self.error = start(self)
        except Exception as error:  # whatever it is, the bridge has to hear of it
            self.error = repr(error)
        with self._mutex:
            self.ended.set()
            by_itself = self.life is Life.LIVE
        if by_itself:
            self.record(Code.ENDED, self.error.encode())
        self.settled.set()

    def go_live(self) -> bool:
        """Open the session for calls; return False when its start has failed."""
        with self._mutex:
            if self.ended.is_set():
                return False
            self.life = Life.LIVE
            return True

    def record(self, code: int, payload: bytes) -> None:
        """Keep one report: the library's callback. Returns when it is safe, and never waits for the bridge."""
        if code == Code.HISTORY_SYNC and len(payload) > HISTORY_BYTES:
            print(f"history sync of {len(payload)} bytes left out: {self.key}", file=sys.stderr)
            return
        began = time.perf_counter()
        now = time.time()
        with self._mutex:
            if self.life is Life.ENDED or (len(self._backlog) > BACKLOG_IN_MEMORY and code in DROPPABLE):
                return
            self._seq += 1
            place = self._keep(self._seq, now, code, payload) if code in DURABLE else None
            crowded = place is not None and len(self._backlog) > BACKLOG_IN_MEMORY
            self._backlog.append(
                (Record(self._seq, now, code, b"" if crowded else payload), place if crowded else None)
            )
            self._last_record_at = time.monotonic()
            self._wake()
        if code in (Code.DEVICE, Code.QR):
            self.settled.set()
        self.records += 1
        self.slowest_append_s = max(self.slowest_append_s, time.perf_counter() - began)

    def note_ignored(self, message: str) -> None:
        """Report a message that the library ignores, later: its own report may still be on its way to us."""
        with self._mutex:
            self._ignored.append(message)
            if len(self._ignored) > 1:
                return
        later = threading.Timer(IGNORED_AFTER_S, self._report_ignored)
        later.daemon = True
        later.start()

    def _report_ignored(self) -> None:
        with self._mutex:
            ignored, self._ignored = self._ignored, []
        for message in ignored:
            self.record(Code.IGNORED, message.encode())

    def _keep(self, seq: int, at: float, code: int, payload: bytes) -> Place | None:
        try:
            return self._journal.append(seq, at, code, payload)
        except OSError as error:
            # still handed to the bridge, only not safe from a crash on the way
            print(f"journal of {self.key}: {error}", file=sys.stderr)
            return None

    def _wake(self) -> None:
        if self._backlog and not self._waking and self._sent - self._taken < WINDOW:
            self._waking = True
            self._output.wake(self)

    def take_frames(self, limit_bytes: int) -> tuple[list[bytes], bool]:
        """Return the frames of the next records, as far as the window allows, and whether there are more at once.

        Only the output's thread calls this, so that what is encoded outside the lock still leaves in order.
        """
        size = 0
        chosen: list[tuple[Record, Place | None]] = []
        with self._mutex:
            self._waking = False
            while self._backlog and self._sent - self._taken < WINDOW and size < limit_bytes:
                record, place = self._backlog.popleft()
                size += place.length if place is not None else len(record.payload)
                chosen.append((record, place))
                self._sent += 1
                self._sent_seq = record.seq
            more = bool(self._backlog) and self._sent - self._taken < WINDOW
            self._waking = more
        return [self._frame(record, place) for record, place in chosen], more

    def _frame(self, record: Record, place: Place | None) -> bytes:
        payload = self._journal.read(place) if place is not None else record.payload
        return encode(Item(self.key, record.seq, record.at, record.code, payload, record.replayed))

    def progress(self, taken: int, acked: int) -> None:
        """Note how many records the consumer has taken, and up to which `seq` they may be forgotten."""
        with self._mutex:
            acked = min(acked, self._sent_seq)
            self._taken = max(taken, self._taken)
            self._wake()
        self._journal.trim(acked)

    def quiet_for_s(self) -> float:
        """Return how long ago the last report came."""
        return time.monotonic() - self._last_record_at

    def close(self) -> None:
        """Give the journal back, once nothing can be reported any more."""
        self._journal.close()
