"""A reader of the feed in a process of its own, to be killed: it writes down each event, and only then moves on.

It comes back by itself, to the bridge and to what it wrote: `cursor id text` lines in a file. A socket's cursor is the
bridge's to keep, those of a poll and of a stream are in the file.
"""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wsproto
from wsproto.events import AcceptConnection, Message, Ping, Request, TextMessage

AGAIN_S = 0.05
ANSWER_S = 30.0
WAYS = ("poll", "stream", "socket")


@dataclass(frozen=True, slots=True)
class Bridge:
    """Where the bridge is."""

    port: int
    key: str

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        connection.request("GET", path, headers={"x-api-key": self.key, **headers})
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}")
        return answer


class Ledger:
    """What was read, in a file that outlives the reader."""

    def __init__(self, path: Path) -> None:
        path.touch()
        whole = path.read_bytes().rpartition(b"\n")
        with path.open("r+b") as file:
            file.truncate(len(whole[0]) + len(whole[1]))  # a line that a kill cut short was not written
        self.after = max((int(line.split()[0]) for line in whole[0].splitlines()), default=0)
        self._file = path.open("a")

    def write(self, cursor: int, event: dict[str, Any]) -> None:
        self._file.write(f"{cursor} {event['id']} {event['data'].get('text', '')}\n")
        self._file.flush()
        self.after = max(self.after, cursor)


def poll(bridge: Bridge, ledger: Ledger) -> None:
    """Long-poll one event at a time: the cursor is a page's, so a larger page would be written down by halves."""
    while True:
        page = json.loads(bridge.get(f"/events?limit=1&wait_s=10&types=message.received&after={ledger.after}").read())
        for event in page["events"]:
            ledger.write(page["next_after"], event)
        ledger.after = page["next_after"]


def stream(bridge: Bridge, ledger: Ledger) -> None:
    """Follow the server-sent events."""
    answer = bridge.get("/events/stream?types=message.received", **{"last-event-id": str(ledger.after)})
    cursor = ledger.after
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            cursor = int(value)
        elif name == "data":
            ledger.write(cursor, json.loads(value))


def listen(bridge: Bridge, ledger: Ledger) -> None:
    """Read a WebSocket, and acknowledge what is written down."""
    with socket.create_connection(("127.0.0.1", bridge.port), ANSWER_S) as peer:
        ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        target = "/events/ws?consumer=reader&types=message.received"
        peer.sendall(ws.send(Request("bridge", target, extra_headers=[(b"x-api-key", bridge.key.encode())])))
        text = ""
        for event in _events(ws, peer):
            match event:
                case TextMessage(data=data, message_finished=whole):
                    text += data
                    if whole:
                        frame, text = json.loads(text), ""
                        if "event" in frame:
                            ledger.write(frame["cursor"], frame["event"])
                        peer.sendall(ws.send(TextMessage(json.dumps({"ack": frame["cursor"]}))))
                case Ping():
                    peer.sendall(ws.send(event.response()))
                case AcceptConnection() | Message():
                    pass
                case _:
                    return


def _events(ws: wsproto.WSConnection, peer: socket.socket) -> Iterator[object]:
    while data := peer.recv(65_536):
        ws.receive_data(data)
        yield from ws.events()


def main(way: str, port: str, key: str, path: str) -> None:
    """Read for ever."""
    bridge, ledger = Bridge(int(port), key), Ledger(Path(path))
    while True:
        try:
            {"poll": poll, "stream": stream, "socket": listen}[way](bridge, ledger)
        except (OSError, http.client.HTTPException, ValueError):  # a page or a frame that a kill cut short too
            time.sleep(AGAIN_S)  # the bridge is away: what every reader does


@dataclass
class Reader:
    """A reader as a test sees it."""

    way: str
    port: int
    key: str
    path: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.tied", sys.executable, "-m", "tests.support.reader"]
        self.process = subprocess.Popen([*command, self.way, str(self.port), self.key, str(self.path)])

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def read(self) -> list[tuple[str, str]]:
        """Return the id and the text of each event that it wrote down, in order."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]
        return [(id, text) for _, id, text in (line.split(" ", 2) for line in lines)]


if __name__ == "__main__":
    main(*sys.argv[1:])
