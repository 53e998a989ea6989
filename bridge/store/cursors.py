"""The cursors of pages, opaque to whoever pages: the place of a page's last row."""

import base64
from datetime import datetime

from bridge.store.errors import InvalidCursor


def at_place(place: str) -> str:
    """Return the cursor behind the row at `place`."""
    return base64.urlsafe_b64encode(place.encode()).decode()


def place(cursor: str) -> str:
    """Return the place behind which to go on; raise `InvalidCursor`."""
    try:
        return base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError as exc:  # what base64 raises is one too
        raise InvalidCursor from exc


def at_time(at: datetime, id: str) -> str:
    """Return the cursor behind the row `id` of that time, where rows are in the order of time and id."""
    return at_place(f"{at.isoformat()} {id}")


def time(cursor: str) -> tuple[datetime, str]:
    """Return the time and id behind which to go on; raise `InvalidCursor`."""
    at, _, id = place(cursor).partition(" ")
    try:
        return datetime.fromisoformat(at), id
    except ValueError as exc:
        raise InvalidCursor from exc
