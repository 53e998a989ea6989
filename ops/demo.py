"""The main job as a story: pair, send, receive, lose an engine, come back. `make demo`.

Starts `bridge up --sandbox` in a data directory of its own, talks to it over HTTP as any client would, and prints a
line for each step. Stays up afterwards until Ctrl-C, unless it is told `--once`.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

T = TypeVar("T")
PHONE, CONTACT = "4915100000001", "4915100000002"
STEP_S = 60.0
"""How long a step may take before the demo is called failed."""


class DemoFailed(Exception):
    """A step did not happen in time."""


@dataclass(frozen=True, slots=True)
class Urls:
    api: str
    receiver: str
    sandbox: str
    api_key: str
    pid: int


def free_or_default(port: int) -> int:
    """Return `port` when nobody listens there, else 0, which takes a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def start(data_dir: str) -> tuple[subprocess.Popen[bytes], Urls]:
    """Start everything and return the process and where it listens."""
    ports = {"--port": 4444, "--receiver-port": 5555, "--sandbox-port": 4450}
    arguments = [text for flag, port in ports.items() for text in (flag, str(free_or_default(port)))]
    with open(os.path.join(data_dir, "bridge.log"), "wb") as log:  # noqa: PTH118, PTH123
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "up", "--sandbox", "--json", "--data-dir", data_dir, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we stop it in order
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise DemoFailed(f"the bridge ended with {process.wait()}; see {data_dir}/bridge.log")
    ready = json.loads(line)
    return process, Urls(ready["api"], ready["receiver"], ready["sandbox"], ready["api_key"], ready["pid"])


class Story:
    """Each method is one step; it returns when the step has been seen to happen."""

    def __init__(self, urls: Urls) -> None:
        self.urls = urls
        self.api = httpx2.Client(
            base_url=urls.api, headers={"authorization": f"Bearer {urls.api_key}"}, timeout=30, trust_env=False
        )
        self.world = httpx2.Client(timeout=30, trust_env=False)
        self.began = time.monotonic()
        self.key = ""

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def until(self, what: str, ask: Callable[[], T | None]) -> T:
        """Ask again and again until the answer is not None; raise `DemoFailed` after a minute."""
        deadline = time.monotonic() + STEP_S
        while (answer := ask()) is None:
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what} did not happen within {STEP_S:.0f} s")
            time.sleep(0.05)
        return answer

    def call(self, client: httpx2.Client, method: str, url: str, **body: Any) -> Any:
        answer = client.request(method, url, json=body or None)
        if answer.status_code >= 300:
            raise DemoFailed(f"{method} {url} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call(self.api, "GET", f"/instance/{self.key}/status")
        return found

    def wait_online(self) -> dict[str, Any]:
        return self.until("online", lambda: s if (s := self.status())["state"] == "online" else None)

    def received(self, text: str) -> dict[str, Any]:
        """Wait until the receiver has stored the webhook of this text."""

        def look() -> dict[str, Any] | None:
            events = self.call(self.world, "GET", f"{self.urls.receiver}/events?type=message.received&limit=1000")
            return next((e for e in events["events"] if e["body"]["data"].get("text") == text), None)

        return self.until(f"the webhook of {text!r}", look)

    def pair(self) -> None:
        self.key = self.call(self.api, "POST", "/instance/create")["instance_key"]
        self.say(f"instance {self.key[:8]}… created")
        self.call(self.api, "POST", "/instance/connect", instance_key=self.key)
        qr = self.call(self.api, "GET", f"/instance/{self.key}/qr?format=json")
        self.say(f"QR code {qr['attempt']} is shown ({len(qr['code'])} characters)")
        self.call(self.world, "POST", f"{self.urls.sandbox}/phones", phone=CONTACT, name="Ann")
        self.call(self.world, "POST", f"{self.urls.sandbox}/phones/{PHONE}/scan", qr=qr["code"])
        self.say(f"phone {PHONE} has scanned it")
        self.say(f"online as {self.wait_online()['phone_number']}")

    def send(self, text: str) -> None:
        sent = self.call(self.api, "POST", "/message/send", instance_key=self.key, phone=CONTACT, message=text)
        self.say(f"text out: {text!r} is {sent['status']} as {sent['message_id']}")
        url = f"{self.urls.sandbox}/phones/{CONTACT}/messages"
        self.until(
            "the text at the contact",
            lambda: next((m for m in self.call(self.world, "GET", url)["messages"] if m["text"] == text), None),
        )
        self.say("  the contact's phone has it, decrypted")

    def receive(self, text: str) -> None:
        self.call(self.world, "POST", f"{self.urls.sandbox}/phones/{CONTACT}/send", to=PHONE, text=text)
        self.say(f"text in: the contact writes {text!r}")
        event = self.received(text)
        self.say(f"  webhook {event['webhook_id']} arrived, its signature was right, seq {event['seq']}")

    def kill_engine(self) -> None:
        tree = self.call(self.api, "GET", "/readyz?verbose")["tree"]
        hosts = [node for node in walk(tree) if node["name"].startswith("host ") and node["detail"].get("sessions")]
        pid = hosts[0]["detail"]["pid"]
        since = self.status()["since"]
        os.kill(pid, signal.SIGKILL)
        self.say(f"engine process {pid} killed with SIGKILL")
        self.until(
            "the session coming back",
            lambda: True if (s := self.status())["state"] == "online" and s["since"] != since else None,
        )
        self.say("  online again, without a QR code")


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the node and all below it."""
    return [node, *(below for child in node["children"] for below in walk(child))]


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it in order, and by force after 20 s."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def stay_up() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def interrupt(*_: object) -> None:
    """Treat SIGTERM like Ctrl-C: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


def main() -> int:
    """Tell the story; return 0 when every step happened."""
    parser = argparse.ArgumentParser(description="Pair, send, receive, survive: the main job in one minute.")
    parser.add_argument("--once", action="store_true", help="end after the story instead of staying up")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as data_dir:
        os.chmod(data_dir, 0o711)  # noqa: PTH101  # for root, PostgreSQL runs as somebody else and must get through
        print("starting PostgreSQL, bridge, receiver and a local WhatsApp ...", flush=True)
        process, urls = start(data_dir)
        try:
            story = Story(urls)
            story.say(f"up: bridge {urls.api}, receiver {urls.receiver}, sandbox {urls.sandbox}")
            story.pair()
            story.send("Your appointment is tomorrow at 10.")
            story.receive("Thank you, I will be there.")
            story.kill_engine()
            story.receive("One more question: where is it?")
            story.send("Main Street 1, second floor.")
            if not once:
                print(f"\nThe key is {urls.api_key}\nAll of it stays up until Ctrl-C.", flush=True)
                stay_up()
        except (DemoFailed, httpx2.HTTPError) as error:
            print(f"demo failed: {error}", flush=True)
            with open(os.path.join(data_dir, "bridge.log"), "rb") as log:  # noqa: PTH118, PTH123
                sys.stdout.write("".join(f"  | {line}" for line in log.read().decode().splitlines(True)[-40:]))
            return 1
        finally:
            stop(process)
        if process.returncode != 0:
            print(f"demo failed: the bridge ended with {process.returncode} instead of 0")
            return 1
        print(f"demo ok: paired, sent, received, survived in {time.monotonic() - story.began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
