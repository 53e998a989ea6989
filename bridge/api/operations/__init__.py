"""What each call takes and gives, for /openapi.json: one module per resource, one entry per route.

A new route needs its entry: `"POST /things/{key}": Operation("Does it.", body=Body, example={...}, answer=Answer,
shows={...})`. A test names those that are missing.
"""

from collections.abc import Mapping

from bridge.api.openapi import Operation
from bridge.api.operations import (
    deliveries,
    events,
    groups,
    instances,
    keys,
    media,
    messages,
    people,
    phones,
    service,
    webhooks,
)

OPERATIONS: Mapping[str, Operation] = {
    **instances.OPERATIONS,
    **messages.OPERATIONS,
    **media.OPERATIONS,
    **keys.OPERATIONS,
    **people.OPERATIONS,
    **groups.OPERATIONS,
    **phones.OPERATIONS,
    **webhooks.OPERATIONS,
    **deliveries.OPERATIONS,
    **events.OPERATIONS,
    **service.OPERATIONS,
}
