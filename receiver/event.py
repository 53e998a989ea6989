"""What a handler is called with."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was verified and stored.

    `id` is the same however often the event is handled: what must not happen twice is remembered by it. `attempt`
    counts from 1. `body` is the whole envelope as it was signed, `data` the part of it that its `type` describes.
    """

    id: str
    attempt: int
    cursor: int
    received_at: str
    instance: str | None
    type: str | None
    seq: int | None
    chat: str | None
    body: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}
