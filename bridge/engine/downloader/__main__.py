"""A process that fetches files: reads jobs from standard input, a line each, and prints an answer to each.

It has the lowest priority, bounded memory, and no secret of ours. It ends at the end of its input, and in the middle of
a file when its parent is gone.
"""

import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bridge.engine.downloader import jobs
from bridge.engine.downloader.sealed import OVERHEAD_BYTES, BadFile, reader
from bridge.engine.downloader.web import Away, Broken, body_of

NICENESS = 19
"""The last. Not SCHED_IDLE: it protects texts no better (docs/benchmarks.md), and has a fifth of the weight (3 to 15 of
1024 in the kernel's scheduler) where others fill the machine."""
MEMORY_BYTES = 512 * 1024**2
"""Of address space; it has 60 MB with everything loaded, and holds a few pieces of a file."""
SYNC_BYTES = 4 * 1024**2
"""What is written before the disk has to have it: commits of a database on the same disk wait behind all that is on its
way there."""


class TooLarge(Exception):
    """The file is larger than the limit."""


class Orphaned(Exception):
    """Nobody wants the file any more."""


def confine() -> None:
    """Bound what a fault could take."""
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))


class Target:
    """The file that is written: it is there as a whole in the end, or not at all."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = Path(path)
        self._limit = limit_bytes
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._unsynced = 0
        self.size_bytes = 0

    def write(self, content: bytes) -> None:
        """Add to it; raise `TooLarge`."""
        self.size_bytes += len(content)
        if self.size_bytes > self._limit:
            raise TooLarge
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._unsynced += len(content)
        if self._unsynced >= SYNC_BYTES:
            os.fdatasync(self._descriptor)
            self._unsynced = 0

    def complete(self) -> None:
        """Wait until the disk has all of it."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def discard(self) -> None:
        """Remove it."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def fetch(job: jobs.Job, is_wanted: Callable[[], bool]) -> jobs.Answer:
    """Do one job; leave nothing behind when it fails."""
    try:
        with body_of(job) as body:
            if body.said_bytes is not None and body.said_bytes > job.limit_bytes + OVERHEAD_BYTES:
                return jobs.TooLarge()
            opening = reader(job.media_key, job.info, sealed_sha256=job.sealed_sha256, sha256=job.sha256)
            target = Target(job.path, job.limit_bytes)
            try:
                for piece in body.pieces():
                    if not is_wanted():
                        raise Orphaned
                    target.write(opening.take(piece))
                target.write(opening.end())
                target.complete()
            except BaseException:
                target.discard()
                raise
            return jobs.Fetched(target.size_bytes)
    except Away as error:
        return jobs.NotGiven(str(error))
    except TooLarge:
        return jobs.TooLarge()
    except (Broken, BadFile) as error:
        return jobs.Failed(str(error))
    except OSError as error:
        return jobs.Failed(f"the file cannot be written: {error.strerror}")


def main() -> None:
    """Do what is asked, one file after the other."""
    parent = os.getppid()
    os.nice(NICENESS)
    confine()
    for line in sys.stdin.buffer:
        answer = fetch(jobs.read_job(line), lambda: os.getppid() == parent)
        sys.stdout.buffer.write(jobs.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    with suppress(Orphaned, BrokenPipeError, KeyboardInterrupt):
        main()
