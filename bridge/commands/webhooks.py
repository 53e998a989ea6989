"""`bridge webhooks`: endpoints, what waits for them, and what happens to them."""

import argparse
import time

from bridge.commands.client import EXIT_USAGE, Client, CommandFailed
from bridge.commands.output import Progress, show_fields, show_json, show_rows
from bridge.commands.pages import every

POLL_S = 0.5
COLUMNS = ("id", "url", "instance_key", "state", "held", "lag_events", "oldest_undelivered_at", "last_error")


def list_(given: argparse.Namespace, client: Client) -> None:
    found = every(client, "/webhooks", "webhooks", instance_key=given.instance)
    if given.json:
        show_json(found)
    else:
        show_rows(found, COLUMNS)


def create(given: argparse.Namespace, client: Client) -> None:
    body = {"url": given.endpoint, "instance_key": given.instance, "events": given.event, "ordering": given.ordering}
    made = client.call("POST", "/webhooks", {name: value for name, value in body.items() if value is not None})
    _show(given, made)


def show(given: argparse.Namespace, client: Client) -> None:
    _show(given, client.call("GET", f"/webhooks/{given.id}"))


def delete(given: argparse.Namespace, client: Client) -> None:
    _show(given, client.call("DELETE", f"/webhooks/{given.id}"))


def act(given: argparse.Namespace, client: Client) -> int:
    """Carry out test, pause, resume or rotate-secret; a test that was not delivered is a failure."""
    done = client.call("POST", f"/webhooks/{given.id}/{given.action}")
    _show(given, done)
    return 1 if given.action == "test" and not done["delivered"] else 0


def replay(given: argparse.Namespace, client: Client) -> int:
    """Have what was missed delivered again; tell how far that is until it is over. What is dead again is a failure."""
    chosen = {
        "dead": given.dead or None,
        "event_id": given.event,
        "from_time": given.from_time,
        "to_time": given.to_time,
    }
    body = {name: value for name, value in chosen.items() if value is not None}
    if not body:
        raise CommandFailed("Say what: --dead, --event, or --from.", EXIT_USAGE)
    going = client.call("POST", f"/webhooks/{given.id}/replay", body)
    with Progress(as_json=given.json) as progress:
        while going["state"] == "running":
            progress.show(f"{going['delivered'] + going['dead']} of {going['count']}")
            time.sleep(POLL_S)
            going = client.call("GET", f"/replays/{going['id']}")
    _show(given, going)
    return 1 if going["dead"] or going["state"] != "done" else 0


def _show(given: argparse.Namespace, answer: dict[str, object]) -> None:
    if given.json:
        show_json(answer)
    else:
        show_fields(answer)
