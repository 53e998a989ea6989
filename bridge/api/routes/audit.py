"""The call that shows who did what."""

from dataclasses import dataclass

from quart.wrappers import Response

from bridge.api import key_schemas as schemas
from bridge.api.auth import Access
from bridge.api.call import Call, Route, answer
from bridge.api.context import ApiContext

PAGE, MAX_PAGE = 100, 1_000


def routes(context: ApiContext) -> tuple[Route, ...]:
    return (Route("GET", "/audit", AuditCalls(context).list, Access.ADMIN),)


@dataclass(frozen=True, slots=True)
class AuditCalls:
    """The handler."""

    context: ApiContext

    async def list(self, call: Call) -> Response:
        page = await self.context.store.audit.page(
            instance_key=call.query("instance_key"),
            key_id=call.query("key_id"),
            limit=int(call.query_number("limit", PAGE, 1, MAX_PAGE)),
            cursor=call.query("cursor"),
        )
        return answer(schemas.AuditTrail([schemas.audit_entry(row) for row in page.items], page.next_cursor))
