"""Puts the parts of the receiver together and runs them until something asks it to stop."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import structlog
import trio

from receiver import parent, retention
from receiver.app import App
from receiver.config import Config
from receiver.desk import Desks
from receiver.server import Server
from receiver.store import Store
from receiver.webhooks import Keys

log = structlog.get_logger()

_GRACE_S = 3.5
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach them, not a bind


async def run(config: Config, *, on_ready: Callable[[str], None], parent_pipe: bool) -> None:
    """Serve until SIGTERM, SIGINT or (with `parent_pipe`) the parent's end, then drain and return within 5 s.

    `on_ready` gets the URL once webhooks can be stored. A database that is not there yet is waited for: until then
    /livez answers 200, /readyz and webhooks 503. Raises `OSError` when the port cannot be taken.
    """
    stop = trio.Event()
    desks = Desks(config.database_url, config.handlers, config.handler_timeout_s)
    store = Store(config.database_url, desks.names)
    app = App(
        store,
        Keys(config.secrets, config.meta_secrets),
        config.paths,
        stop.is_set,
        desks=desks,
        host=config.host,
        api_key=config.api_key,
    )
    server = Server(app)
    listeners = await trio.open_tcp_listeners(config.port, host=config.host)
    with trio.open_signal_receiver(*parent.STOP_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, stop)
            if parent_pipe:
                parent.ask_for_death_signal()
                nursery.start_soon(_stop_on_end_of_stdin, stop)
            nursery.start_soon(store.run)
            nursery.start_soon(retention.run, store, config.retention_days)
            nursery.start_soon(_announce, store, partial(on_ready, _url(listeners[0])))
            await serve(store, desks, partial(server.run, listeners, stop, grace_s=_GRACE_S), stop)
            nursery.cancel_scope.cancel()
    log.info("receiver.stopped")


async def serve(store: Store, desks: Desks, serving: Callable[[], Awaitable[None]], stop: trio.Event) -> None:
    """Run the server and the handlers, which begin when the database has been reached; return when both have ended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wake, store, desks)
        async with trio.open_nursery() as both:
            both.start_soon(_handle, store, desks, stop)
            await serving()
        nursery.cancel_scope.cancel()


async def _handle(store: Store, desks: Desks, stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_unless_connected, store, stop, nursery.cancel_scope)
        await store.connected()
        await desks.run(stop)
        nursery.cancel_scope.cancel()


async def _cancel_unless_connected(store: Store, stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    if not store.was_connected:
        scope.cancel()


async def _wake(store: Store, desks: Desks) -> None:
    while True:
        await store.committed.wait()
        desks.wake()


async def _announce(store: Store, on_ready: Callable[[], None]) -> None:
    await store.connected()
    on_ready()


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    reason = await parent.stop_signal(signals, os.getppid())
    log.info("receiver.stopping", reason=reason)
    stop.set()


async def _stop_on_end_of_stdin(stop: trio.Event) -> None:
    await parent.end_of_stdin()
    log.info("receiver.stopping", reason="end of stdin")
    stop.set()


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
