"""Tests a bot against a bridge and a WhatsApp of its own, in ten lines (docs/sandbox.md has them). For pytest.

`whatsapp` is a fixture for the session: import it in a `conftest.py` or in a test file. `running_bridge` is the same as
a context manager, `running_sandbox` a sandbox alone. All of it is synchronous, in processes of its own, on free ports,
with its data in a temporary folder, and ends with the `with`, or with us when we are killed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import httpx2
import msgspec
import pytest

from bridge.sandbox.shapes import Text, Texts

START_S: Final = 90.0
STOP_S: Final = 20.0
WAIT_S: Final = 30.0
_POLL_S: Final = 0.1
_LOOPBACK: Final = "127.0.0.0/8,::1/128"


class Failed(AssertionError):
    """A call failed, or what a test waits for did not happen:"""


@dataclass(frozen=True)
class Number:
    """A number that is paired with an instance of the bridge."""

    key: str
    """The instance's key."""
    phone: str


class Sandbox:
    """A sandbox that runs, with the calls of its control API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, trust_env=False, timeout=120)

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the control API and return its JSON; raise `Failed` for an error."""
        return _called(self._http, method, path, body)

    def contact(self, name: str | None = None) -> "Contact":
        """Make a phone with an unused number."""
        return Contact(self, self.call("POST", "/phones", **({"name": name} if name else {}))["phone"])

    def scan(self, phone: str, qr: str) -> None:
        """Link the client that shows this QR code with a phone."""
        self.call("POST", f"/phones/{phone}/scan", qr=qr)

    def fault(self, kind: str, **values: Any) -> int:
        """Break something; return how many connections it concerns."""
        return int(self.call("POST", "/faults", kind=kind, **values)["connections"])

    def close(self) -> None:
        self._http.close()


