"""`bridge keys`: make, list and revoke API keys."""

import argparse

from bridge.commands.client import Client
from bridge.commands.output import note, show_fields, show_json, show_rows
from bridge.commands.pages import every

COLUMNS = ("key_id", "name", "role", "instances", "ips", "expires_at", "hint")


def list_(given: argparse.Namespace, client: Client) -> None:
    found = every(client, "/keys", "keys")
    if given.json:
        show_json(found)
    else:
        show_rows(found, COLUMNS)


def create(given: argparse.Namespace, client: Client) -> None:
    body = {
        "name": given.name,
        "role": given.role,
        "instances": given.instance,
        "ips": given.ip,
        "expires_at": given.expires_at,
        "rate_per_s": given.rate,
    }
    made = client.call("POST", "/keys", {name: value for name, value in body.items() if value is not None})
    if given.json:
        show_json(made)
        return
    show_fields({name: value for name, value in made.items() if name != "secret"})
    note("The key, shown this once:")
    print(made["secret"], flush=True)


def revoke(given: argparse.Namespace, client: Client) -> None:
    done = client.call("DELETE", f"/keys/{given.key_id}")
    if given.json:
        show_json(done)
    else:
        note(f"{given.key_id} is revoked.")


def audit(given: argparse.Namespace, client: Client) -> None:
    """`bridge audit`: who did what."""
    asked = {"instance_key": given.instance, "key_id": given.key, "limit": given.limit}
    found = client.call("GET", "/audit", query=asked)["entries"]
    if given.json:
        show_json(found)
    else:
        show_rows(found, ("at", "key_name", "address", "action", "instance_key", "target", "status", "code"))
