"""A child process of the bench that speaks JSON lines, and ends with it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

REPOSITORY = Path(__file__).parents[2]
STOP_S = 20.0


class ChildEnded(Exception):
    """A program of the bench has ended:"""


class Child:
    """A running program: lines from its stdout, lines to its stdin, its log in a file.

    Started by the calling thread, because what ties a child to us is bound to the thread that starts it.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path = REPOSITORY
    ) -> None:
        self._log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env=dict(environment),
                bufsize=0,
            )
        assert self._process.stdout is not None and self._process.stdin is not None
        self._output = trio.lowlevel.FdStream(os.dup(self._process.stdout.fileno()))
        self._input = trio.lowlevel.FdStream(os.dup(self._process.stdin.fileno()))
        self._process.stdout.close()
        self._process.stdin.close()
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self, timeout_s: float) -> dict[str, Any]:
        """Return the next line; raise `ChildEnded` when there is none any more, with the end of the log."""
        with trio.fail_after(timeout_s):
            while b"\n" not in self._buffer:
                data = await self._output.receive_some(65536)
                if not data:
                    log = self._log.read_text(errors="replace")[-2000:]
                    raise ChildEnded(f"status {self._process.wait(5)}: {log}")
                self._buffer += data
        end = self._buffer.index(b"\n")
        found: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return found

    async def say(self, line: Mapping[str, Any]) -> None:
        """Write a line to its stdin."""
        await self._input.send_all(json.dumps(line).encode() + b"\n")

    def kill(self) -> None:
        self._process.kill()

    async def gone(self) -> int:
        """Wait until the program and all that hold its stdout are gone, killing it after a grace; return the status."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(STOP_S):
                async for _ in self._output:
                    pass
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._output.aclose()
            await self._input.aclose()
        return self._process.wait(5)

    async def stop(self, *, politely: bool = True) -> int:
        """End it: SIGTERM, or the end of its stdin for programs that live by that."""
        if politely:
            self._process.terminate()
        else:
            await self._input.aclose()
        return await self.gone()
