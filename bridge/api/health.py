"""What the health calls show: the process tree, how many instances are in which state, which version this is."""

import platform
from collections import Counter
from functools import cache
from importlib import metadata

import trio

from bridge.api.context import TreeNode
from bridge.api.stores import Instances

CENSUS_S = 2.0
"""How long a count is good for: health is asked for often, and by strangers."""
SHOWN_NAME = 12
"""Characters of a node's name that a caller without a key sees: enough to tell nodes apart, not to name an instance."""


def show_tree(node: TreeNode, *, in_full: bool) -> dict[str, object]:
    """Return the process tree as plain values; unless `in_full`, without names of instances, errors and details."""
    error = node.last_error
    return {
        "name": node.name if in_full else _short(node.name),
        "kind": str(node.kind),
        "state": str(node.state),
        "restarts": node.restarts,
        "since_s": round(node.since_s, 3),
        "last_error": error if in_full or error is None else error.partition(":")[0],
        "detail": dict(node.detail) if in_full else {},
        "children": [show_tree(child, in_full=in_full) for child in node.children],
    }


def _short(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…"


class Census:
    """Counts instances by state."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._counts: dict[str, object] = {}
        self._good_until = -float("inf")

    async def counts(self) -> dict[str, object]:
        """Return `{total, by_state}`, at most `CENSUS_S` old."""
        if trio.current_time() >= self._good_until:
            by_state: Counter[str] = Counter()
            cursor: str | None = None
            while True:
                page = await self._instances.list(state=None, external_id=None, limit=1_000, cursor=cursor)
                by_state.update(row.state for row in page.items)
                cursor = page.next_cursor
                if cursor is None:
                    break
            self._counts = {"total": by_state.total(), "by_state": dict(by_state)}
            self._good_until = trio.current_time() + CENSUS_S
        return self._counts


@cache
def version() -> dict[str, object]:
    """Return the names and versions of what runs here."""
    return {"name": "whatsapp-bridge", "version": _version("whatsapp-bridge"), "python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
