"""What a conformance test holds in its two hands: the sandbox's control API, and real neonize clients.

Everything here is synchronous and lives as long as a fixture of any scope, so that many tests share one pairing. A test
speaks to the sandbox in the words of its HTTP API, and to a client in those of neonize.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.sandbox import REPOSITORY

WORKER = Path(__file__).with_name("conformance_worker.py")
SOON_S = 30.0

Event = dict[str, Any]


class Refused(Exception):
    """The sandbox refused a call; `status` and `code` say why."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.status_code} {response.text}")
        self.status = response.status_code
        self.code = response.json()["error"]["code"]


class Sandbox:
    """A sandbox in a process of its own, driven through its control API."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "bridge.sandbox", "--data-dir", str(folder), "--parent-pipe"]
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--log-level", "warning"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        self.ready = json.loads(self.process.stdout.readline())
        self._http = httpx2.Client(base_url=self.ready["control"], trust_env=False, timeout=90)

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query).json()

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, json=body).json()

    def patch(self, path: str, **body: Any) -> Any:
        return self._call("PATCH", path, json=body).json()

    def delete(self, path: str, **query: Any) -> Any:
        return self._call("DELETE", path, params=query).json()

    def upload(self, path: str, data: bytes) -> Any:
        return self._call("POST", path, content=data).json()

    def download(self, path: str) -> bytes:
        return self._call("GET", path).content

    def contact(self, name: str | None = None) -> "Contact":
        """Make a simulated phone."""
        made = self.post("/phones", name=name)
        return Contact(self, made["phone"], made["jid"], made["lid"], made["name"])

    def close(self) -> None:
        self._http.close()
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        response = self._http.request(method, path, **more)
        if response.is_error:
            raise Refused(response)
        return response


@dataclass
class Contact:
    """A simulated phone."""

    sandbox: Sandbox
    phone: str
    jid: str
    lid: str
    name: str

    def send(self, to: str, **body: Any) -> str:
        """Send a message of any kind; return its id."""
        return self.sandbox.post(f"/phones/{self.phone}/send", to=to, **body)["message_id"]

    def messages(self) -> list[Event]:
        return self.sandbox.get(f"/phones/{self.phone}/messages")["messages"]

    def got(self, message_id: str) -> Event:
        """Return a message of that id from the inbox, once it is there."""
        return until(lambda: next((m for m in self.messages() if m["message_id"] == message_id), None))

    def post(self, path: str, **body: Any) -> Any:
        return self.sandbox.post(f"/phones/{self.phone}/{path}", **body)

    def get(self, path: str, **query: Any) -> Any:
        return self.sandbox.get(f"/phones/{self.phone}/{path}", **query)


@dataclass
class Client:
    """A real neonize client, paired to `phone`."""

    worker: "Worker"
    name: str
    phone: str
    jid: str = ""
    lid: str = ""

    def call(self, method: str, *arguments: Any, timeout_s: float = SOON_S, **keywords: Any) -> Any:
        """Call a method of neonize's; raise RuntimeError with what it raised."""
        return self.worker.call(self.name, method, *arguments, timeout_s=timeout_s, **keywords)

    def mark(self) -> int:
        """Return the place behind the last event so far."""
        return len(self.worker.events)

    def event(self, kind: str, where: Callable[[Event], bool] = lambda _: True, since: int = 0) -> Event:
        """Return the first such event behind a place, or the next one; `where` looks at the event's data."""
        return self.worker.event(self.name, kind, where, since)

    def message(self, message_id: str, since: int = 0) -> Event:
        """Return the Message event of that id that has content. (A first one in a group is without.)"""
        return self.event("Message", lambda e: e["Info"]["ID"] == message_id and _has_content(e), since)

    def send(self, to: str, message: Any) -> str:
        """Send a protobuf message, or a text; return its id."""
        body = message if isinstance(message, str) else proto("Message", message)
        return self.call("send_message", jid(to), body)["data"]["ID"]


