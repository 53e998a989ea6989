"""Samples the main thread of every Python process that is started with this folder in PYTHONPATH.

Every 2 ms of CPU time, or as seldom as the kernel's tick allows, the stack is noted, with the time of day; at the end
of the process all of it goes to a file in the folder named by BENCH_SAMPLES. Python imports a module of this name by
itself. Time inside C code counts for the line that called it.
"""

import atexit
import json
import os
import signal
import sys
import time
from types import FrameType

EVERY_S = 0.002
DEPTH = 60


class Sampler:
    """The samples of this process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._stacks: dict[tuple[str, ...], int] = {}
        self._samples: list[tuple[float, int]] = []
        self._pid = os.getpid()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        atexit.register(self._write)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH:
            code = frame.f_code
            stack.append(f"{code.co_filename}:{code.co_qualname}:{frame.f_lineno}")
            frame = frame.f_back
        number = self._stacks.setdefault(tuple(stack), len(self._stacks))
        self._samples.append((time.time(), number))

    def _write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0, 0)
        if os.getpid() != self._pid:
            return
        found = {"argv": sys.orig_argv, "stacks": list(self._stacks), "samples": self._samples}
        with open(os.path.join(self._folder, f"{self._pid}.json"), "w") as file:  # noqa: PTH118, PTH123
            json.dump(found, file)


# the timer survives an exec, its handler does not
if "ops.bench.tied" not in sys.orig_argv and (folder := os.environ.get("BENCH_SAMPLES")):
    Sampler(folder).start()
