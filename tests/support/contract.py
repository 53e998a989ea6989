"""One `bridge up --sandbox`, one paired instance, and the files that it may fetch: what the contract is shown on."""

import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from psycopg import sql

from bridge.domain.names import NAMES
from bridge.store.embedded import running_dsn
from tests.support import samples
from tests.support.stack import REPOSITORY, UP, WITH_SANDBOX, _environment

PHONE, CONTACT = "4915100000001", "4915100000002"
SHORT, LONG = "551187654321", "5511987654321"
"""The two spellings of a Brazilian mobile number; the account is known under the short one."""
SOON_S = 60.0


@dataclass
class World:
    """A product that runs, and an instance that is paired and online."""

    api: httpx2.Client
    receiver: httpx2.Client
    sandbox: httpx2.Client
    files: str
    """Where the samples are served: base URL."""
    dsn: str = field(default="", repr=False)
    """The bridge's own PostgreSQL."""
    key: str = ""
    lid: str = ""
    group: str = ""
    """A group that CONTACT has made, with the instance's number in it."""
    unpaired: str = ""
    """An instance that nobody has paired."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    cursor: int = 0

    @property
    def base_url(self) -> str:
        return str(self.api.base_url).rstrip("/")

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = self.api.post(path, json={"instance_key": self.key, **body})
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def paired(self, number: str) -> str:
        """Return the key of a new instance that is paired with that number, and online."""
        key = str(self.api.post("/instance/create").json()["instance_key"])
        self.post("/instance/connect", instance_key=key)
        qr = self.api.get(f"/instance/{key}/qr?format=json").json()["code"]
        self.phone("/scan", number, qr=qr)
        until(lambda: self.state(key) == "online")
        return key

    def state(self, key: str) -> str:
        return str(self.api.get(f"/instance/{key}/status").json()["state"])

    def phone(self, path: str, number: str = CONTACT, **body: Any) -> dict[str, Any]:
        """Let a simulated phone do something."""
        answer = self.sandbox.post(f"/phones/{number}{path}", json=body)
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def inbox(self, message_id: str, number: str = CONTACT) -> dict[str, Any]:
        """Return a message as the recipient's phone shows it."""
        return until(lambda: self._message(number, message_id))

    def own(self, message_id: str, number: str = PHONE) -> bool:
        """Return whether the instance's own phone shows a message that the instance sent."""
        found = self.sandbox.get(f"/phones/{number}/messages", params={"own": "1", "limit": "10000"}).json()
        return any(message["message_id"] == message_id for message in found["messages"])

    def _message(self, number: str, message_id: str) -> dict[str, Any] | None:
        answer = self.sandbox.get(f"/phones/{number}/messages/{message_id}")
        return answer.json() if answer.status_code == 200 else None

    def event(self, name: str, key: str | None = None, /, **data: Any) -> dict[str, Any]:
        """Return the one event of that name whose data has these values; wait for it, and check the envelope."""
        found = until(lambda: self._events(name, key or self.key, data))
        assert len(found) == 1, [event["data"] for event in found]
        (event,) = found
        assert event["event"] == event["event_type"] == name
        assert event["type"] in NAMES[name].types
        assert isinstance(event["timestamp"], str)
        return event

    def events(self, name: str, /, **data: Any) -> list[dict[str, Any]]:
        """Return the events of that name that came so far."""
        return self._events(name, self.key, data)

    def fault(self, kind: str, number: str = PHONE, **more: Any) -> None:
        answer = self.sandbox.post("/faults", json={"kind": kind, "phone": number, **more})
        assert answer.status_code < 300, answer.text

    def session_rows(self, jid: str) -> dict[str, int]:
        """Return how many rows each of the engine's tables has of a device; those without any are left out."""
        columns = "select table_name, column_name from information_schema.columns where table_schema = 'whatsapp'"
        found = {}
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for table, column in conn.execute(columns + " and column_name in ('jid', 'our_jid')").fetchall():
                query = sql.SQL("select count(*) from {} where {} = %s").format(
                    sql.Identifier("whatsapp", table), sql.Identifier(column)
                )
                row = conn.execute(query, [jid]).fetchone()
                if row is not None and row[0]:
                    found[f"{table}.{column}"] = int(row[0])
        return found

    def _events(self, name: str, key: str, data: dict[str, Any]) -> list[dict[str, Any]]:
        while (page := self.receiver.get("/events", params={"after": self.cursor, "limit": 1000}).json())["events"]:
            self.seen += [event["body"] for event in page["events"]]
            self.cursor = page["next_after"]
        return [
            event
            for event in self.seen
            if (event["event"], event["instance"]) == (name, key)
            and all(event["data"].get(field) == value for field, value in data.items())
        ]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def until(found: Callable[[], Any]) -> Any:
    """Return what is found in another process, when it is there."""
    deadline = time.monotonic() + SOON_S
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@contextmanager
def contract_world(**environment: str) -> Iterator[World]:
    """Run it all for as long as the context lasts."""
    with (
        files_served() as files,
        tempfile.TemporaryDirectory(prefix="bridge-contract-", ignore_cleanup_errors=True) as folder,
    ):
        Path(folder).chmod(0o711)
        with (Path(folder) / "stderr.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.tied", *UP, *WITH_SANDBOX, "--data-dir", f"{folder}/data"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env=_environment(
                    {"BRIDGE_MEDIA_ALLOW": files.removeprefix("http://"), "BRIDGE_HISTORY": "on", **environment}
                ),
            )
        try:
            yield from _talking_to(process, files, Path(folder) / "data")
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


def _talking_to(process: subprocess.Popen[bytes], files: str, data_dir: Path) -> Iterator[World]:
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    options: dict[str, Any] = {"trust_env": False, "timeout": 60}
    with (
        httpx2.Client(base_url=ready["api"], headers={"authorization": f"Bearer {ready['api_key']}"}, **options) as api,
        httpx2.Client(base_url=ready["receiver"], **options) as receiver,
        httpx2.Client(base_url=ready["sandbox"], **options) as sandbox,
    ):
        found = World(api, receiver, sandbox, files, running_dsn(data_dir / "postgres"))
        _meet(found)
        yield found


def _meet(world: World) -> None:
    for number, name in ((CONTACT, "Ann"), (SHORT, "Bia")):
        assert world.sandbox.post("/phones", json={"phone": number, "name": name}).status_code == 201
    world.lid = world.sandbox.get(f"/phones/{CONTACT}").json()["lid"]
    world.key = world.paired(PHONE)
    made = world.sandbox.post("/groups", json={"phone": CONTACT, "subject": "Trip", "members": [PHONE]})
    world.group = made.json()["group"]
    world.event("group_info_update", chat_id=world.group)
    world.unpaired = str(world.api.post("/instance/create").json()["instance_key"])


SERVED: dict[str, Callable[[], bytes]] = {
    "/image": samples.picture,
    "/video": samples.video,
    "/audio": samples.sound,
    "/file": samples.pdf,
}


class _Samples(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = SERVED[self.path]()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # the name is the library's
        return


@contextmanager
def files_served() -> Iterator[str]:
    """Serve `SERVED` over HTTP; give the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Samples)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