class Worker:
    """The process with the clients."""

    def __init__(self, sandbox: Sandbox, database: Path) -> None:
        environment = dict(os.environ, SSL_CERT_FILE=sandbox.ready["ca_file"], PYTHONPATH=str(REPOSITORY))
        self.sandbox = sandbox
        self.database = database
        self._log = database.with_suffix(".log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), json.dumps(sandbox.ready), str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self.events: list[Event] = []
        self._replies: dict[int, Event] = {}
        self._last_id = 0
        self._gone = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.event("", "ready", lambda _: True, 0)

    def pair(self, name: str, phone: str | None = None) -> Client:
        """Pair a new client by QR code with a phone, and return it once it may send presence."""
        made = self.sandbox.post("/phones", phone=phone)
        client = Client(self, name, made["phone"])
        client.call("start", None)
        qr = client.event("QRCode")["data"]["qr"]
        linked = self.sandbox.post(f"/phones/{client.phone}/scan", qr=qr)
        client.jid, client.lid = linked["jid"], made["lid"]
        client.event("Connected")
        client.event("PairStatus")
        until(lambda: _succeeds(lambda: client.call("send_presence", {"enum": ["Presence", "AVAILABLE"]})))
        return client

    def call(self, client: str, method: str, *arguments: Any, timeout_s: float = SOON_S, **keywords: Any) -> Any:
        with self._changed:
            self._last_id += 1
            asked = self._last_id
            line = {"id": asked, "client": client, "method": method, "arguments": arguments, "keywords": keywords}
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
            if not self._changed.wait_for(lambda: asked in self._replies or self._gone, timeout_s):
                raise AssertionError(f"{method} of {client} gave no answer")
        reply = self._replies.pop(asked, {"error": "the worker is gone"})
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    def event(self, client: str, kind: str, where: Callable[[Event], bool], since: int) -> Event:
        found: list[Event] = []
        looked = since

        def look() -> bool:
            nonlocal looked
            for event in self.events[looked:]:
                looked += 1
                if event["event"] == kind and event["client"] == client and where(event["data"]):
                    found.append(event)
                    return True
            return self._gone

        with self._changed:
            self._changed.wait_for(look, SOON_S)
        if found:
            return found[0]
        seen = [e["event"] for e in self.events[since:] if e["client"] == client]
        raise AssertionError(f"{client or 'the worker'} did not say {kind}, but {seen[-20:]}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()
        self._log.close()

    def _read(self) -> None:
        for text in self.process.stdout:
            line = json.loads(text)
            with self._changed:
                if "reply" in line:
                    self._replies[line["reply"]] = line
                else:
                    self.events.append(line)
                self._changed.notify_all()
        with self._changed:
            self._gone = True
            self._changed.notify_all()


@dataclass
class Stage:
    """A sandbox with two paired numbers on it: `a` and `b`, in one process of clients."""

    sandbox: Sandbox
    worker: Worker
    a: Client = field(init=False)
    b: Client = field(init=False)

    def __post_init__(self) -> None:
        self.a, self.b = self.worker.pair("a"), self.worker.pair("b")


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Run a sandbox and two paired clients in that folder."""
    sandbox = Sandbox(folder / "sandbox")
    try:
        worker = Worker(sandbox, folder / "clients.sqlite")
        try:
            yield Stage(sandbox, worker)
        finally:
            worker.close()
    finally:
        sandbox.close()


def until(condition: Callable[[], Any], timeout_s: float = SOON_S) -> Any:
    """Return what the condition gives as soon as that is true; raise AssertionError when it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError("it did not come true in time")
        time.sleep(0.02)


def jid(text: str) -> dict[str, str]:
    """Return an address as an argument for a client's call; bare digits are a phone number."""
    return {"jid": text if "@" in text else f"{text}@s.whatsapp.net"}


def proto(kind: str, message: Any) -> dict[str, list[str]]:
    """Return a protobuf, or an event's base64 of one, as an argument for a client's call."""
    data = message if isinstance(message, str) else base64.b64encode(message.SerializeToString()).decode()
    return {"proto": [kind, data]}


def data(content: bytes) -> dict[str, str]:
    """Return bytes as an argument for a client's call."""
    return {"bytes": base64.b64encode(content).decode()}


def text_of(event: Event) -> str:
    """Return a Message event's text."""
    body = event["data"]["Message"]
    return body.get("conversation") or body.get("extendedTextMessage", {}).get("text", "")


def user(jid_data: Event) -> str:
    """Return the address in an event's JID, without the device."""
    return f"{jid_data['User']}@{jid_data['Server']}"


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except RuntimeError:
        return False
    return True


def _has_content(event: Event) -> bool:
    return bool(set(event.get("Message", {})) - {"senderKeyDistributionMessage", "messageContextInfo"})
