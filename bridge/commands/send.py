"""`bridge send`: one text."""

import argparse
import sys

from bridge.commands.client import EXIT_USAGE, Client, CommandFailed
from bridge.commands.output import show_fields, show_json


def send(given: argparse.Namespace, client: Client) -> None:
    text = sys.stdin.read() if given.text == "-" else given.text
    if not text:
        raise CommandFailed("There is no text to send.", EXIT_USAGE)
    headers = {"Idempotency-Key": given.idempotency_key} if given.idempotency_key else {}
    body = {"to": given.to, "message": text, "mode": "queue" if given.queue else "sync"}
    if given.instance is not None:
        body["instance_key"] = given.instance
    sent = client.call("POST", "/message/send", body, headers=headers)
    if given.json:
        show_json(sent)
    else:
        show_fields(sent)
