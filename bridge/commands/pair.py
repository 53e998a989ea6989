"""`bridge pair`: shows the QR code in the terminal, draws each new one over the last, and waits for the phone."""

import argparse
import sys
import time
from typing import Any

from bridge.commands.client import EXIT_LATER, Client, CommandFailed
from bridge.commands.output import note, show_fields, show_json

POLL_S = 1.0
PAIRED = frozenset({"online", "reconnecting", "restricted"})
OVER = frozenset({"created", "logged_out", "failed"})
"""States of an instance that nobody will scan any more."""


def pair(given: argparse.Namespace, client: Client) -> None:
    key = given.key or _create(given, client)
    screen = Screen(as_json=given.json)
    deadline = time.monotonic() + given.timeout
    if given.phone:
        screen.show_code(key, client.call("POST", f"/instance/{key}/pair-code", {"phone": given.phone}))
    else:
        client.call("POST", "/instance/connect", {"instance_key": key, "wait_s": 10})
    shown = ""
    while True:
        status = client.call("GET", f"/instance/{key}/status")
        if status["state"] in PAIRED:
            screen.end(status)
            return
        if status["state"] in OVER:
            reason = status.get("reason") or status["state"]
            raise CommandFailed(f"The instance is not paired: {reason}. Ask again for a new code.", EXIT_LATER)
        if time.monotonic() > deadline:
            raise CommandFailed(f"Nobody scanned a code within {given.timeout:g} s.", EXIT_LATER)
        code = None if given.phone else _code(client, key)
        if code is not None and code["code"] != shown:
            shown = code["code"]
            screen.draw(key, code)
        time.sleep(POLL_S)


def _create(given: argparse.Namespace, client: Client) -> str:
    made = client.call("POST", "/instance/create", {"name": given.name})
    if given.json:
        show_json({"event": "created", **made})
    else:
        note(f"Instance {made['instance_key']} is created. Its own key, shown this once: {made['api_key']}")
    return str(made["instance_key"])


def _code(client: Client, key: str) -> dict[str, Any] | None:
    """Return the code that is to be scanned now, None when there is none (yet, or any more)."""
    try:
        found: dict[str, Any] = client.call("GET", f"/instance/{key}/qr", query={"format": "json", "wait_s": 0})
    except CommandFailed as error:
        if error.problem.get("code") == "no_qr_code":
            return None
        raise
    return found if "code" in found else None


class Screen:
    """Where codes are drawn: each over the last one at a terminal, one line of JSON each for a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lines = 0

    def draw(self, key: str, code: dict[str, Any]) -> None:
        if self._as_json:
            shown = {name: code[name] for name in ("code", "attempt", "expires_at")}
            show_json({"event": "qr", "instance_key": key, **shown})
            return
        text = drawn(code["code"])
        text += f"\nScan it with WhatsApp, under linked devices. Code {code['attempt']}, until {code['expires_at']}.\n"
        if self._lines and sys.stdout.isatty():
            sys.stdout.write(f"\x1b[{self._lines}F\x1b[J")  # up to where the last one begins, and clear from there
        sys.stdout.write(text)
        sys.stdout.flush()
        self._lines = text.count("\n")

    def show_code(self, key: str, answer: dict[str, Any]) -> None:
        """Show a code that is typed into the phone."""
        if self._as_json:
            shown = {name: answer[name] for name in ("pairing_code", "expires_at")}
            show_json({"event": "pairing_code", "instance_key": key, **shown})
            return
        print(answer["pairing_code"], flush=True)
        note(f"Type it into WhatsApp, under linked devices, link with a phone number, until {answer['expires_at']}.")

    def end(self, status: dict[str, Any]) -> None:
        if self._as_json:
            show_json({"event": "paired", **status})
        else:
            note("The phone is paired.")
            show_fields({name: status[name] for name in ("instance_key", "state", "phone_number")})


def drawn(code: str) -> str:
    """Return a code in half blocks: dark on light whatever the terminal's colours are."""
    import segno  # noqa: PLC0415

    rows = [bytes(row) for row in segno.make(code, error="l", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append(bytes(len(rows[0])))
    marks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    lines = [
        "".join(marks[bool(above), bool(below)] for above, below in zip(rows[n], rows[n + 1], strict=True))
        for n in range(0, len(rows), 2)
    ]
    return "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in lines)
