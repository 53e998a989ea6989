"""Waits until a device that was just linked has what its phone shares with it.

The phone sends keys in a message right after the pairing, and the library then fetches what they open: the push name,
contacts, settings. A session that is closed in between does not begin again; without a push name WhatsApp takes no
presence. The library does not report any of it through neonize, so what it has stored is looked at.
"""

from typing import Protocol

import structlog
import trio

from bridge.store.instances import AppState

log = structlog.get_logger()

LOOK_EVERY_S = 0.05
KEYS_WITHIN_S = 2.0
"""How long to wait for the keys. Ones that come later come to the session that stays, which takes them by itself."""
FETCHED_WITHIN_S = 10.0
QUIET_LOOKS = 4
"""Looks without a further collection, after the name, for all to be taken as fetched."""


class Sources(Protocol):
    """Who knows what the engine has stored."""

    async def app_state(self, jid: str) -> AppState: ...


async def settled(source: Sources, jid: str | None) -> bool:
    """Return True when the device has what its phone shares, or False when that is not to be waited for any longer.

    Raises what the source raises.
    """
    if jid is None:
        return False
    began = trio.current_time()
    quiet, last = 0, AppState(0, 0, False)
    while quiet < QUIET_LOOKS:
        waited_s = trio.current_time() - began
        if waited_s >= (FETCHED_WITHIN_S if last.keys else KEYS_WITHIN_S):
            log.info("pairing.not_settled", keys=last.keys, collections=last.collections, named=last.named)
            return False
        await trio.sleep(LOOK_EVERY_S)
        found = await source.app_state(jid)
        quiet = quiet + 1 if found == last and found.named else 0
        last = found
    return True
