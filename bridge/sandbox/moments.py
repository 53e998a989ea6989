"""What a simulated phone sees for a moment: who is online, who is typing, who rejects its call.

Kept in memory only, the last few.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from bridge.sandbox.nodes import Node

_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Moment:
    """`kind` is `presence` (state `available`, `unavailable`), `typing` (`composing`, `recording`, `paused`) or `call`
    (`rejected`).
    """

    cursor: int
    kind: str
    sender: str
    chat: str
    state: str
    last_seen: int | None
    """Seconds since 1970, of somebody who is away and lets it be known."""
    at: float
    call_id: str | None = None


class Moments:
    """The last moments of one phone."""

    def __init__(self) -> None:
        self._last: deque[Moment] = deque(maxlen=_KEPT)
        self._count = 0

    def take(self, node: Node) -> None:
        """Note a `presence`, `chatstate` or `call` stanza."""
        self._count += 1
        chat = node.text("from")
        sender = node.text("participant") or chat
        reject = node.child("reject")
        if reject is not None:
            kind, state = "call", "rejected"
        elif node.tag == "presence":
            kind, state = "presence", node.text("type") or "available"
        else:
            kind, state = "typing", _typing(node)
        last = node.text("last")
        seen = int(last) if last.isdigit() else None
        call_id = None if reject is None else reject.text("call-id")
        self._last.append(Moment(self._count, kind, sender, chat, state, seen, time.time(), call_id))

    def after(self, cursor: int) -> list[Moment]:
        return [moment for moment in self._last if moment.cursor > cursor]


def _typing(node: Node) -> str:
    child = (node.children() or [Node("paused")])[0]
    return "recording" if child.text("media") == "audio" else child.tag
