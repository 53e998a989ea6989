"""`bridge instances`: what there is, and what happens to it."""

import argparse
import json
from typing import Any

from bridge.commands.client import EXIT_USAGE, Client, CommandFailed
from bridge.commands.output import note, show_fields, show_json, show_rows
from bridge.commands.pages import every

COLUMNS = ("instance_key", "name", "state", "phone_number", "needs", "reason")


def list_(given: argparse.Namespace, client: Client) -> None:
    found = every(client, "/instances", "instances", state=given.state, external_id=given.external_id)
    if given.json:
        show_json(found)
    else:
        show_rows(found, COLUMNS)


def show(given: argparse.Namespace, client: Client) -> None:
    _show(given, client.call("GET", f"/instance/{given.key}"))


def create(given: argparse.Namespace, client: Client) -> None:
    body: dict[str, Any] = {"name": given.name, "external_id": given.external_id}
    if given.metadata is not None:
        try:
            body["metadata"] = json.loads(given.metadata)
        except ValueError:
            raise CommandFailed("--metadata must be a JSON object.", EXIT_USAGE) from None
    if given.webhook is not None:
        body["webhook"] = {"url": given.webhook}
    made = client.call("POST", "/instance/create", body)
    _show(given, made)
    if not given.json:
        note("api_key, and the webhook's secret, are shown this once. Next: bridge pair " + made["instance_key"])


def connect(given: argparse.Namespace, client: Client) -> None:
    body = {"instance_key": given.key, "wait_s": given.wait}
    _show(given, client.call("POST", "/instance/connect", body))


def disconnect(given: argparse.Namespace, client: Client) -> None:
    _show(given, client.call("POST", f"/instance/{given.key}/disconnect"))


def restart(given: argparse.Namespace, client: Client) -> None:
    _show(given, client.call("POST", f"/instance/{given.key}/restart"))


def delete(given: argparse.Namespace, client: Client) -> None:
    """Delete for good; a person at a terminal is asked, a program has to say --yes."""
    if not given.yes:
        raise CommandFailed(
            f"This logs {given.key} out and deletes its session for good; say so with --yes.", EXIT_USAGE
        )
    _show(given, client.call("DELETE", f"/instance/{given.key}"))


def _show(given: argparse.Namespace, answer: dict[str, Any]) -> None:
    if given.json:
        show_json(answer)
    else:
        show_fields(answer)
