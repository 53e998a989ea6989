"""The audit trail: who changed what, from where, and how it ended. Written when the call ends, also when it failed."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

import structlog
from quart.wrappers import Response

from bridge.api.auth import Access, Caller
from bridge.api.call import Call, Route
from bridge.api.shields import SCOPE_KEY, Shields
from bridge.api.stores import Audit
from bridge.errors import BridgeError
from bridge.ids import new_audit_id
from bridge.store.rows import AuditRow

log = structlog.get_logger()

WRITE_S = 5.0
"""How long an entry may take to be written; the call's answer waits for it."""
GONE = "caller_gone"
"""Code of a call whose caller went away; what it was promised is done nevertheless."""
NAME_CHARS = 64
"""Kept of what a caller wrote into the path."""
_SHOWS_A_CODE = frozenset({"/instance/<key>/qr", "/instance/<key>/qr/stream"})
"""Reads that are recorded: whoever saw the code could take the number over."""


class Recorded(Enum):
    """Which calls are recorded; a refused one counts like one that was let in."""

    CHANGES = "changes"
    """What manages instances, endpoints and keys. Sends are not: each has its row in the store anyway."""
    ALL = "all"
    OFF = "off"


def is_recorded(route: Route, recorded: Recorded) -> bool:
    """Say whether calls of `route` belong into the trail."""
    if recorded is not Recorded.CHANGES or route.access is None:
        return recorded is Recorded.ALL and route.access is not None
    changes = route.method != "GET" or route.path in _SHOWS_A_CODE
    return changes and route.access in {Access.MANAGE, Access.ADMIN}


class Auditor:
    """Runs calls and records them."""

    def __init__(self, audit: Audit, recorded: Recorded) -> None:
        self._audit = audit
        self._recorded = recorded

    async def watch(self, call: Call, route: Route, run: Callable[[], Awaitable[Response]]) -> Response:
        """Return what `run` returns, or raise what it raises, once the entry is written."""
        if not is_recorded(route, self._recorded):
            return await run()
        status, code = 0, GONE
        try:
            response = await run()
            status, code = response.status_code, ""
        except BridgeError as error:
            status, code = error.status, error.code
            raise
        except Exception:
            status, code = 500, "internal"
            raise
        finally:
            await self._write(call, _entry(call, route, status, code))  # noqa: ASYNC102  # shielded in there
        return response

    async def _write(self, call: Call, entry: AuditRow) -> None:
        """Write it, whether or not the caller is still there; what cannot be written is at least in the log."""
        shields: Shields = call.request.scope[SCOPE_KEY]
        fields = {name: value for name, value in _shown(entry).items() if value}
        with shields.hold(WRITE_S) as shield:
            try:
                await self._audit.insert(entry)
            except BridgeError as error:
                log.error("audit.not_written", error=error.code, **fields)
                return
        if shield.cancelled_caught:
            log.error("audit.not_written", error="timeout", **fields)
            return
        log.info("audit", **fields)


def _entry(call: Call, route: Route, status: int, code: str) -> AuditRow:
    caller: Caller = call.caller
    target = call.notes.get("target") or "/".join(value for name, value in call.path.items() if name != "key")
    instance = call.notes.get("instance") or call.path.get("key", "")
    return AuditRow(
        id=new_audit_id(),
        key_id=caller.key.id if caller.key else None,
        key_name=caller.key.name if caller.key else None,
        role=caller.key.role if caller.key else None,
        address=str(caller.address) if caller.address else None,
        action=f"{route.method} {route.path.replace('<', '{').replace('>', '}')}",
        instance_key=instance[:NAME_CHARS] or None,
        target=target[:NAME_CHARS] or None,
        status=status or None,
        code=code or None,
        request_id=call.request_id,
    )


def _shown(entry: AuditRow) -> Mapping[str, object]:
    return {
        "action": entry.action,
        "key_id": entry.key_id,
        "address": entry.address,
        "instance": entry.instance_key,
        "target": entry.target,
        "status": entry.status,
        "code": entry.code,
        "request_id": entry.request_id,
    }