@dataclass
class Contact:
    """A simulated phone, whose owner a test plays."""

    sandbox: Sandbox
    phone: str
    _read: int = 0

    def send(self, to: "Number | Contact | str", text: str) -> str:
        """Send a text; return its id."""
        number = to if isinstance(to, str) else to.phone
        answer = self.sandbox.call("POST", f"/phones/{self.phone}/send", to=number, text=text)
        return str(answer["message_id"])

    def wait_for_message(self, timeout_s: float = WAIT_S) -> Text:
        """Return the next message that this contact has not been asked for; raise `Failed` when none comes."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            path = f"/phones/{self.phone}/messages?after={self._read}&limit=1&wait={max(1, min(30, int(left)))}"
            found = msgspec.convert(self.sandbox.call("GET", path), Texts).messages
            if found:
                self._read = found[0].cursor
                return found[0]
        raise Failed(f"{self.phone} got no message in {timeout_s:.0f} s")


class Bridge:
    """A whole `bridge up --sandbox` that runs. `url` and `api_key` are for the bot under test."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.url: str = ready["api"]
        self.api_key: str = ready["api_key"]
        self.receiver_url: str = ready["receiver"]
        self.sandbox = Sandbox(ready["sandbox"])
        headers = {"authorization": f"Bearer {self.api_key}"}
        self._http = httpx2.Client(base_url=self.url, headers=headers, trust_env=False, timeout=120)
        self._receiver = httpx2.Client(base_url=self.receiver_url, trust_env=False, timeout=30)
        self._seen: dict[tuple[str, str], int] = {}

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the bridge's API and return its JSON; raise `Failed` for an error."""
        return _called(self._http, method, path, body)

    def contact(self, name: str | None = None) -> Contact:
        """Make a phone for a test to write from."""
        return self.sandbox.contact(name)

    def pair(self, *, webhook_url: str | None = None, **options: Any) -> Number:
        """Make an instance and pair it with a phone of its own; return it when it is online.

        Its events go to the receiver, and to `webhook_url` as well. Other options are those of `/instance/create`.
        """
        if webhook_url is not None:
            options["webhook"] = {"url": webhook_url}
        key = self.call("POST", "/instance/create", **options)["instance_key"]
        self.call("POST", "/instance/connect", instance_key=key)
        qr = self.call("GET", f"/instance/{key}/qr?format=json&wait_s=30")["code"]
        number = Number(key, self.contact().phone)
        self.sandbox.scan(number.phone, qr)
        self.wait_until_online(number)
        return number

    def wait_until_online(self, number: Number, timeout_s: float = 2 * WAIT_S) -> None:
        """Return when an instance is online; raise `Failed` when it does not get there."""
        deadline = time.monotonic() + timeout_s
        while (state := self.call("GET", f"/instance/{number.key}/status")["state"]) != "online":
            if time.monotonic() > deadline:
                raise Failed(f"{number.key} is {state}")
            time.sleep(_POLL_S)

    def wait_for_event(self, number: Number, kind: str = "message.received", timeout_s: float = WAIT_S) -> Any:
        """Return the next event of that type and instance that was not asked for before, as the webhook has it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            after = self._seen.get((number.key, kind), 0)
            query = {"after": str(after), "limit": "1", "type": kind, "instance": number.key}
            answer = self._receiver.get("/events", params=query)
            if answer.is_error:
                raise Failed(f"GET /events: {answer.status_code} {answer.text}")
            page = answer.json()
            if page["events"]:
                self._seen[number.key, kind] = page["next_after"]
                return page["events"][0]["body"]
            time.sleep(_POLL_S)
        raise Failed(f"no {kind} of {number.key} in {timeout_s:.0f} s")

    def close(self) -> None:
        for client in (self._http, self._receiver):
            client.close()
        self.sandbox.close()


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    """Run a sandbox alone, for a bridge or a client of your own."""
    with _folder() as folder, _process(["sandbox", "--data-dir", str(folder), "--port", "0"], {}, folder) as ready:
        sandbox = Sandbox(ready["control"])
        try:
            yield sandbox
        finally:
            sandbox.close()


@contextmanager
def running_bridge(**environment: str) -> Iterator[Bridge]:
    """Run bridge, receiver, PostgreSQL and sandbox. Webhooks may reach this machine; `environment` adds settings."""
    flags = ["--sandbox", "--json", "--port", "0", "--receiver-port", "0", "--sandbox-port", "0"]
    settings = {"BRIDGE_WEBHOOK_ALLOW": _LOOPBACK, **environment}
    with _folder() as folder, _process(["up", *flags, "--data-dir", str(folder)], settings, folder) as ready:
        bridge = Bridge(ready)
        try:
            yield bridge
        finally:
            bridge.close()


@pytest.fixture(scope="session")
def whatsapp() -> Iterator[Bridge]:
    """Return a bridge with a WhatsApp behind it, for the whole session; a test makes its own numbers and contacts."""
    with running_bridge() as bridge:
        yield bridge


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that the user can enter as which PostgreSQL is run when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="bridge-testing-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _process(arguments: Sequence[str], settings: Mapping[str, str], folder: Path) -> Iterator[Mapping[str, Any]]:
    """Run `bridge` with these arguments until the `with` ends; yield its ready line."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "RECEIVER_"))}
    with (folder / "stderr.log").open("wb+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "bridge", *arguments, "--parent-pipe"],
            stdin=subprocess.PIPE,  # it ends with us, whatever we die of
            stdout=subprocess.PIPE,
            stderr=log,
            env={**inherited, **settings},
        )
        try:
            yield _ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _ready(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> Mapping[str, Any]:
    """Return the line by which a process says that it is ready; raise `Failed` with its log when it ends instead."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    line = process.stdout.readline()
    watchdog.cancel()
    if not line:
        log.seek(0)
        raise Failed(f"bridge ended with {process.wait()}: {log.read().decode(errors='replace')[-3000:]}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def _called(http: httpx2.Client, method: str, path: str, body: Mapping[str, Any]) -> Any:
    answer = http.request(method, path, json=body or None)
    if answer.is_error:
        raise Failed(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json()
