"""The process of one handler, seen from the receiver: started, asked, killed when it takes too long, started again."""

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec
import structlog
import trio

from receiver.frames import BadFrame, Call, Done, Loaded, Reader, encode
from receiver.handlers import Handler
from receiver.runs import Run

log = structlog.get_logger()

_LOAD_DEADLINE_S = 60.0
_READ_BYTES = 65536
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_WELL_AFTER_S = 60.0
"""A process that lived this long is started again at once."""


class State(Enum):
    """What a handler's process is doing."""

    STARTING = "starting"
    UP = "up"
    NOT_LOADED = "not_loaded"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: `error` None is well; not `counts`, the process was killed for another call's sake."""

    error: str | None = None
    counts: bool = True


@dataclass(slots=True, eq=False)
class _Waiting:
    answered: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome = Outcome()

    def answer(self, outcome: Outcome) -> None:
        if not self.answered.is_set():
            self.outcome = outcome
            self.answered.set()


class Process:
    """Keeps one process for a handler; `run` starts it, and again whenever it ends."""

    def __init__(self, handler: Handler, timeout_s: float) -> None:
        self._handler = handler
        self._timeout_s = timeout_s
        self._process: trio.Process | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._sending = trio.Lock()
        self._up = trio.Event()
        self.state = State.STARTING
        self.error: str | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def up(self) -> None:
        """Wait until the handler is loaded."""
        await self._up.wait()

    async def call(self, run: Run) -> Outcome:
        """Call the handler and return how it went; a call that takes too long costs the process its life."""
        number, waiting = next(self._numbers), _Waiting()
        self._waiting[number] = waiting
        try:
            with trio.move_on_after(self._timeout_s) as scope:
                if not await self._send(encode(_call(number, run))):
                    return Outcome("not running", counts=False)
                await waiting.answered.wait()
            if scope.cancelled_caught and not waiting.answered.is_set():
                waiting.answer(Outcome(f"TimeoutError: it took longer than {self._timeout_s:g} s"))
                self._kill()
            return waiting.outcome
        finally:
            del self._waiting[number]

    def _kill(self) -> None:
        log.warning("handler.too_slow", handler=self._handler.name, timeout_s=self._timeout_s)
        for waiting in self._waiting.values():
            waiting.answer(Outcome("interrupted", counts=False))
        self._down()
        if self._process is not None:
            self._process.kill()

    async def _send(self, data: bytes) -> bool:
        """Send to the process; False when it is gone, so that the handler cannot have seen all of it."""
        async with self._sending:
            process = self._process
            if process is None or process.stdin is None:
                return False
            try:
                await process.stdin.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        return True

    async def run(self) -> None:
        """Keep the process until cancelled; then kill it."""
        pause_s = _FIRST_PAUSE_S
        while True:
            began = trio.current_time()
            self.state = State.STARTING
            self.starts += 1
            try:
                await self._serve()
            except OSError as error:  # no memory or no descriptors for a process
                self.error = f"{type(error).__name__}: {error}"
            finally:
                self._down()
                self._fail_all()
            log.warning("handler.ended", handler=self._handler.name, state=self.state.value)
            pause_s = _FIRST_PAUSE_S if trio.current_time() - began > _WELL_AFTER_S else pause_s
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _down(self) -> None:
        if self._up.is_set():  # else somebody waits for this one
            self._up = trio.Event()

    def _fail_all(self) -> None:
        for waiting in self._waiting.values():
            waiting.answer(Outcome("ProcessEnded: the handler's process ended during the call"))

    async def _serve(self) -> None:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "receiver.host", self._handler.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(os.environ),
            start_new_session=True,
        )
        self._process = process
        try:
            await self._listen(process)
        finally:
            self._process = None
            if self.state is not State.NOT_LOADED:
                self.state = State.ENDED
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        await stream.aclose()

    async def _listen(self, process: trio.Process) -> None:
        """Take in what the process says until its output ends."""
        assert process.stdout is not None
        reader, decoder = Reader(), msgspec.json.Decoder(Loaded | Done)
        with trio.CancelScope(deadline=trio.current_time() + _LOAD_DEADLINE_S) as loading:
            while data := await process.stdout.receive_some(_READ_BYTES):
                try:
                    frames = [decoder.decode(body) for body in reader.feed(data)]
                except (BadFrame, msgspec.DecodeError):
                    log.warning("handler.nonsense", handler=self._handler.name)
                    return
                for frame in frames:
                    loading.deadline = float("inf")
                    self._take(frame)
        if loading.cancelled_caught:
            self.state, self.error = State.NOT_LOADED, f"TimeoutError: not loaded within {_LOAD_DEADLINE_S:g} s"

    def _take(self, frame: Loaded | Done) -> None:
        match frame:
            case Loaded(error=None):
                self.state, self.error = State.UP, None
                self._up.set()
                log.info("handler.up", handler=self._handler.name, pid=self.pid)
            case Loaded(error=error):
                self.state, self.error = State.NOT_LOADED, error
            case Done(number=number, error=error):
                if number in self._waiting:
                    self._waiting[number].answer(Outcome(error))


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return what a handler's process gets of our environment: none of the receiver's settings and secrets."""
    return {name: value for name, value in ours.items() if not name.startswith("RECEIVER_")}


def _call(number: int, run: Run) -> Call:
    return Call(
        number=number,
        id=run.webhook_id,
        attempt=run.attempts + 1,
        cursor=run.cursor,
        received_at=run.received_at,
        instance=run.instance,
        type=run.type,
        seq=run.seq,
        chat=run.chat,
        body=msgspec.Raw(run.body),
    )
