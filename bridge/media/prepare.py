"""Finds out what a recipient's phone shows of a file, and makes of it what phones can play: in a child process.

Why a process and not a thread: the decoders are C libraries that strangers' files meet. Each file gets a process of its
own, with bounds (bridge/media/decode), so that a crash or an endless loop costs one send.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import structlog
import trio

from bridge.media import jobs
from bridge.media.errors import MediaUnsuitable

log = structlog.get_logger()

AT_ONCE = 2
TIMEOUT_S = 120.0
_COMMAND = (sys.executable, "-I", "-m", "bridge.media.decode")
_ENVIRONMENT = {"LANG": "C.UTF-8"}
"""No variable of ours: a secret that is not there cannot be read."""


class Preparer:
    """Runs such processes, a few at a time."""

    def __init__(self, *, at_once: int = AT_ONCE, timeout_s: float = TIMEOUT_S) -> None:
        self._limiter = trio.CapacityLimiter(at_once)
        self._timeout_s = timeout_s

    async def prepare(self, task: jobs.Task, path: Path, mime_type: str, target: Path) -> jobs.Seen:
        """Do one task; raise `MediaUnsuitable`. A file at `target` is the caller's to use or remove."""
        job = jobs.encode(jobs.Job(task, str(path), mime_type, str(target)))
        async with self._limiter:
            with trio.move_on_after(self._timeout_s):
                done = await trio.run_process(
                    _COMMAND,
                    stdin=job,
                    capture_stdout=True,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    env=_ENVIRONMENT,
                    cwd=path.parent,
                )
                return _read(done.returncode, done.stdout, task)
        raise MediaUnsuitable(f"Decoding it took more than {self._timeout_s:g} s.", task=task)


def _read(status: int, output: bytes, task: str) -> jobs.Seen:
    if status != 0:
        log.warning("media.decoder_died", status=status, task=task)
        raise MediaUnsuitable("It cannot be decoded.", task=task)
    try:
        answer = jobs.read_answer.decode(output)
    except msgspec.DecodeError:
        raise MediaUnsuitable("It cannot be decoded.", task=task) from None
    match answer:
        case jobs.Refused(reason):
            raise MediaUnsuitable(f"{reason[:1].upper()}{reason[1:]}.", task=task)
        case jobs.Done(seen):
            return seen
