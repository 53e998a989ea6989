"""Files that messages carry: each is expected, as a row, before the event of its message is stored.

So a crash between the two loses nothing: the message comes again from the journal, and its file is expected already.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bridge.domain.events import Event
from bridge.domain.ids import InstanceKey
from bridge.domain.media import Media, media_id, media_path
from bridge.media.library import Library
from bridge.media.shown import Showing, about_message, rfc3339
from bridge.media.sniff import extension
from bridge.store.media import Expected


class Incoming:
    """Expects files, and tells whoever downloads them."""

    def __init__(self, library: Library, showing: Showing) -> None:
        self._library = library
        self._showing = showing
        self.on_expected: Callable[[], None] = lambda: None
        """Called when there is something to download."""

    async def expect(self, instance: InstanceKey, events: Sequence[Event]) -> list[Event]:
        """Return `events`, those with a file with its links; what is to be downloaded is stored then."""
        expires_at = time.time() + self._library.keeping.keep_s
        expected = [_expected(instance, event, event.media, expires_at) for event in events if event.media is not None]
        if not expected:
            return list(events)
        await self._library.rows.expect(expected)
        self.on_expected()
        rows = iter(expected)
        return [event if event.media is None else self._linked(event, next(rows)) for event in events]

    def _linked(self, event: Event, row: Expected) -> Event:
        fields = self._showing.fields(row.path, row.expires_at)
        said = event.data.get("media")
        media = {
            **(said if isinstance(said, dict) else {}),
            "id": row.id,
            "status": "pending",
            "reason": None,
            "url": fields["local_file_url"],
            "expires_at": rfc3339(row.expires_at),
        }
        return replace(event, data={**event.data, **fields, "media": media}, media=None)


def _expected(instance: InstanceKey, event: Event, media: Media, expires_at: float) -> Expected:
    said = event.data.get("media")
    facts = {
        name: value
        for name, value in (said if isinstance(said, dict) else {}).items()
        if name in ("width", "height", "duration_s", "is_ptt") and value is not None
    }
    return Expected(
        id=media_id(instance, event.dedup_key),
        instance_key=instance,
        path=media_path(instance, event.at, f"{instance}|{event.dedup_key}", extension(media.mime_type)),
        kind=media.kind,
        mime_type=_storable(media.mime_type)[:200],
        filename=_storable(media.filename)[:255],
        size_bytes=min(max(media.size_bytes, 0), 2**62),
        facts=facts,
        event=about_message(event.data),
        source=media.source,
        expires_at=expires_at,
    )


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")
