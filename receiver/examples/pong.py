"""Answers a text "ping" with "pong" through the bridge: RECEIVER_HANDLERS=receiver.examples.pong:answer

PONG_API_URL is the bridge's API (default http://127.0.0.1:4444), PONG_API_KEY or a file named by PONG_API_KEY_FILE its
key; a key of role `sender` is enough.
"""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from receiver.event import Event

TIMEOUT_S = 25


class NotAnswered(Exception):
    """The bridge did not take the answer; the receiver calls again."""


def answer(event: Event) -> None:
    """Answer a ping; raise `NotAnswered` when the bridge did not take it.

    The event's id makes the idempotency key: called twice with one event, it sends one answer.
    """
    if not is_ping(event):
        return
    body = {"instance_key": event.instance, "phone": event.chat, "message": "pong"}
    request = urllib.request.Request(  # noqa: S310 -- the address is a setting
        f"{os.environ.get('PONG_API_URL', 'http://127.0.0.1:4444')}/message/send",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {_key()}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"pong-{event.id}",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 -- as above
            return
    except urllib.error.HTTPError as error:
        told = json.loads(error.read(2000) or b"{}")
        raise NotAnswered(f"{error.code} {told.get('code', '')}") from None


def is_ping(event: Event) -> bool:
    """Say whether somebody else has sent "ping", now and not in a history that was read in later."""
    flags = event.body.get("flags") or {}
    return (
        event.type == "message.received"
        and not event.data.get("is_from_me")
        and not flags.get("history")
        and str(event.data.get("text", "")).strip().lower() == "ping"
    )


def _key() -> str:
    path = os.environ.get("PONG_API_KEY_FILE")
    return Path(path).read_text().strip() if path else os.environ.get("PONG_API_KEY", "")
