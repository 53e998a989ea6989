"""The calls that send a message: one table from path to request schema, kind, and what the command's row keeps.

How a kind gets to WhatsApp is `bridge.instances.kinds`. A new kind is an entry here and one there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.api import schemas_messages as schemas
from bridge.api.call import Call
from bridge.api.problems import InvalidField
from bridge.domain.ids import InstanceKey


@dataclass(frozen=True, slots=True)
class Content:
    """What a request asks to send: the row's body, plain JSON."""

    body: Mapping[str, Any]
    kind: str | None = None
    """Where the kind depends on the request."""
    meaning: object = None
    """What a repeated request with the same Idempotency-Key must be equal in, where that is not the body."""


Read = Callable[[Call, InstanceKey, Any], Awaitable[Content]]
"""Makes the content of a request, or raises what refuses it; nothing may be changed by a request that is refused."""


@dataclass(frozen=True, slots=True)
class SendCall:
    """One call that sends: `kind` is in the command's row, in events and in `bridge.instances.kinds.KINDS`."""

    path: str
    kind: str
    request: type[schemas.Send]
    read: Read
    with_file: bool = False
    """Whether its body may hold a file, and the send may take as long as that takes."""


async def _text(call: Call, _: InstanceKey, request: schemas.SendText) -> Content:
    limit = call.context.limits.text_chars
    if len(request.message) > limit:
        raise InvalidField("message", f"is longer than {limit} characters")
    return Content({"text": request.message})


SENDS: tuple[SendCall, ...] = (SendCall("/message/send", "text", schemas.SendText, _text),)
