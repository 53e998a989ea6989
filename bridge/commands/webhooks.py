"""`bridge webhooks`: endpoints, what waits for them, and what happens to them."""

import argparse

from bridge.commands.client import Client
from bridge.commands.output import show_fields, show_json, show_rows
from bridge.commands.pages import every

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


def _show(given: argparse.Namespace, answer: dict[str, object]) -> None:
    if given.json:
        show_json(answer)
    else:
        show_fields(answer)
