"""Reads a list of the API to its end, page by page."""

from typing import Any

from bridge.commands.client import Client


def every(client: Client, path: str, name: str, **query: object) -> list[dict[str, Any]]:
    """Return all items of a list whose pages have them under `name`."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.call("GET", path, query={**query, "cursor": cursor})
        found += page[name]
        cursor = page.get("next_cursor")
        if cursor is None:
            return found
