"""`bridge events`: what happened, and with --follow what happens, one line each."""

import argparse
from typing import Any

from bridge.commands.client import Client
from bridge.commands.output import cell, show_json

WAIT_S = 30
COLUMNS = ("timestamp", "instance", "type")


def events(given: argparse.Namespace, client: Client) -> None:
    """Print events from a cursor on; stop at the newest, or after --limit, unless they are to be followed."""
    after, left = given.after or ("latest" if given.follow else "0"), given.limit
    while left is None or left > 0:
        query = {
            "instance_key": given.instance,
            "types": ",".join(given.type) if given.type else None,
            "after": after,
            "limit": 100 if left is None else min(left, 100),
            "wait_s": WAIT_S if given.follow else 0,
        }
        page = client.call("GET", "/events", query=query)
        for event in page["events"]:
            _show(given, event)
        after = str(page["next_after"])
        left = None if left is None else left - len(page["events"])
        if not page["events"] and not given.follow:
            return


def _show(given: argparse.Namespace, event: dict[str, Any]) -> None:
    if given.json:
        show_json(event)
        return
    data = event.get("data", {})
    about = data.get("text") or data.get("status") or data.get("state") or ""
    line = "  ".join([*(cell(event.get(name)) for name in COLUMNS), cell(data.get("from") or data.get("to") or "")])
    print(f"{line}  {cell(about)[:120]}".rstrip(), flush=True)
