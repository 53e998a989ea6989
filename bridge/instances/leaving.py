"""Unlinking an instance's device at WhatsApp, and the answer when that cannot be asked for."""

import structlog

from bridge.domain.session import Session
from bridge.engine.errors import EngineError
from bridge.engine.session import Session as EngineSession
from bridge.instances.errors import NotConnected
from supervisor import Failed

log = structlog.get_logger()

LOGOUT_S = 10.0


async def unlink(engine: EngineSession | None, session: Session) -> Failed | None:
    """Remove the device from the phone's list; return why that failed."""
    if engine is None:
        return Failed(not_online(session))
    try:
        await engine.logout(LOGOUT_S)
    except EngineError as error:
        log.warning("instance.logout_failed", instance=engine.key, error=str(error))
        return Failed(error)
    return None


def not_online(session: Session) -> NotConnected:
    """Return the error of a call for which the instance would have to be online."""
    return NotConnected(f"Its state is {session.state}.", state=session.state.value, needs=session.needs.value)
