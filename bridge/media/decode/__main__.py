"""Decodes one file that a stranger made, in a process that may do little and not for long: reads a job from standard
input, does it, and prints the answer.

Decoders are large C libraries with a history of memory errors. Here they meet a file with bounded memory, bounded
time, no network (the file is handed to them as a stream, so that a playlist opens nothing), and no secret to find.
"""

import os
import resource
import signal
import sys

from bridge.media import jobs

MEMORY_BYTES = 2 * 1024**3
"""Of address space: what FFmpeg maps for a 4K video, with room."""
CPU_S = 60
WALL_S = 120
WRITTEN_BYTES = 256 * 1024**2
NICENESS = 10
"""Texts go first."""


def confine() -> None:
    """Take away what decoding does not need; the alarm ends the process also when its parent is gone."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, WRITTEN_BYTES),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))
    signal.alarm(WALL_S)
    os.nice(NICENESS)


def main() -> None:
    """Do the one job."""
    confine()
    job = jobs.read_job(sys.stdin.buffer.read())
    from bridge.media.decode.tasks import Unsuitable, do  # noqa: PLC0415 - under the limits

    answer: jobs.Answer
    try:
        answer = jobs.Done(do(job))
    except Unsuitable as error:
        answer = jobs.Refused(str(error))
    except MemoryError:
        answer = jobs.Refused("it takes too much memory to decode")
    sys.stdout.buffer.write(jobs.encode(answer))
    sys.stdout.buffer.flush()
    os._exit(0)  # whatever a decoder left running


if __name__ == "__main__":
    main()
