"""Handlers of the tests, good and bad ones: they run in processes of their own and leave traces in a folder."""

import json
import os
import signal
import time
from pathlib import Path

import trio

from receiver.event import Event

FOLDER = "HANDLER_FOLDER"


def folder() -> Path:
    return Path(os.environ[FOLDER])


def trace(event: Event, **more: object) -> None:
    """Append a line about the call, in one write."""
    line = {"id": event.id, "attempt": event.attempt, "chat": event.chat, "seq": event.seq, "pid": os.getpid(), **more}
    with (folder() / "calls").open("a") as file:
        file.write(json.dumps(line) + "\n")


def calls(where: Path) -> list[dict[str, object]]:
    """Return what was traced in a folder."""
    try:
        return [json.loads(line) for line in (where / "calls").read_text().splitlines()]
    except FileNotFoundError:
        return []


def note(event: Event) -> None:
    print("a handler may print")
    trace(event, text=event.data.get("text"), settings=[name for name in os.environ if name.startswith("RECEIVER_")])


async def note_later(event: Event) -> None:
    await trio.lowlevel.checkpoint()
    trace(event, text=event.data.get("text"))


def hang(event: Event) -> None:
    trace(event)
    time.sleep(3600)


def compute(event: Event) -> None:
    trace(event)
    while True:
        pass


async def block(event: Event) -> None:
    """What must not be done: it holds up its own event loop."""
    trace(event)
    time.sleep(3600)  # noqa: ASYNC251


def fail(event: Event) -> None:
    """Fail as long as nobody has mended it."""
    if event.body.get("poison") and not (folder() / "mended").exists():
        raise ValueError(f"cannot do {event.id}\0")
    trace(event)


def wait(event: Event) -> None:
    """Trace the beginning, wait until the file `go` is there, trace the end."""
    trace(event, began=True)
    while event.body.get("poison") and not (folder() / "go").exists():
        time.sleep(0.01)
    trace(event, ended=True)


def crash(event: Event) -> None:
    trace(event)
    if event.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
