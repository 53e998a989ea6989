"""What may be asked of a send besides its content: when it goes, until when it is worth sending, how it looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SendOptions:
    """The common fields of all sends. `queued` ones are answered at once and may wait, also across restarts."""

    queued: bool = False
    send_at: datetime | None = None
    """Not before this time; such a send is queued."""
    ttl_s: float | None = None
    """Seconds after the request, or after `send_at`, beyond which it is not begun any more."""
    delay_s: float = 0.0
    """Wait so long before it, when its turn has come."""
    typing: bool = False
    """Show that we type during `delay_s`."""
    unchecked: bool = False
    """Take it also when WhatsApp does not know the number: then that is its outcome."""
    metadata: Mapping[str, object] | None = None
    """The caller's own; comes back in the events about this message."""

    def as_body(self) -> dict[str, object]:
        """Return what the command's row keeps of these in its body: plain JSON, and nothing for what was not asked."""
        asked = {"ttl_s": self.ttl_s, "delay_s": self.delay_s, "typing": self.typing, "metadata": self.metadata}
        return {name: value for name, value in asked.items() if value}
