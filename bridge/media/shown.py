"""What events and answers say of a file: the original's fields, and our object `media`. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.domain.events import Event
from bridge.media.links import Links
from bridge.store.media import MediaRow

HIDDEN_FACTS = frozenset({"thumbnail", "waveform", "title"})
"""Too large for every event, or of no use there."""
_KEPT = (
    "message_id",
    "chat_id",
    "sender_id",
    "from",
    "push_name",
    "is_from_me",
    "is_group",
    "chat",
    "sender",
    "caption",
)


@dataclass(frozen=True, slots=True)
class Showing:
    """How files are shown: what signs their links, and where this bridge is reached."""

    links: Links
    base_url: Callable[[], str]

    def fields(self, path: str, expires_at: float) -> dict[str, object]:
        """Return the original's three fields; the link in them opens the file until it expires."""
        link = self.links.sign(f"/media/{path}", expires_at)
        return {"media_url": link, "media_path": path, "local_file_url": self.base_url() + link}

    def described(self, row: MediaRow) -> dict[str, object]:
        """Return our object `media` of a file."""
        fields = self.fields(row.path, row.expires_at.timestamp())
        facts = {name: value for name, value in row.facts.items() if name not in HIDDEN_FACTS}
        return {
            "width": None,
            "height": None,
            "duration_s": None,
            "is_ptt": False,
            **facts,
            "id": row.id,
            "status": row.status,
            "reason": row.reason,
            "mime_type": row.mime_type,
            "size_bytes": row.size_bytes,
            "sha256": row.sha256.hex() if row.sha256 is not None else None,
            "url": fields["local_file_url"],
            "expires_at": rfc3339(row.expires_at.timestamp()),
        }

    def updated(self, row: MediaRow, at: float) -> Event:
        """Return `media.updated`, emitted when the download of a message's file has ended, well or not."""
        chat = row.event.get("chat_id")
        data = {
            **row.event,
            "timestamp": int(at),
            "kind": row.kind,
            "media_type": row.kind,
            "mime_type": row.mime_type,
            "filename": row.filename,
            **self.fields(row.path, row.expires_at.timestamp()),
            "media": self.described(row),
        }
        return Event(
            type="media.updated",
            name="media_updated",
            dedup_key=f"media:{row.id}:{row.status}:{row.attempts}:{int(row.expires_at.timestamp())}",
            at=at,
            data=data,
            chat=chat if isinstance(chat, str) else "",
        )


def about_message(data: Mapping[str, object]) -> dict[str, object]:
    """Return what media.updated repeats of the event of its message."""
    return {name: data[name] for name in _KEPT if name in data}


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
