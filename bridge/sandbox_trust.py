"""A sandbox elsewhere in the place of WhatsApp: asks it what the engine has to trust, and keeps its sessions apart.

It takes two settings to get here, `BRIDGE_SANDBOX_URL` and `BRIDGE_SANDBOX_INSTEAD_OF_WHATSAPP`, and a third for a
sandbox or a bridge that is not on this machine alone (`bridge/config.py`). A database belongs to the world in which its
numbers were paired: WhatsApp, or one sandbox. It is never used in another one, since a number that was paired here is
unknown there, and its session would be thrown away.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec
import structlog
import trio

from bridge.config import Settings
from bridge.domain.ids import InstanceKey
from bridge.engine.wire import SandboxTrust
from bridge.errors import BridgeError
from bridge.store.store import Store

log = structlog.get_logger()

WAIT_S = 30.0
"""How long a sandbox may take to come up beside the bridge."""
_RETRY_S = 0.5
_MAX_BYTES = 64 << 10
_WORLD = "world"
_WHATSAPP = b"whatsapp"


class NoSandbox(BridgeError):
    """The sandbox that BRIDGE_SANDBOX_URL names can't be used:"""

    code = "no_sandbox"


class AnotherWorld(BridgeError):
    """The numbers in this database were paired elsewhere: use another database and data directory."""

    code = "another_world"


class _Told(msgspec.Struct):
    proxy: str
    root_key: str
    ca: str


async def trust_of(settings: Settings, *, wait_s: float = WAIT_S) -> SandboxTrust | None:
    """Return what the sandbox says that an engine must trust, None without one; raise `NoSandbox`.

    Its certificate is written into the data directory, where the engine's processes read it.
    """
    if not settings.sandbox_url:
        return None
    log.warning("sandbox.instead_of_whatsapp", url=settings.sandbox_url)
    told = await _ask(settings.sandbox_url, wait_s)
    ca_file = settings.data_dir / "sandbox-ca.pem"
    await trio.to_thread.run_sync(_write, ca_file, told.ca)
    return SandboxTrust(told.proxy, told.root_key, str(ca_file.absolute()))


async def keep_apart(store: Store, trust: SandboxTrust | None) -> None:
    """Claim the database for WhatsApp or for this sandbox; raise `AnotherWorld` if it is claimed for something else."""
    ours = _WHATSAPP if trust is None else f"sandbox {trust.root_key_hex}".encode()
    claimed = await store.settings.put_if_absent(_WORLD, ours)
    if claimed == ours:
        return
    before = "WhatsApp" if claimed == _WHATSAPP else "a sandbox" if trust is None else "another sandbox"
    raise AnotherWorld(f"They are {before}'s.")


async def show_codes(codes: Callable[[], Mapping[InstanceKey, str]], url: str, stopped: trio.Event) -> None:
    """Show the sandbox every QR code that an instance shows, until `stopped`: its page then scans it by a click."""
    shown: dict[InstanceKey, str] = {}
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=5) as http:
        while not stopped.is_set():
            for instance, code in codes().items():
                if shown.get(instance) == code:
                    continue
                try:
                    await http.post("/codes", json={"qr": code, "name": instance})
                except httpx2.HTTPError:
                    log.info("sandbox.code_not_shown", instance=instance)
                else:
                    shown[instance] = code
            with trio.move_on_after(_RETRY_S):
                await stopped.wait()


async def _ask(url: str, wait_s: float) -> _Told:
    reason = "it gave no answer"
    with trio.move_on_after(wait_s):
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as http:
            while True:
                try:
                    answer = await http.get(f"{url.rstrip('/')}/trust")
                except httpx2.HTTPError as error:
                    reason = str(error) or type(error).__name__
                else:
                    return _read(answer)
                await trio.sleep(_RETRY_S)
    raise NoSandbox(f"{url}: {reason}.")


def _read(answer: httpx2.Response) -> _Told:
    if answer.status_code != httpx2.codes.OK or len(answer.content) > _MAX_BYTES:
        raise NoSandbox(f"{answer.url} answers {answer.status_code}; is that a sandbox?")
    try:
        told = msgspec.json.decode(answer.content, type=_Told)
        proxy, key = urlsplit(told.proxy), bytes.fromhex(told.root_key)
    except (ValueError, msgspec.DecodeError) as error:
        raise NoSandbox(f"{answer.url} is no sandbox: {error}.") from error
    if proxy.scheme != "http" or not proxy.hostname or len(key) != 32 or "BEGIN CERTIFICATE" not in told.ca:
        raise NoSandbox(f"{answer.url} is no sandbox.")
    return told


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.write_text(text)
