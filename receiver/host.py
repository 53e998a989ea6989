"""The process that calls one handler: `python -m receiver.host package.module:function`, started by the receiver.

Frames come on stdin and answers go to what was stdout at the start; what a handler prints goes to stderr. A thread
reads, so that the end of stdin ends this process whatever the handler does. Synchronous handlers run in threads,
asynchronous ones on Trio, several at once.
"""

import importlib
import inspect
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
import trio

from receiver import logs
from receiver.event import Event
from receiver.frames import Call, Done, Loaded, Reader, encode

log = structlog.get_logger()

Function = Callable[[Event], Awaitable[None] | None]

_READ_BYTES = 65536
_MAX_ERROR_CHARS = 500
_NICE = 5
"""A handler that computes all the time leaves the processor to the receiver when both want it."""


def main(target: str) -> int:
    """Serve until stdin ends; return 1 when `target` cannot be imported."""
    logs.configure()
    os.nice(_NICE)
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        function = load(target)
    except (Exception, SystemExit) as error:
        log.error("handler.not_loaded", handler=target, **_where(error))
        _write(output, Loaded(_told(error)))
        return 1
    _write(output, Loaded())
    trio.run(_serve, target, function, output)
    return 0


def load(target: str) -> Function:
    """Return the function that `package.module:function` names; raise what its import raises, or `TypeError`."""
    module, _, path = target.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{target} cannot be called")
    return found


async def _serve(target: str, function: Function, output: int) -> None:
    send, receive = trio.open_memory_channel[Call](float("inf"))  # bounded by the receiver: a few calls at once
    token = trio.lowlevel.current_trio_token()
    threading.Thread(target=_read, args=(token, send), daemon=True).start()
    async with trio.open_nursery() as nursery:
        async for call in receive:
            nursery.start_soon(_call, target, function, call, output)


def _read(token: trio.lowlevel.TrioToken, send: trio.MemorySendChannel[Call]) -> None:
    reader, decoder = Reader(), msgspec.json.Decoder(Call)
    with suppress(OSError):
        while data := os.read(0, _READ_BYTES):
            for body in reader.feed(data):
                token.run_sync_soon(send.send_nowait, decoder.decode(body))
    os._exit(0)  # the receiver is gone or has no more use for us: it calls again what was not answered


async def _call(target: str, function: Function, call: Call, output: int) -> None:
    error = None
    try:
        event = _event(call)
        (result,) = await trio.to_thread.run_sync(lambda: (function(event),))
        if inspect.isawaitable(result):  # an asynchronous one, of which nothing has run yet
            await result
    except trio.Cancelled:
        raise
    except BaseException as raised:
        error = _told(raised)
        log.warning("handler.failed", handler=target, webhook_id=call.id, attempt=call.attempt, **_where(raised))
    _write(output, Done(call.number, error))


def _event(call: Call) -> Event:
    fields = {name: getattr(call, name) for name in Event.__struct_fields__}
    return Event(**{**fields, "body": msgspec.json.decode(call.body)})


def _told(error: BaseException) -> str:
    """Return what is stored beside the event; PostgreSQL's text has no NUL."""
    return f"{type(error).__name__}: {error}".replace("\0", "")[:_MAX_ERROR_CHARS]


def _where(error: BaseException) -> dict[str, str]:
    """Return what is logged: kind and place, not the words, for they may be somebody's message."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    return {"error": type(error).__name__, "at": place}


def _write(output: int, frame: Loaded | Done) -> None:
    data = memoryview(encode(frame))
    while data:
        data = data[os.write(output, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
