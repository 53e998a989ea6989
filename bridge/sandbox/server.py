"""Puts the sandbox together and runs it: state, keys, the proxy for clients, the control API."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from bridge.errors import BridgeError
from bridge.sandbox.certificates import TlsAuthority, chain
from bridge.sandbox.connection import ServerKeys
from bridge.sandbox.control import Control
from bridge.sandbox.http import serve as serve_http
from bridge.sandbox.keys import KeyPair
from bridge.sandbox.state import State
from bridge.sandbox.transport import Proxy
from bridge.sandbox.world import World

log = structlog.get_logger()

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024


class PortTaken(BridgeError):
    """Another process listens on the sandbox's port."""

    code = "sandbox_port_taken"


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a running sandbox is, and what its clients must be told."""

    control: str
    proxy: str
    root_key: str
    """The public key to put into the place of WhatsApp's own, in hex."""
    ca_file: str
    """What the clients' TLS must trust: `SSL_CERT_FILE`."""


async def run(
    data_dir: Path,
    *,
    host: str = HOST,
    port: int = 0,
    proxy_port: int = 0,
    task_status: trio.TaskStatus[Ready] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a sandbox on that directory until cancelled. Port 0 is a free one; the proxy's stays the same if it can.

    Raises `PortTaken`, and `StateTooNew` for data of another version.
    """
    data_dir.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    state = State(data_dir / "sandbox.db")
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(state.commit_always)
            world = World.load(state)
            await nursery.start(world.schedules.run)
            await nursery.start(world.loads.run)
            authority = TlsAuthority(data_dir / "tls")
            root, keys = _keys(state)
            proxy = Proxy(world, keys, authority.server_context())
            proxy_at = await _listen_again(nursery, state, host, proxy_port, proxy.serve)
            world.trust.root_key = root.public.hex()
            world.trust.proxy_port = proxy_at
            world.trust.ca_file = authority.ca_file
            control = Control(world)
            serve = partial(serve_http, handler=control, taker_of=control.takes)
            control_at = await _listen(nursery, host, port, serve)
            await state.settled()
            shown = HOST if host in ("0.0.0.0", "::") else host  # noqa: S104 - it is not listened on here
            task_status.started(
                Ready(
                    control=f"http://{shown}:{control_at}",
                    proxy=f"http://{shown}:{proxy_at}",
                    root_key=root.public.hex(),
                    ca_file=str(authority.ca_file.absolute()),
                )
            )
    finally:
        state.close()


def _keys(state: State) -> tuple[KeyPair, ServerKeys]:
    """Return the root key and what the server proves itself with, the same ones after a restart."""
    root = _stored_key(state, "root")
    static = _stored_key(state, "static")
    return root, ServerKeys(static, chain(root, static.public))


def _stored_key(state: State, name: str) -> KeyPair:
    private = state.get(name)
    key = KeyPair(private)
    if private is None:
        state.put(name, key.private)
    return key


async def _listen_again(
    nursery: trio.Nursery, state: State, host: str, port: int, handler: Callable[[trio.SocketStream], Awaitable[None]]
) -> int:
    """Listen on the port, or on the one of last time if that is free: clients know the proxy's address."""
    before = state.get("proxy_port")
    if port == 0 and before is not None:
        try:
            return await _listen(nursery, host, int(before), handler)
        except PortTaken:
            log.info("sandbox.proxy_port_changed", before=int(before))
    chosen = await _listen(nursery, host, port, handler)
    state.put("proxy_port", str(chosen).encode())
    return chosen


async def _listen(
    nursery: trio.Nursery, host: str, port: int, handler: Callable[[trio.SocketStream], Awaitable[None]]
) -> int:
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except OSError as error:
        raise PortTaken(str(port)) from error
    nursery.start_soon(trio.serve_listeners, handler, listeners)
    return int(listeners[0].socket.getsockname()[1])
